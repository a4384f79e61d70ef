"""The learned judge of temporal distance, in a world so small that it learns it in seconds."""

import json

import numpy as np
import pytest

from visual_foresight.episode import Episode
from visual_foresight.planners.objectives import TemporalDistance
from visual_foresight.predictor import checkpoint
from visual_foresight.rollout import Rollout
from visual_foresight.temporal_distance import TemporalDistanceNetwork, train_temporal_distance

SIZE, LENGTH = 16, 12


def picture(place):
    """A bright column of two pixels that wanders to the right, one pixel a step."""
    frame = np.full((SIZE, SIZE, 3), 30, np.uint8)
    frame[4:12, place : place + 2] = 220
    return frame


def episodes(num=8):
    rng = np.random.default_rng(0)
    for _ in range(num):
        begin = int(rng.integers(0, SIZE - LENGTH - 1))
        noise = rng.integers(0, 20, (LENGTH, SIZE, SIZE, 3), dtype=np.uint8)
        frames = np.stack([picture(begin + step) for step in range(LENGTH)]) + noise
        yield Episode(frames, np.ones((LENGTH - 1, 2), np.float32), np.zeros((LENGTH, 2), np.float32))


class Dreamer:
    """A simulator that sees everything in the dark, and shows it at every second step only."""

    stride = 2

    def __init__(self):
        self.asked = []

    def start(self, frames, actions, states, *, pixels=None):
        assert frames.shape == (1, SIZE, SIZE, 3)
        assert states.shape == (1, 2)
        column = frames[0].astype(int).sum(axis=(0, 2))
        return int(np.argmax(column[:-1] + column[1:]))

    def rollout(self, start, actions, outputs=("frames",), every=1):
        self.asked.append((tuple(outputs), every, actions.shape))
        places = [start + step for step in range(every, actions.shape[1] + 1, every)]
        frames = np.stack([picture(min(place, SIZE - 2)) for place in places])[None] / 255.0
        return Rollout(actions, frames=(0.3 * frames).astype(np.float32), every=every)


SETTINGS = {"seed": 1, "num_steps": 150, "batch_size": 32, "width": 6, "max_distance": 10.0, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("keras")
    return train_temporal_distance(list(episodes()), **SETTINGS)


def as_frames(places, brightness=1.0):
    return (brightness * np.stack([picture(place) for place in places]) / 255.0).astype(np.float32)


def test_it_learns_how_many_steps_apart_frames_are(network):
    goal = as_frames([10])[0]
    found = network.distance(as_frames(range(2, 11)), goal)
    np.testing.assert_allclose(found, np.arange(8, -1, -1), atol=1.5)
    assert np.all(np.diff(found) < 0.0)


def test_bytes_are_judged_as_the_pictures_that_they_are(network):
    frames = np.stack([picture(place) for place in (3, 6, 9)])
    np.testing.assert_array_equal(
        network.distance(frames, picture(10)), network.distance(as_frames([3, 6, 9]), as_frames([10])[0])
    )


@pytest.mark.parametrize("wrong", [lambda f: f.astype(int), lambda f: f.astype(np.float32), lambda f: f > 100])
def test_what_is_neither_bytes_nor_floats_up_to_one_is_not_judged(network, wrong):
    frames, goal = np.stack([picture(3)]), picture(10)
    with pytest.raises(ValueError, match="frames must be"):
        network.distance(wrong(frames), goal)
    with pytest.raises(ValueError, match="goal must be"):
        network.distance(frames, wrong(goal))


def test_as_an_objective_it_prefers_the_future_that_arrives(network):
    frames = np.stack([as_frames([3, 4, 5]), as_frames([3, 3, 3]), as_frames([5, 7, 9])])
    objective = TemporalDistance(network.distance, picture(10), scale=10.0)
    costs = objective(Rollout(np.zeros((3, 3, 2)), frames=frames))
    assert list(np.argsort(costs)) == [2, 0, 1]


def test_tensors_inside_a_compiled_function_give_the_same_with_a_finite_gradient(network):
    tf = pytest.importorskip("tensorflow")
    frames, goal = as_frames(range(2, 9)), as_frames([9])[0]

    @tf.function
    def judged(tensor):
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            steps = network.distance(tensor, goal)
        return steps, tape.gradient(steps, tensor)

    steps, gradient = judged(tf.constant(frames))
    np.testing.assert_allclose(steps, network.distance(frames, goal), rtol=1e-4, atol=1e-4)
    assert np.all(np.isfinite(gradient))
    assert np.any(np.asarray(gradient) != 0.0)


def test_the_same_seed_gives_the_same_network_and_another_another():
    first, again = (train_temporal_distance(list(episodes()), **{**SETTINGS, "num_steps": 4}) for _ in range(2))
    frames, goal = as_frames(range(5)), as_frames([9])[0]
    np.testing.assert_array_equal(first.distance(frames, goal), again.distance(frames, goal))
    fresh = [TemporalDistanceNetwork((SIZE, SIZE), width=6, seed=seed).get_weights()[0] for seed in (1, 2)]
    assert not np.array_equal(*fresh)


def test_imagined_frames_are_learned_too(network):
    """Pictures of the simulator are darker than the camera's; only who has seen them can judge them."""
    dreamer = Dreamer()
    judge = train_temporal_distance(list(episodes()), simulator=dreamer, num_imagined=40, horizon=9, **SETTINGS)
    assert len(dreamer.asked) == 40
    assert set(dreamer.asked) == {(("frames",), 2, (1, 8, 2))}
    goal, dark = as_frames([10])[0], as_frames(range(2, 11), 0.3)
    truth = np.arange(8, -1, -1)
    errors = [np.abs(one.distance(dark, goal) - truth).mean() for one in (judge, network)]
    assert errors[0] < 1.5
    assert errors[0] < 0.6 * errors[1]


def test_saved_and_loaded_it_is_the_same(network, tmp_path):
    network.save(tmp_path / "judge")
    assert sorted(path.name for path in (tmp_path / "judge").iterdir()) == ["config.json", "model.weights.h5"]
    loaded = TemporalDistanceNetwork.load(tmp_path / "judge")
    frames, goal = as_frames(range(5)), as_frames([9])[0]
    np.testing.assert_allclose(loaded.distance(frames, goal), network.distance(frames, goal), rtol=1e-6)
    assert loaded.max_distance == 10.0


def test_saving_replaces_its_own_kind_only_and_as_a_whole(network, tmp_path, monkeypatch):
    """What an interrupt leaves is the earlier network; a predictor, or a folder of other things, stays."""
    network.save(tmp_path / "judge")
    other = TemporalDistanceNetwork((16, 16), width=2, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "replace_folder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            other.save(tmp_path / "judge")
    assert TemporalDistanceNetwork.load(tmp_path / "judge").width == network.width
    assert [path.name for path in tmp_path.iterdir()] == ["judge"]
    other.save(tmp_path / "judge")
    assert TemporalDistanceNetwork.load(tmp_path / "judge").width == 2
    predictor = tmp_path / "predictor"
    predictor.mkdir()
    (predictor / "config.json").write_text(json.dumps({"format": checkpoint.FORMAT}))
    (predictor / "model.weights.h5").write_bytes(b"weights")
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    for folder in (predictor, full):
        with pytest.raises(ValueError, match="is no saved temporal distance, or holds something else"):
            network.save(folder)
    assert (predictor / "model.weights.h5").read_bytes() == b"weights"


def test_no_frames_are_judged_to_nothing(network):
    frames = as_frames(range(3))
    assert network.distance(frames[:0], frames[0]).shape == (0,)
    np.testing.assert_array_equal(network.distance(list(frames), frames[0]), network.distance(frames, frames[0]))


def test_damaged_files_are_refused(network, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        TemporalDistanceNetwork.load(tmp_path)
    network.save(tmp_path)
    weights, config = tmp_path / "model.weights.h5", tmp_path / "config.json"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ValueError, match="is damaged"):
        TemporalDistanceNetwork.load(tmp_path)
    config.write_text(json.dumps({"format": "something else"}))
    with pytest.raises(ValueError, match="describes no temporal distance"):
        TemporalDistanceNetwork.load(tmp_path)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="is missing"):
        TemporalDistanceNetwork.load(tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train_temporal_distance([], seed=0), "need episodes of two frames"),
        (lambda: train_temporal_distance(list(episodes(1)), seed=0, imagined_share=1.0), "imagined_share must lie"),
        (
            lambda: train_temporal_distance(list(episodes(1)), seed=0, simulator=Dreamer(), horizon=40),
            "more than 40 frames",
        ),
        (lambda: TemporalDistanceNetwork((0, 4)), "must be positive"),
        (lambda: train_temporal_distance(list(episodes(1)), seed=0, learning_rate=np.nan), "learning_rate"),
        (lambda: train_temporal_distance(list(episodes(1)), seed=0, learning_rate=-1.0), "learning_rate"),
        (lambda: train_temporal_distance(list(episodes(1)), seed=0, max_distance=0.5), "max_distance"),
        (lambda: train_temporal_distance(list(episodes(1)), seed=-1), "seed must be a whole number"),
        (lambda: train_temporal_distance(list(episodes(1)), seed=None), "seed must be a whole number"),
        (
            lambda: TemporalDistanceNetwork((8, 8), width=2).distance(np.zeros((1, 8, 8, 4)), np.zeros((8, 8, 3))),
            r"frames must be \[N, H, W, 3\]",
        ),
        (
            lambda: TemporalDistanceNetwork((16, 16), width=2).distance(np.zeros((1, 8, 8, 3)), np.zeros((8, 8, 3))),
            r"trained on \(16, 16\) frames",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    pytest.importorskip("keras")
    with pytest.raises(ValueError, match=message):
        call()
