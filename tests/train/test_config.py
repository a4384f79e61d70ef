"""The flags: the original's names and defaults, and refusals that say what to do."""

import argparse
import dataclasses
import json

import pytest

from visual_foresight.cli import train as command
from visual_foresight.train.config import FREE_ON_RESUME, TrainingConfig, resume_differences

ORIGINAL_DEFAULTS = {
    "data_dir": "push/push_train",
    "output_dir": "./checkpoints",
    "event_log_dir": "./summaries",
    "num_iterations": 100000,
    "pretrained_model": "",
    "sequence_length": 10,
    "context_frames": 2,
    "use_state": True,
    "model": "CDNA",
    "num_masks": 10,
    "schedsamp_k": 900.0,
    "train_val_split": 0.95,
    "batch_size": 32,
    "learning_rate": 0.001,
}


def _parse(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.config_from_arguments(parser.parse_args(words))


def test_the_originals_flags_have_their_names_and_defaults():
    config = _parse()
    assert {name: getattr(config, name) for name in ORIGINAL_DEFAULTS} == ORIGINAL_DEFAULTS
    assert config.backbone == "seed" and config.preprocess == "seed" and config.split_by == "file"


def test_the_command_line_of_the_originals_readme_is_understood():
    config = _parse(
        "--data_dir=push/push_train", "--model=CDNA", "--output_dir=./checkpoints", "--event_log_dir=./summaries",
        "--num_iterations=100000", "--pretrained_model=model", "--sequence_length=10", "--context_frames=2",
        "--use_state=1", "--num_masks=10", "--schedsamp_k=900.0", "--train_val_split=0.95", "--batch_size=32",
        "--learning_rate=0.001",
    )  # fmt: skip
    assert config == TrainingConfig(pretrained_model="model")


def test_every_field_has_an_option_and_every_option_its_help():
    parser = argparse.ArgumentParser(prog="train")
    command.add_arguments(parser)
    text = parser.format_help()
    for item in dataclasses.fields(TrainingConfig):
        assert f"--{item.name} " in text
        assert item.metadata["help"]


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--image_size=48x64"], "image_size", (48, 64)),
        (["--image_size=32"], "image_size", (32, 32)),
        (["--rollout_curriculum=2,4,7"], "rollout_curriculum", (2, 4, 7)),
        (["--use_state=0"], "use_state", False),
        (["--resume"], "resume", True),
        (["--model=dna", "--num_masks=1"], "model", "DNA"),
        (["--schedsamp_k=-1"], "schedsamp_k", -1),
        (["--coarse_weight=0.5"], "coarse_weight", 0.5),
    ],
)
def test_words_become_values(words, field, value):
    assert getattr(_parse(*words), field) == value


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "DNA"}, "--num_masks=1"),
        ({"model": "CDN"}, "did you mean 'CDNA'"),
        ({"backbone": "fats"}, "did you mean 'fast'"),
        ({"sequence_length": 2}, "nothing is predicted"),
        ({"schedsamp_k": -2.0}, "-1 for no scheduled sampling"),
        ({"schedsamp_k": 0.0}, "schedsamp_k"),
        ({"train_val_split": 1.0}, "train_val_split"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"kernel_size": 4}, "odd"),
        ({"kernel_size": 129}, "reaches beyond pictures of"),
        ({"image_size": (30, 64)}, "multiples of 8"),
        ({"width": 1000.0}, "at most 32, got 1000"),
        ({"image_size": (64, 64, 3)}, "image_size"),
        ({"rollout_curriculum": (2, 8)}, "7 here; got 8"),
        ({"init_from": "a", "pretrained_model": "b"}, "pass one of them"),
        ({"resume": True, "overwrite": True}, "pass one of them"),
        (
            {"stride": 3, "sequence_length": 15, "context_frames": 1, "backbone": "fast"},
            "must be a multiple of the stride, 3",
        ),
        ({"stride": 3}, "stride=3 needs the fast network: pass --backbone=fast"),
        ({"moving_masks": True}, "moving_masks=True needs the fast network: pass --backbone=fast"),
        ({"stride": 3, "sequence_length": 11, "backbone": "fast"}, "pass --context_frames=1"),
        ({"shorten": 1.5}, "shorten must lie between 0 and 1"),
        ({"colour_jitter": -0.1}, "colour_jitter must lie between"),
        ({"coarse_weight": -1.0}, "coarse_weight must be at least 0"),
        ({"follow_weight": -1.0}, "follow_weight must be at least 0"),
        ({"follow_points": 0}, "follow_points must be at least 1"),
        ({"follow_weight": 0.1, "use_state": False}, "pass --use_state=1"),
        ({"learning_rate_schedule": "timed"}, "pass how long the run may take"),
        ({"warmup_iterations": 11, "num_iterations": 10}, "warmup_iterations=11 is above num_iterations=10"),
        ({"warmup_iterations": -1}, "warmup_iterations must be at least 0, got -1"),
        (
            {"learning_rate_schedule": "timed", "max_minutes": 5.0, "rollout_curriculum": (0, 2)},
            "which a timed training need not reach",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_way_out(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**fields).validate()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_iterations": 1.5}, "num_iterations must be a whole number, got 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number"),
        ({"use_state": 2}, "use_state must be 0 or 1"),
        ({"data_dir": None}, "data_dir must be text"),
        ({"rollout_curriculum": (1.5,)}, "rollout_curriculum must be whole numbers"),
    ],
)
def test_wrong_types_are_named(fields, message):
    with pytest.raises(TypeError, match=message):
        TrainingConfig(**fields).validate()


def test_json_round_trip_and_unknown_fields():
    config = TrainingConfig(rollout_curriculum=(1, 2), image_size=(48, 64), model="STP")
    assert TrainingConfig.from_json(config.to_json()) == config
    fields = json.loads(config.to_json()) | {"batchsize": 3}
    with pytest.raises(ValueError, match="did you mean 'batch_size'"):
        TrainingConfig.from_json(json.dumps(fields))


def test_resuming_names_every_difference_that_touches_a_weight():
    saved = TrainingConfig()
    assert resume_differences(saved, dataclasses.replace(saved, max_minutes=5.0, keep_checkpoints=9, resume=True)) == []
    differences = resume_differences(saved, dataclasses.replace(saved, batch_size=16, seed=1))
    assert differences == ["batch_size: 32 -> 16", "seed: 0 -> 1"]


def test_a_run_may_be_made_longer_unless_something_is_scaled_to_its_length():
    saved = TrainingConfig()
    assert resume_differences(saved, dataclasses.replace(saved, num_iterations=5)) == []
    spelled = dataclasses.replace(saved, data_dir=f"./{saved.data_dir}/")
    assert resume_differences(saved, spelled) == []
    assert len(resume_differences(saved, dataclasses.replace(saved, data_dir="elsewhere"))) == 1
    two = dataclasses.replace(saved, data_dir="a,b")
    assert resume_differences(two, dataclasses.replace(saved, data_dir="./a,b/")) == []
    assert len(resume_differences(two, dataclasses.replace(saved, data_dir="b,a"))) == 1
    cosine = TrainingConfig(learning_rate_schedule="cosine")
    assert resume_differences(cosine, dataclasses.replace(cosine, num_iterations=5)) == ["num_iterations: 100000 -> 5"]


def test_free_fields_exist():
    assert {item.name for item in dataclasses.fields(TrainingConfig)} >= FREE_ON_RESUME


@pytest.mark.parametrize("words", ["--rollout_curriculum=1x2", "--rollout_curriculum=1,x", "--image_size=6,,4"])
def test_what_is_no_list_of_numbers_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        _parse(words)
    assert "expected" in capsys.readouterr().err
