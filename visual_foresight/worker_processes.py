"""Worker processes that end when the process that started them does."""

import os
import threading
from multiprocessing import parent_process


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
