"""lib/study/signals.py: what is asked of a process while others start and end."""

import signal
import subprocess
import sys

import pytest

from lib.study import signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such signals")


@pytest.fixture
def heard():
    """The signals that this process has heard, as a list of names; its own handlers are set again afterwards."""
    heard = []
    before = {
        number: signal.signal(number, lambda number, _: heard.append(signal.Signals(number).name))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


def test_sigterm_is_answered_after_the_block_and_ctrl_c_in_it_is_not(heard):
    with signals.uninterrupted():
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        assert heard == []
    assert heard == ["SIGTERM"]
    signal.raise_signal(signal.SIGINT)
    assert heard == ["SIGTERM", "SIGINT"]


def test_processes_started_meanwhile_are_deaf_to_ctrl_c_and_hear_sigterm(heard):
    ask = [sys.executable, "-c", "import signal; print(*(signal.getsignal(n) == signal.SIG_IGN for n in (2, 15)))"]
    with signals.uninterrupted():
        assert subprocess.run(ask, capture_output=True, text=True).stdout == "True False\n"
    assert subprocess.run(ask, capture_output=True, text=True).stdout == "False False\n"


def test_a_process_that_cleans_up_is_not_disturbed_and_hears_again_afterwards(heard):
    with signals.deaf_at_the_end() as ignore:
        signal.raise_signal(signal.SIGINT)
        ignore()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert heard == ["SIGINT"]
    signal.raise_signal(signal.SIGTERM)
    assert heard == ["SIGINT", "SIGTERM"]
