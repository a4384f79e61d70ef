"""Worker processes that end when the process that started them does."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import parent_process
from typing import Any

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
    """
    pool = ProcessPoolExecutor(workers, context, initializer, arguments)
    try:
        yield pool
    except BaseException:
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(5.0)
        raise
    pool.shutdown()


def follow_parent() -> None:
    """End this worker as soon as its parent is gone; call it first in a worker.

    A parent that is killed cannot stop its workers. Without this they would finish what is queued and then wait for
    ever, each with its model in memory.
    """
    threading.Thread(target=_end_with_parent, daemon=True, name="follow-parent").start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
