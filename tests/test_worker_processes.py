"""Workers end with the process that started them, however it ended."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from visual_foresight import worker_processes
from visual_foresight.worker_processes import results_of, worker_pool

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


def test_a_signal_in_the_middle_of_waiting_is_answered_after_it(monkeypatch):
    """An exception out of the middle would leave a future locked, and the process waiting for it at its end."""
    waited, wait = [], worker_processes.wait

    def interrupted(*words, **options):
        signal.raise_signal(signal.SIGINT)
        waited.append(wait(*words, **options))
        return waited[-1]

    monkeypatch.setattr(worker_processes, "wait", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what runs in background
    try:
        with pytest.raises(KeyboardInterrupt), worker_pool(1, get_context("spawn"), follow, ()) as pool:
            list(results_of(pool, abs, [-1]))
        assert len(waited) == 1 and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def begin_late():
    """A signal to the whole group, before anything of ours has run in this worker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    follow()


def test_a_signal_before_a_worker_follows_its_parent_does_not_reach_it():
    """Ctrl-C in a terminal goes to all; one in the middle of an import would end in its traceback."""
    with worker_pool(1, get_context("spawn"), begin_late, ()) as pool:
        assert [each for each in results_of(pool, abs, [-1]) if each is not None] == [(-1, 1)]


def test_every_result_comes_with_its_job():
    with worker_pool(2, get_context("spawn"), follow, ()) as pool:
        found = [each for each in results_of(pool, abs, range(-5, 0)) if each is not None]
    assert sorted(found) == [(job, -job) for job in range(-5, 0)]


def test_a_worker_hears_its_parent_only():
    """What is sent to a whole group reaches it too, and is the parent's to answer."""
    with worker_pool(1, get_context("spawn"), follow, ()) as pool:
        process = pool.submit(pid).result(timeout=120)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(process, number)
        assert pool.submit(pid).result(timeout=120) == process


def test_a_worker_that_the_system_killed_is_an_error_in_words():
    """As when memory runs out."""
    with pytest.raises(ChildProcessError, match="use fewer --workers"):
        with worker_pool(1, get_context("spawn"), follow, ()) as pool:
            os.kill(pool.submit(pid).result(timeout=120), signal.SIGKILL)
            pool.submit(pid).result(timeout=120)
