"""Ctrl-C and SIGTERM: each stops a verb once and in words, wherever it arrives.

Python raises in the middle of whatever the main thread does. Two places answer badly: a module that is being imported,
whose C++ code may end the process, and a callback (of the garbage collector, of a `__del__`), which swallows what is
raised. There the signal arrives again a moment later, by the process's own alarm: a thread that is started inside a
handler may wait for a lock that the interrupted code holds.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_AGAIN_SECONDS = 0.1
_MOST_WAITS = 100  # an import that hangs must not be in the way for ever
_IMPORTING = "<frozen importlib._bootstrap>"

WORDED = (ValueError, TypeError, ImportError)
"""What is mostly raised in the words of this package."""


class Termination(KeyboardInterrupt):
    """SIGTERM, as `kill`, a batch system or a container sends it: it stops a run as Ctrl-C does."""


class Stops:
    """What has stopped, or should have stopped, the verb that runs."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.last: int | None = None
        self.can_wait = False
        self._waiting, self._waits = int(signal.SIGINT), 0

    def answer(self, number: int, frame: FrameType | None) -> None:
        """The handler of both signals; a second SIGTERM ends the process at once."""
        if self.can_wait and self._waits < _MOST_WAITS and _is_importing(frame):
            self._waits += 1
            self._wait_with(number)
            return
        self.last = number
        if number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            raise Termination
        raise KeyboardInterrupt

    def swallowed(self, unraisable: Any) -> bool:
        """Whether an exception that nobody will see was a stop; it is then on its way once more."""
        in_main = threading.current_thread() is threading.main_thread()  # only there handlers can be set
        stopped = isinstance(unraisable.exc_value, KeyboardInterrupt)
        if not (stopped and in_main and self.can_wait) or self.last is None:
            return False
        signal.signal(self.last, self.answer)
        self._wait_with(self.last)
        return True

    def _wait_with(self, number: int) -> None:
        """Once, however often Ctrl-C is pressed meanwhile: a second one would meet the answer to the first."""
        self._waiting = number
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    def arrive_again(self, *_: object) -> None:
        """The handler of the alarm: to whoever answers the signal now, which may be a worker pool that holds it."""
        signal.raise_signal(self._waiting)

    def behind(self, error: BaseException) -> KeyboardInterrupt | None:
        """The stop that arrived inside compiled code, which makes an error of its own of it.

        A full disk stays what it is: a checkpoint could not be written, and that must be said.
        """
        if isinstance(error, OSError):
            return None
        text = "" if isinstance(error, WORDED) else str(error)  # a folder may be called as an exception is
        if Termination.__name__ in text or self.last == signal.SIGTERM:
            return Termination()
        return KeyboardInterrupt() if "KeyboardInterrupt" in text or self.last is not None else None


@contextmanager
def stopping() -> Iterator[Stops]:
    """Answer both signals while a verb runs; whoever embeds this program and has handlers of its own keeps them."""
    usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    stops = Stops()
    if threading.current_thread() is not threading.main_thread():
        yield stops
        return
    ours = [number for number, handler in usual.items() if signal.getsignal(number) is handler]
    if not ours:
        yield stops
        return
    stops.can_wait = signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    hook_before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not stops.swallowed(unraisable):
            hook_before(unraisable)

    for number in ours:
        signal.signal(number, stops.answer)
    if stops.can_wait:
        signal.signal(signal.SIGALRM, stops.arrive_again)
    sys.unraisablehook = hook
    try:
        yield stops
    finally:
        sys.unraisablehook = hook_before
        if stops.can_wait:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        for number in ours:
            signal.signal(number, usual[number])


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported; not the one, if any, that called this program."""
    while frame is not None and not (frame.f_code.co_name == "main" and frame.f_globals.get("__name__") == __package__):
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
