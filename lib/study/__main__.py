"""The study of 32 runs: `python -m lib.study plan | run | status | report | check | publish | rerun | doctor`.

    python -m lib.study run --profile demo                       # the embedded default, minutes on a laptop
    python -m lib.study run --profile small --data ROOT          # real faces on a CPU
    python -m lib.study run --profile paper --data ROOT          # Table 2 at full size, for a GPU

A run is done if `<out>/<run_id>/` has its record with the key of its parameters, notebook, code and data.
"""

import os
import signal
import sys

from lib.study.commands import main

if __name__ == "__main__":
    from lib.checks.surroundings import escape_output
    from lib.study.signals import ignore_signals

    escape_output()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system stops a run as Ctrl-C does
    status = main()
    ignore_signals()  # only Python and Dask have to end
    try:
        sys.stdout.flush() if sys.stdout else None
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"error: the output: {error.strerror}; make room", file=sys.stderr)
            status = status or 2
    sys.exit(status)
