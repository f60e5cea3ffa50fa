"""lib/study/__main__.py: how the command line ends where its output does."""

import shlex
import subprocess
import sys

from lib import PROJECT


def test_a_reader_that_has_read_enough_is_no_error():
    piped = subprocess.run(
        f"{shlex.quote(sys.executable)} -m lib.study plan --profile rates | head -1",
        shell=True,
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert piped.stdout.count("\n") == 1 and "error" not in piped.stderr


def test_without_an_output_the_status_is_told_all_the_same():
    closed = subprocess.run(
        f"{shlex.quote(sys.executable)} -m lib.study plan --profile small >&-",
        shell=True,
        cwd=PROJECT,
        text=True,
        stderr=subprocess.PIPE,
    )
    assert (closed.returncode, closed.stderr) == (0, "")
