"""Banks: made from a seed, refused when damaged; and what is said of predictors whose ranking is known."""

import dataclasses
import json
import types

import numpy as np
import pytest

from visual_foresight import metrics
from visual_foresight.backend import silence_start_up
from visual_foresight.bank import Bank, bank_regret, shipped_banks
from visual_foresight.envs.bank_making import MIXTURE, BankSettings, make_bank
from visual_foresight.envs.push import PushEnv
from visual_foresight.envs.tasks import sample_task
from visual_foresight.rollout import Rollout

silence_start_up()

SMALL = BankSettings(num_scenes=2, num_sequences=16, horizon=6, seed=3)


@pytest.fixture(scope="module")
def made():
    return make_bank(SMALL)


def invented(scenes=3, sequences=8, horizon=15, size=16, seed=0):
    """A bank of noise: positions spread, so that costs differ."""
    rng = np.random.default_rng(seed)
    return Bank(
        frames=rng.integers(0, 256, (scenes, 2, size, size, 3), dtype=np.uint8),
        context_actions=rng.uniform(-1, 1, (scenes, 1, 2)).astype(np.float32),
        states=rng.uniform(-1, 1, (scenes, 2, 2)).astype(np.float32),
        actions=rng.uniform(-1, 1, (scenes, sequences, horizon, 2)).astype(np.float32),
        pixels=np.full((scenes, 2), 7.0, np.float32),
        goals=np.full((scenes, 2), 3.0, np.float32),
        positions=rng.uniform(0, size - 1, (scenes, sequences, horizon, 2)).astype(np.float32),
        protocol={"made": "by a test"},
    )


class Oracle:
    """A simulator whose maps are what a function makes of the true positions: [T, 2] to [T, 2]."""

    def __init__(self, bank, say, stride=1):
        config = types.SimpleNamespace(
            image_size=bank.frames.shape[2:4],
            action_size=2,
            state_size=2,
            use_state=True,
            context_frames=2,
            stride=stride,
        )
        self.predictor = types.SimpleNamespace(config=config)
        self.bank, self.say, self.asked = bank, say, []

    def start(self, frames, actions, states, *, pixels):
        assert len(frames) == 2 and len(actions) == 1 and len(states) == 2
        return next(index for index, known in enumerate(self.bank.frames) if (known == frames).all())

    def rollout(self, start, actions, outputs, every=1):
        self.asked.append((actions.shape, outputs, every))
        height, width = self.predictor.config.image_size
        maps = np.zeros((len(actions), actions.shape[1] // every, 1, height, width), np.float32)
        for sequence in range(len(actions)):
            said = self.say(self.bank.positions[start, sequence, every - 1 : actions.shape[1] : every])
            for step, (row, column) in enumerate(np.rint(said).astype(int)):
                maps[sequence, step, 0, row, column] = 1.0
        return Rollout(actions=actions, pixel_distributions=maps, every=every)


def judged(bank, say, stride=1, **options):
    simulator = Oracle(bank, say, stride)
    return bank_regret(simulator.predictor, bank, simulator=simulator, **options), simulator


def whole(bank):
    return dataclasses.replace(bank, positions=np.rint(bank.positions))


def test_a_predictor_that_knows_the_truth_regrets_nothing():
    bank = whole(invented())
    report, simulator = judged(bank, lambda positions: positions)
    assert report["rank_correlation"] == pytest.approx(1) and report["regret"] == report["top_regret"] == 0
    assert set(report["horizons"]) == {"5", "10", "15"} and report["bank"] == bank.sha256[:12]
    assert simulator.asked == [((8, 15, 2), ("pixel_distributions",), 1)] * 3


def test_a_predictor_that_knows_better_is_worst():
    """Positions mirrored about the goal's far side: what is near is called far."""
    bank = whole(invented(size=32))
    bank = dataclasses.replace(bank, goals=np.zeros_like(bank.goals))
    report, _ = judged(bank, lambda positions: 31 - positions)
    assert report["rank_correlation"] < -0.5 and report["regret"] > 5


def test_the_figures_are_those_of_the_metrics():
    bank = whole(invented())

    def shuffled(positions):
        return positions[:, ::-1] * 0.5

    report, _ = judged(bank, shuffled, top=3)
    for step in (5, 10, 15):
        expected = {"rank_correlation": [], "regret": [], "top_regret": [], "copy_regret": []}
        for scene in range(3):
            true = np.linalg.norm(bank.positions[scene, :, step - 1] - bank.goals[scene], axis=-1)
            said = np.rint(shuffled(bank.positions[scene, :, step - 1]))
            predicted = np.linalg.norm(said - bank.goals[scene], axis=-1)
            expected["rank_correlation"].append(metrics.rank_correlation(predicted, true))
            expected["regret"].append(metrics.top_k_regret(predicted, true))
            expected["top_regret"].append(metrics.top_k_regret(predicted, true, 3))
            expected["copy_regret"].append(true.mean() - true.min())
        for name, values in expected.items():
            found = report["horizons"][str(step)][name]
            assert found["mean"] == pytest.approx(np.mean(values)) and found["count"] == 3
            assert found["low"] <= found["mean"] <= found["high"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(("stride", "every"), [(5, {5}), (3, {1, 3}), (1, {1})])
def test_a_leaping_predictor_is_asked_for_the_ends_of_its_leaps(stride, every):
    """Where they are moments looked at (5, 10, 15); for the others, for every step. The moments are the same."""
    bank = whole(invented())
    report, simulator = judged(bank, lambda positions: positions, stride)
    assert {asked[2] for asked in simulator.asked} == every
    assert report["rank_correlation"] == pytest.approx(1)


def test_scenes_where_nothing_moves_have_no_rank_and_no_regret():
    bank = invented(scenes=2)
    bank.positions[0] = 5.0
    report, _ = judged(whole(bank), lambda positions: positions)
    last = report["horizons"]["15"]
    assert last["rank_correlation"]["count"] == 1 and last["regret"]["count"] == 2
    bank.positions[1] = 5.0
    report, _ = judged(whole(bank), lambda positions: positions)
    assert report["rank_correlation"] is None and report["regret"] == 0


def test_a_predictor_of_images_alone_ranks_nothing():
    """It says the same of every sequence: its regret would be that of whichever sequence comes first."""
    from visual_foresight.predictor import PredictorConfig, VideoPredictor

    predictor = VideoPredictor(PredictorConfig("DNA", "fast", 16, 16, use_state=False, num_masks=1, width=0.25))
    with pytest.raises(ValueError, match="a bank ranks action .* was trained on images alone"):
        bank_regret(predictor, invented())


@pytest.mark.parametrize("options", [{"stride": 5, "context_frames": 1}, {}])
def test_real_predictors_are_judged(options):
    """Any backbone, stride and number of context frames; the same again with the same simulator."""
    from visual_foresight.predictor import PredictorConfig, VideoPredictor
    from visual_foresight.simulator import LearnedSimulator

    sizes = {"image_height": 16, "image_width": 16, "action_size": 2, "state_size": 2, "width": 0.25, "num_masks": 2}
    predictor = VideoPredictor(PredictorConfig(backbone="fast", **sizes, **options))
    bank = invented()
    simulator = LearnedSimulator(predictor)
    first = bank_regret(predictor, bank, simulator=simulator)
    assert first == bank_regret(predictor, bank, simulator=simulator)
    assert first["stride"] == options.get("stride", 1) and first["regret"] >= first["top_regret"] >= 0
    with pytest.raises(ValueError, match="the simulator is around another predictor"):
        bank_regret(VideoPredictor(predictor.config), bank, simulator=simulator)
    with pytest.raises(ValueError, match="top must be between 1 and the 8"):
        bank_regret(predictor, bank, top=9)
    with pytest.raises(ValueError, match=r"the bank has image size \(24, 24\)"):
        bank_regret(predictor, invented(size=24))
    predictor.set_weights([np.full_like(weight, np.nan) for weight in predictor.get_weights()])
    with pytest.raises(ValueError, match="in scene 0 of the bank is not finite: its training diverged"):
        bank_regret(predictor, bank)


def test_the_same_seed_makes_the_same_bank(made):
    assert make_bank(SMALL).sha256 == made.sha256
    assert make_bank(dataclasses.replace(SMALL, seed=4)).sha256 != made.sha256


def test_the_labels_are_what_the_environment_does(made):
    """From the moment on, stepping the environment with a sequence brings the pixel where the bank says."""
    env = PushEnv()
    found = 0
    for attempt in range(40):
        try:
            task = sample_task(7_000_000_000 + SMALL.seed * 1_000_003 + attempt)
        except ValueError:
            continue
        observation, info = env.reset(options={"task": task})
        rng = np.random.default_rng([0xBA27, SMALL.seed, attempt])
        from visual_foresight.envs.policies import SmoothPolicy

        policy = SmoothPolicy()
        policy.reset(env.scene, rng)
        for _ in range(int(rng.integers(1, 5))):
            observation, _, _, _, info = env.step(policy.act(observation["state"], info))
        scene = next((s for s in range(2) if (made.frames[s, 1] == observation["image"]).all()), None)
        if scene is None:
            continue
        found += 1
        np.testing.assert_allclose(made.pixels[scene], info["object_pixels"][task.object_index], atol=1e-4)
        saved = env.save_state()
        for sequence in (0, 9, 15):
            env.restore_state(saved)
            for step in range(SMALL.horizon):
                _, _, _, _, info = env.step(made.actions[scene, sequence, step])
                pixel = info["object_pixels"][task.object_index]
                np.testing.assert_allclose(made.positions[scene, sequence, step], pixel, atol=0.005)
    assert found == 2


def test_sequences_towards_the_goal_help():
    """Shipped banks: the best sequence is far better than the usual one, and than the best of the other kinds."""
    for name in shipped_banks():
        bank = Bank.load(name)
        costs = bank.true_costs(15)
        assert costs.shape == (40, 64)
        kinds = np.tile(np.repeat(list(MIXTURE), list(MIXTURE.values())), 4)
        assert costs.mean() - costs.min(axis=1).mean() > 5
        others = costs[:, kinds != "towards_goal"].min(axis=1).mean()
        assert others - costs.min(axis=1).mean() > 2


def test_a_damaged_bank_is_refused_wherever_the_damage_is(made, tmp_path):
    made.save(tmp_path / "bank.npz")
    content = bytearray((tmp_path / "bank.npz").read_bytes())
    for place in range(100, len(content) - 100, len(content) // 60):
        flipped = content.copy()
        flipped[place] ^= 1 << place % 8
        (tmp_path / "flipped.npz").write_bytes(flipped)
        try:
            found = Bank.load(tmp_path / "flipped.npz")
        except ValueError as error:
            assert "flipped.npz" in str(error)
        else:  # in a part of the archive that says nothing
            assert found.sha256 == made.sha256


def test_a_bank_is_read_as_it_was_written(made, tmp_path):
    made.save(tmp_path / "bank.npz")
    read = Bank.load(tmp_path / "bank.npz")
    assert read.sha256 == made.sha256 and read.protocol == made.protocol
    np.testing.assert_array_equal(read.positions, made.positions)


def test_damaged_banks_are_refused(made, tmp_path):
    path = tmp_path / "bank.npz"
    made.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["positions"][0, 0, 0, 0] += 1
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="does not have the sha256"):
        Bank.load(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match="is no bank"):
        Bank.load(path)
    np.savez(path, frames=np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="no bank but another kind of file, perhaps of episodes"):
        Bank.load(path)
    np.savez(path, notes=np.array("[1]"), **{name: array for name, array in arrays.items() if name != "notes"})
    with pytest.raises(ValueError, match="not a bank of format 1"):
        Bank.load(path)
    with pytest.raises(FileNotFoundError, match="no bank at .*nowhere"):
        Bank.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="an .npz file"):
        made.save(tmp_path / "bank.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"goals": np.zeros((3, 3), np.float32)}, r"goals must be finite and \[3, 2\]"),
        ({"positions": np.full((3, 8, 15, 2), np.nan, np.float32)}, "positions must be finite"),
        ({"frames": np.zeros((3, 2, 16, 16, 3), np.float32)}, "uint8"),
    ],
)
def test_broken_banks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(invented(), **change)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_sequences": 20}, "multiple of 16, got 20"),
        ({"num_scenes": 0}, "num_scenes of a bank must be at least 1"),
        ({"split": "nowhere"}, "unknown split"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BankSettings(**options)


def test_a_smaller_bank_keeps_scenes_and_spreads_sequences():
    bank = invented(sequences=16)
    small = bank.smaller(2, 4)
    assert small.actions.shape == (2, 4, 15, 2) and small.frames.shape[0] == 2
    np.testing.assert_array_equal(small.positions, bank.positions[:2, [0, 5, 10, 15]])
    assert small.sha256 != bank.sha256
    with pytest.raises(ValueError, match="at least 1 scene and 2 sequences"):
        bank.smaller(1, 1)
    with pytest.raises(ValueError, match="16 sequences each; 2 and 17 were asked for"):
        bank.smaller(2, 17)


def trained(folder, **changes):
    """Two validations of a tiny predictor, on a bank of its own sizes."""
    from visual_foresight.episode import Episode
    from visual_foresight.train import TrainingConfig, fit

    rng = np.random.default_rng(0)
    episodes = [
        Episode(
            rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8),
            rng.uniform(-1, 1, (3, 2)).astype(np.float32),
            rng.uniform(-1, 1, (4, 2)).astype(np.float32),
        )
        for _ in range(8)
    ]
    settings = {
        "backbone": "fast", "num_masks": 1, "width": 0.25, "image_size": (16, 16), "sequence_length": 4,
        "batch_size": 2, "preprocess": "none", "num_iterations": 4, "log_every": 2, "validate_every": 2,
        "validation_batches": 1, "schedsamp_k": -1, "train_val_split": 0.5, "checkpoint_every": 2,
        "select": "regret", "output_dir": str(folder / "out"), "event_log_dir": str(folder / "events"),
    }  # fmt: skip
    return fit(TrainingConfig(**{**settings, **changes}), episodes, show_progress=False)


def test_checkpoints_are_chosen_by_regret(tmp_path):
    """The best one has the least regret of the log, and the log says what `bank_regret` says of the last."""
    bank = invented(scenes=2, sequences=6)
    bank.save(tmp_path / "bank.npz")
    result = trained(tmp_path, bank=str(tmp_path / "bank.npz"))
    regrets = {int(row["iteration"]): row["val_regret"] for row in result.log if "val_regret" in row}
    assert set(regrets) == {2, 4}
    assert result.best_iteration == min(regrets, key=regrets.get)
    assert result.validation["regret"] == pytest.approx(regrets[4])
    found = bank_regret(result.predictor, bank)
    assert result.validation["regret"] == pytest.approx(found["regret"], abs=1e-4)
    assert result.validation["rank_correlation"] == pytest.approx(found["rank_correlation"], abs=1e-3)


def test_a_bank_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    invented(size=24).save(tmp_path / "bank.npz")
    with pytest.raises(ValueError, match="the bank has image size"):
        trained(tmp_path, bank=str(tmp_path / "bank.npz"))
    with pytest.raises(FileNotFoundError, match="shipped banks: push-novel-v1, push-seen-v1"):
        trained(tmp_path, bank="push-unseen-v1")
    assert not (tmp_path / "out").exists()


def test_the_command_judges_by_a_bank_and_makes_one(tiny_predictor, tmp_path, command, refused):
    words = [
        "evaluate",
        "--model_dir",
        tiny_predictor,
        "--bank",
        "push-seen-v1",
        "--bank_scenes=2",
        "--bank_sequences=4",
    ]
    answer = command(*words, "--top=2")
    assert answer.code == 0 and "copy-last-frame" in answer.out and "2 scenes x 4 sequences" in answer.out
    answer = command(*words, "--top=2", "--json")
    figures = json.loads(answer.out)["bank"]["predictors"][str(tiny_predictor)]
    assert figures["scenes"] == 2 and figures["top"] == 2
    assert "no bank at" in refused("evaluate", "--model_dir", tiny_predictor, "--bank=push-sene-v1")
    file = tmp_path / "mine.npz"
    making = ["evaluate", "--make_bank", file, "--bank_scenes=1", "--bank_sequences=16", "--quiet"]
    answer = command(*making, "--json")
    assert answer.code == 0 and json.loads(answer.out)["sha256"] == Bank.load(file).sha256
    assert "multiple of 16" in refused(*making[:4], "--bank_sequences=20")
    assert "an .npz file" in refused("evaluate", "--make_bank", tmp_path / "mine.txt")
