"""Episodes and files that the tests of data formats share."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from visual_foresight.episode import Episode
from visual_foresight.formats import write_episodes

sys.path.insert(0, str(Path(__file__).parent))  # modules beside the tests are imported by name

# Other work on the machine must not decide whether a property holds.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden_push() -> Path:
    """Four records of the original format: 22 frames of 640 x 512 JPEG, 22 actions, 22 states."""
    return GOLDEN / "push_tiny.tfrecord"


@pytest.fixture
def make_episode() -> Callable[..., Episode]:
    """Make an episode of noise: `make_episode(seed, frames=6, size=(8, 8), action_size=2, state_size=3)`."""

    def make(seed=0, *, frames=6, size=(8, 8), action_size=2, state_size=3, extras=None, metadata=None) -> Episode:
        rng = np.random.default_rng(seed)
        return Episode(
            rng.integers(0, 256, (frames, *size, 3), dtype=np.uint8),
            None if action_size is None else rng.normal(size=(frames - 1, action_size)).astype(np.float32),
            None if state_size is None else rng.normal(size=(frames, state_size)).astype(np.float32),
            extras or {},
            metadata or {},
        )

    return make


@pytest.fixture
def rich_episode(make_episode) -> Episode:
    """An episode with every kind of extra and some metadata."""
    extras = {
        "simulator_state": np.random.default_rng(1).normal(size=(6, 4)),
        "contact": np.array([False, True, False, False, True]),
        "object_pixels": np.arange(24, dtype=np.float32).reshape(6, 2, 2),
        "final_action": np.array([0.5, -0.5], np.float32),
        "scale": np.array(3, np.int64),
    }
    return make_episode(5, extras=extras, metadata={"seed": 7, "policy": {"name": "uniform", "scale": 0.5}})


@pytest.fixture
def same_episode() -> Callable[[Episode, Episode], None]:
    """Check that two episodes hold the same, to the bit."""

    def check(actual: Episode, expected: Episode) -> None:
        np.testing.assert_array_equal(actual.frames, expected.frames)
        for name in ("actions", "states"):
            a, b = getattr(actual, name), getattr(expected, name)
            assert (a is None) == (b is None), name
            if a is not None:
                assert a.dtype == b.dtype == np.float32
                np.testing.assert_array_equal(a, b)
        assert set(actual.extras) == set(expected.extras)
        for name, value in expected.extras.items():
            assert actual.extras[name].dtype == value.dtype
            np.testing.assert_array_equal(actual.extras[name], value)
        assert actual.metadata == expected.metadata

    return check


@pytest.fixture
def npz_folder(tmp_path, make_episode) -> Path:
    """A folder of three npz shards with 2, 3 and 2 episodes of 6 to 8 frames."""
    folder = tmp_path / "npz_folder"
    seed = 0
    for shard, count in enumerate((2, 3, 2)):
        episodes = [make_episode(seed + each, frames=6 + (seed + each) % 3) for each in range(count)]
        write_episodes(folder / f"episodes-{shard:05d}.npz", episodes)
        seed += count
    return folder


@pytest.fixture
def damage() -> Callable[..., Path]:
    """Write a copy of a file with one byte changed, or cut off: `damage(path, copy, flip=100)` or `cut=100`."""

    def write(source: Path, copy: Path, *, flip: int | None = None, cut: int | None = None) -> Path:
        content = bytearray(source.read_bytes())
        if flip is not None:
            content[flip] ^= 0xFF
        copy.write_bytes(content[:cut])
        return copy

    return write
