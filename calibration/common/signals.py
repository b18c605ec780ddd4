"""End the program in order when the system asks for it, as Ctrl-C does."""

import errno
import os
import signal
import termios
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_ASKED = (signal.SIGTERM, signal.SIGHUP)  # by `kill`, `docker stop` or a shutdown; by a terminal that is closed


class Terminated(KeyboardInterrupt):
    """The system asked the program to end, with the signal ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Raise :class:`Terminated` in the block for SIGTERM or SIGHUP; a second one does not interrupt what the first began.

    A signal that is ignored, as SIGHUP under ``nohup``, stays ignored.
    """
    with _answered(_end, [number for number in _ASKED if signal.getsignal(number) != signal.SIG_IGN]):
        yield


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """End the block at Ctrl-C as if it were over; :class:`Terminated` is raised."""
    try:
        yield
    except Terminated:
        raise
    except KeyboardInterrupt:
        pass


@contextmanager
def finishing() -> Iterator[None]:
    """Put off SIGTERM, SIGHUP and the first Ctrl-C until the block is done, and raise then what they raise.

    For what takes a moment and must not be left in the middle. Outside the main thread, which alone is interrupted, nothing
    is put off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (*_ASKED, signal.SIGINT)}
    own = {number: handler for number, handler in handlers.items() if callable(handler)}
    put_off: list[tuple[int, FrameType | None]] = []

    def note(number: int, frame: FrameType | None) -> None:
        put_off.append((number, frame))
        signal.signal(signal.SIGINT, handlers[signal.SIGINT])  # a second Ctrl-C ends what hangs

    with _answered(note, own):
        yield
    for number, frame in put_off[:1]:
        own[signal.Signals(number)](number, frame)


@contextmanager
def _answered(answer: Callable[[int, FrameType | None], None], numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Have ``answer`` handle signals in the block, and afterwards whatever handled them before."""
    before = {number: signal.signal(number, answer) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(error: BaseException) -> int:
    """Return the exit code of a program that ``error``, an interruption, ended: 128 plus the number of the signal."""
    cause = error if isinstance(error, Terminated) else error.__cause__
    return 128 + (cause.number if isinstance(cause, Terminated) else signal.SIGINT)


def _end(number: int, _: FrameType | None) -> None:
    for end_signal in _ASKED:
        signal.signal(end_signal, signal.SIG_IGN)
    _leave_closed_terminal()
    raise Terminated(number)


def _leave_closed_terminal() -> None:
    """Send output nowhere if its terminal is gone, because an error from writing to it would end what still has to be done."""
    for stream in (1, 2):
        try:
            termios.tcgetattr(stream)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                with suppress(OSError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
