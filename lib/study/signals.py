"""What Ctrl-C and SIGTERM do while processes start and end."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def uninterrupted():
    """SIGTERM is answered after this block, Ctrl-C in it is ignored, and processes started in it are deaf to Ctrl-C.

    A terminal sends Ctrl-C to all processes, and the driver alone answers it. Only ignored signals stay so in new
    processes: Python's multiprocessing takes blocked ones from their mask. In another thread than the first, where
    Python sets no signals, the block is a plain one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived = []
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: arrived.append(signal.SIGTERM)),
    }
    try:
        yield
    finally:
        restore(before)
        for number in arrived[:1]:
            signal.raise_signal(number)


@contextlib.contextmanager
def deaf_at_the_end():
    """Gives a function that makes this process ignore Ctrl-C and SIGTERM until the block ends: to clean up in peace."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ignore_signals
    finally:
        restore(before)


def restore(handlers: dict) -> None:
    """Sets these handlers of signals again; None stands for one that was not set from Python."""
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def ignore_signals() -> None:
    """Makes this process ignore Ctrl-C and SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
