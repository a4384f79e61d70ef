"""Python functions that tf.data calls from its own threads, and the end of the process.

A dataset prepares elements ahead. When the interpreter ends while one of its threads is about to call Python, the
thread never gets to run, and TensorFlow, which waits for it as it takes the dataset apart, never ends: the process
hangs. Functions marked here refuse to begin once the process ends, and the end waits until tf.data has stopped asking.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

__all__ = ["counted", "counted_generator"]

Result = TypeVar("Result")

_QUIET_SECONDS = 0.1  # without a call: the buffers of a pipeline that nobody empties are full well before
_PATIENCE_SECONDS = 10.0


class _Calls:
    """How many calls run, and when the last one began or ended."""

    def __init__(self) -> None:
        self.ending = False
        self.running = 0
        self.last = time.monotonic()
        self.lock = threading.Lock()

    def begin(self) -> None:
        with self.lock:
            self.last = time.monotonic()
            if self.ending:
                raise RuntimeError("the process is ending")
            self.running += 1

    def end(self) -> None:
        with self.lock:
            self.running -= 1
            self.last = time.monotonic()

    def wait_until_quiet(self) -> None:
        self.ending = True
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < give_up and (self.running or time.monotonic() - self.last < _QUIET_SECONDS):
            time.sleep(_QUIET_SECONDS / 10)


_CALLS = _Calls()
atexit.register(_CALLS.wait_until_quiet)


def counted(function: Callable[..., Result]) -> Callable[..., Result]:
    """Mark a function that tf.data calls."""

    @wraps(function)
    def call(*arguments: Any) -> Result:
        _CALLS.begin()
        try:
            return function(*arguments)
        finally:
            _CALLS.end()

    return call


def counted_generator(function: Callable[..., Iterator[Result]]) -> Callable[..., Iterator[Result]]:
    """Mark a function that tf.data calls and whose elements it then asks for one at a time."""

    @wraps(function)
    def iterate(*arguments: Any) -> Iterator[Result]:
        elements = function(*arguments)
        advance = counted(lambda: next(elements, _NOTHING))
        while (element := advance()) is not _NOTHING:
            yield element

    return iterate


_NOTHING: Any = object()
