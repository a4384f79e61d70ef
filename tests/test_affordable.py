"""What cannot fit the machine is refused before any work, in words that say what there is."""

import pytest

from visual_foresight import affordable
from visual_foresight.envs.collect import CollectSettings, collect_episodes


@pytest.fixture
def small_machine(monkeypatch):
    """With a gigabyte of memory, and as much room on its disk."""
    usage = type("Usage", (), {"free": 10**9})
    monkeypatch.setattr(affordable, "memory_bytes", lambda: 10**9)
    monkeypatch.setattr(affordable.shutil, "disk_usage", lambda path: usage)


def test_the_bound_itself_is_taken(small_machine, tmp_path):
    affordable.require_at_most("--steps", 5, 5, "a picture each")
    affordable.require_memory("frames", 10**9, "take fewer")
    affordable.require_disk(tmp_path / "new", "frames", 10**9, "take fewer")
    with pytest.raises(ValueError, match=r"--steps must be at most 5 \(a picture each\), got 6,000"):
        affordable.require_at_most("--steps", 6000, 5, "a picture each")
    with pytest.raises(ValueError, match="need at least 2.0 GB of memory, and this machine has 1.0 GB: take fewer"):
        affordable.require_memory("frames", 2 * 10**9, "take fewer")
    with pytest.raises(ValueError, match=f"need at least 2.0 GB, and {tmp_path} has room for 1.0 GB"):
        affordable.require_disk(tmp_path / "new", "frames", 2 * 10**9, "take fewer")


def test_what_is_there_already_needs_no_room(small_machine, tmp_path):
    """As when a collection goes on."""
    (tmp_path / "episodes").write_bytes(bytes(1000))
    affordable.require_disk(tmp_path, "frames", 10**9 + 1000, "take fewer")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"episodes": 10**11}, "100,000,000,000 episodes of 20 steps .* need at least .* GB, and .* has room"),
        ({"steps": 10**8}, "episodes of 100,000,000 steps of 64x64 pixels need at least 1,228.8 GB of memory"),
        ({"image_size": 10**6}, "need at least .* of memory"),
        ({"episodes": 5000, "encoding": "raw"}, "5,000 episodes .* need at least 1.3 GB"),
    ],
)
def test_a_collection_that_cannot_fit_is_not_begun(small_machine, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        collect_episodes(tmp_path / "data", CollectSettings(**{"episodes": 1, **changes}))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        ("predict --episodes 1000000", "--episodes must be at most 100 (a column of the picture each), got 1,000,000"),
        ("plan --candidates 100000000", "--candidates must be at most 100,000"),
        ("plan --iterations 100000000", "--iterations must be at most 1,000"),
        ("plan --steps 100000000", "--steps must be at most 100,000"),
        ("demo --horizon 100000000", "--horizon must be at most 1,000"),
        ("demo --episodes 100000000", "--episodes must be at most 100,000"),
        ("plan --planner_seeds 1000000000", "tasks x shifts x methods x --planner_seeds must be at most 1,000,000"),
        ("plan --workers 100000", "--workers must be at most 1,024"),
        ("collect --output out --episodes 5 --workers 100000", "workers must be at most 1,024"),
        ("evaluate --make_bank a.npz --bank_scenes 1000000", "num_scenes of a bank must be at most 10,000"),
        ("train --data_dir . --batch_size 100000", "batch_size=100000 x sequence_length=10 need at least 262.1 GB"),
    ],
)
def test_absurd_numbers_are_one_line(small_machine, refused, tmp_path, monkeypatch, words, message):
    """They had run until memory or patience ended."""
    monkeypatch.chdir(tmp_path)
    assert message in refused(*words.split())
    assert list(tmp_path.iterdir()) == []
