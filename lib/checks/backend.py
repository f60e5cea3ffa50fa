"""Keras with the project's settings, whatever the user's are: the rest of lib takes it from here alone."""

import contextlib
import glob
import os
import re
import tempfile
from collections.abc import Iterator

from lib.checks import surroundings

# What TensorFlow says at its start that is no fault: notes and warnings, and a GPU's library where there is no GPU.
GREETING = re.compile(
    rb"^(\d{4}-\d\d-\d\d [\d:.]+: )?[IW](\d{4}| ) ?|All log messages before absl|To enable the following instructions"
    rb"|Unable to register cu|already been registered"
    + (rb"" if glob.glob("/dev/nvidia*") else rb"|failed call to cuInit")
)


@contextlib.contextmanager
def without_greeting() -> Iterator[None]:
    """Leaves `GREETING` out of what is written to stderr; all else comes through, at the end."""
    kept = os.dup(2)  # messages of C++ pass by sys.stderr
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            for line in said:
                if not GREETING.search(line):
                    os.write(2, line)


surroundings.own()  # what must be set, or refused, before Keras is imported

with without_greeting():
    import keras
    from keras import ops

surroundings.own()  # what Keras has read of the user's files

__all__ = ["keras", "ops", "start"]


def start() -> None:
    """Starts the backend with a first operation, which fixes its threads; no process is to be forked afterwards."""
    with without_greeting():
        ops.zeros(1)
