"""lib/signals.py: what is asked of a process while others start and end."""

import os
import signal
import subprocess
import sys

import pytest

from lib import signals


def test_sigterm_is_answered_after_the_block_and_ctrl_c_in_it_is_not():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("told"))
    try:
        with signals.uninterrupted():
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
            seen.append("started")
        assert seen == ["started", "told"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == ["started", "told", "told"]
    finally:
        signal.signal(signal.SIGTERM, before)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such signals")
def test_processes_started_meanwhile_are_deaf_to_ctrl_c_and_hear_sigterm():
    ask = [sys.executable, "-c", "import signal; print(*(signal.getsignal(n) == signal.SIG_IGN for n in (2, 15)))"]
    with signals.uninterrupted():
        assert subprocess.run(ask, capture_output=True, text=True).stdout == "True False\n"
    assert subprocess.run(ask, capture_output=True, text=True).stdout == "False False\n"


def test_a_process_that_cleans_up_is_not_disturbed_and_hears_again_afterwards():
    with signals.deaf_at_the_end() as ignore:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        ignore()
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
