"""Workers end with the process that started them, however it ended."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from visual_foresight.worker_processes import worker_pool

PARENT = """
import sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
sys.path.insert(0, sys.argv[1])
import test_worker_processes as tests

if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), tests.follow) as pool:
        print(pool.submit(tests.pid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def follow():
    from visual_foresight.worker_processes import follow_parent

    follow_parent()


def pid():
    return os.getpid()


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_worker_ends_when_its_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    )
    worker = int(parent.stdout.readline())
    try:
        assert alive(worker)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        for _ in range(200):
            if not alive(worker):
                break
            time.sleep(0.05)
        assert not alive(worker)
    finally:
        parent.stdout.close()
        if alive(worker):
            os.kill(worker, signal.SIGKILL)


def finish(path):
    time.sleep(60.0)  # never slept to its end, but where the pool waits: so that the test then fails and does not hang
    Path(path).touch()


def test_an_interrupt_ends_workers_in_the_middle_of_their_work(tmp_path):
    """What they have in hand is neither waited for nor finished: a pool that waited would leave the files."""
    with pytest.raises(KeyboardInterrupt), worker_pool(2, get_context("spawn"), follow, ()) as pool:
        process = pool.submit(pid).result(timeout=120)
        pool.map(finish, [tmp_path / "first", tmp_path / "second"])
        raise KeyboardInterrupt
    assert not alive(process)
    assert not list(tmp_path.iterdir())
