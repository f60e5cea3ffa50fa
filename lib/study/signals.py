"""Handles Ctrl-C and SIGTERM while processes start and end."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def uninterrupted():
    """In this block Ctrl-C is ignored, also by processes that are started in it; SIGTERM is handled after the block.

    A terminal sends Ctrl-C to all processes, and only the driver handles it. New processes inherit ignored signals, but
    not blocked ones: Python's multiprocessing unblocks them. In other threads than the main thread, where Python sets
    no signal handlers, the block has no effect.
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
    """Gives a function that makes this process ignore Ctrl-C and SIGTERM until the block ends, for its cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ignore_signals
    finally:
        restore(before)


def restore(handlers: dict) -> None:
    """Sets these signal handlers again; None is a handler that was not set from Python."""
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def ignore_signals() -> None:
    """Makes this process ignore Ctrl-C and SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
