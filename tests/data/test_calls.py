"""Functions that tf.data calls: counted while they run, refused once the process ends, and the process does end."""

import subprocess
import sys
import threading
import time

import pytest

from visual_foresight import calls


def test_counted_functions_give_their_results(monkeypatch):
    """Marked functions and generators do what they did."""
    monkeypatch.setattr(calls, "_CALLS", calls._Calls())
    assert calls.counted(lambda a, b: a + b)(2, 3) == 5
    assert list(calls.counted_generator(lambda n: iter(range(n)))(4)) == [0, 1, 2, 3]
    assert calls._CALLS.running == 0


class Turns:
    """Time as it is, which also tells when something has slept often enough to be past its quiet time."""

    def __init__(self):
        self.monotonic, self.left, self.enough = time.monotonic, 50, threading.Event()

    def sleep(self, seconds):
        time.sleep(seconds)
        self.left -= 1
        if self.left == 0:
            self.enough.set()


def test_the_end_waits_for_running_calls_and_refuses_new_ones(monkeypatch):
    """wait_until_quiet returns after the running call has, and nothing begins afterwards."""
    monkeypatch.setattr(calls, "_CALLS", calls._Calls())
    monkeypatch.setattr(calls, "time", turns := Turns())
    monkeypatch.setattr(calls, "_QUIET_SECONDS", 0.001)  # a turn sleeps a tenth of it
    begun, release, order = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        release.wait(10)
        order.append("work")

    thread = threading.Thread(target=calls.counted(work))
    thread.start()
    begun.wait(10)
    waiting = threading.Thread(target=lambda: (calls._CALLS.wait_until_quiet(), order.append("end")))
    waiting.start()
    assert turns.enough.wait(10)
    assert order == []
    release.set()
    waiting.join(10)
    thread.join(10)
    assert order == ["work", "end"]
    with pytest.raises(RuntimeError, match="the process is ending"):
        calls.counted(work)()
    with pytest.raises(RuntimeError, match="the process is ending"):
        list(calls.counted_generator(lambda: iter([1]))())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npz", "raw"])
def test_a_process_that_holds_an_iterator_ends(tmp_path, make_episode, kind):
    """A script whose iterator still prepares batches when it is done ends by itself: it used to hang."""
    from visual_foresight.formats import write_episodes

    suffix, encoding = (".tfrecord", "raw") if kind == "raw" else (".npz", None)
    for shard in range(4):
        episodes = [make_episode(each, frames=12, size=(64, 64)) for each in range(16)]
        write_episodes(tmp_path / f"{shard}{suffix}", episodes, encoding=encoding)
    script = (
        "from visual_foresight.pipeline import stream_windows\n"
        f"batches = iter(stream_windows({str(tmp_path)!r}, sequence_length=10, batch_size=32, seed=0))\n"
        "for _ in range(8): next(batches)\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "done" and done.returncode == 0
