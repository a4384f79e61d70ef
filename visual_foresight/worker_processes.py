"""Worker processes that end when the process that started them does."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import parent_process
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SECONDS_BETWEEN_LOOKS = 0.25

MOST_WORKERS = 1024
"""More processes than a machine has any use for; each has an environment or a model of its own."""


@contextmanager
def worker_pool(
    workers: int, context: Any, initializer: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Processes that share work; where the block is left by an exception, such as an interrupt, they are ended at once.

    `ProcessPoolExecutor` alone would wait for what they have in hand. Whatever they write must be complete or absent.

    Args:
        workers: how many.
        context: of `multiprocessing`.
        initializer: called in each, first of all.
        arguments: of it.

    Raises:
        ChildProcessError: a worker was ended from outside.
    """
    pool = ProcessPoolExecutor(workers, context, initializer, arguments)
    try:
        yield pool
    except BaseException as error:
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()  # `follow_parent` makes them deaf to anything less
        for process in processes:
            process.join(5.0)
        if isinstance(error, BrokenProcessPool):
            raise ChildProcessError(
                "a worker process was killed, as the system does when memory runs out: use fewer --workers"
            ) from error
        raise
    pool.shutdown()


def results_of(
    pool: ProcessPoolExecutor, function: Callable[[Job], Result], jobs: Iterable[Job]
) -> Iterator[tuple[Job, Result] | None]:
    """Yield each job with its result as soon as it is there, and None now and then, so that progress can be shown."""
    # Workers are started here, and are as deaf as this thread is now: until `follow_parent` runs in one, Ctrl-C in a
    # terminal would end it in the middle of an import, with a traceback.
    with _signals_held(), _signals_blocked():
        futures = {pool.submit(function, job): job for job in jobs}
    while futures:
        with _signals_held():
            done, _ = wait(futures, timeout=_SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
        yield None
        for future in done:
            with _signals_held():
                finished = futures.pop(future), future.result()
            yield finished


@contextmanager
def _signals_held() -> Iterator[None]:
    """Answer Ctrl-C and SIGTERM at the end of this block, which must be short.

    What they raise in the middle of `wait` leaves a future locked, and the process then waits for ever at its end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for held_one in held:
            signal.raise_signal(held_one)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of this block; processes that begin in it never hear of them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow_parent() -> None:
    """End this worker as soon as its parent is gone, and not before; call it first in a worker.

    Signals that go to a whole group, such as Ctrl-C, are the parent's: it decides what they mean, and ends its workers.

    A parent that is killed cannot stop its workers. Without this they would finish what is queued and then wait for
    ever, each with its model in memory.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True, name="follow-parent").start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
