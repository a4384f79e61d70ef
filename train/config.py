"""The frozen configuration of one training run; the command line is made from its fields."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visual_foresight.train.places import data_places
from visual_foresight.wording import did_you_mean

ORIGINAL = "the original's flags"
NETWORK = "network"
DATA = "data"
OPTIMISATION = "loss and optimisation"
RUN = "length, checkpoints and logs"
GROUPS = (ORIGINAL, NETWORK, DATA, OPTIMISATION, RUN)

CHOICES: dict[str, tuple[str, ...]] = {
    "model": ("CDNA", "DNA", "STP"),
    "backbone": ("seed", "fast"),
    "split_by": ("file", "episode"),
    "preprocess": ("seed", "antialias", "none"),
    "precision": ("float32", "mixed_bfloat16"),
    "optimizer": ("adam", "muon"),
    "learning_rate_schedule": ("constant", "cosine", "timed"),
    "window": ("random", "first"),
    "select": ("psnr", "loss", "regret"),
}

_WIDEST = 32
"""Times as wide as the usual network: no memory holds more."""


def _option(default: Any, group: str, help_text: str) -> Any:
    """A dataclass field that carries its own line of `--help`."""
    return field(default=default, metadata={"group": group, "help": help_text})


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a training run, except the data itself.

    The first fourteen fields are the flags of the original trainer (tensorflow/models `research/video_prediction`,
    `prediction_train.py`) under their own names and defaults. `validate` refuses what cannot work, naming the field.

    Differs from the original: `output_dir` and `event_log_dir` default to folders of the working directory, as in the
    original's README, and not to one temporary folder shared by every run.
    """

    data_dir: str = _option("push/push_train", ORIGINAL, "episodes: a folder (or file), or several, divided by commas")
    model: str = _option("CDNA", ORIGINAL, "how known frames are moved: CDNA, DNA or STP")
    output_dir: str = _option("./checkpoints", ORIGINAL, "where checkpoints, log.csv and predicted videos go")
    event_log_dir: str = _option("./summaries", ORIGINAL, "where TensorBoard events go")
    num_iterations: int = _option(100000, ORIGINAL, "gradient steps")
    pretrained_model: str = _option("", ORIGINAL, "predictor (directory or preset name) to start from; random if empty")
    sequence_length: int = _option(10, ORIGINAL, "frames in a training window, context included")
    context_frames: int = _option(2, ORIGINAL, "true frames given at the start; the loss counts from there")
    use_state: bool = _option(True, ORIGINAL, "condition on actions and the first state; 0: images suffice")
    num_masks: int = _option(10, ORIGINAL, "transformations and their masks (DNA: 1)")
    schedsamp_k: float = _option(900.0, ORIGINAL, "scheduled sampling constant; -1: always its own predictions")
    train_val_split: float = _option(0.95, ORIGINAL, "share of the data that is trained on; the rest validates")
    batch_size: int = _option(32, ORIGINAL, "windows in a gradient step")
    learning_rate: float = _option(0.001, ORIGINAL, "first learning rate")

    backbone: str = _option("seed", NETWORK, "seed: the original network; fast: made for planning")
    kernel_size: int = _option(5, NETWORK, "side of the motion kernels [px], odd")
    width: float = _option(1.0, NETWORK, "multiplies every channel count")
    detail: float = _option(1.0, NETWORK, "further multiplies the channels at a quarter of the resolution (fast)")
    num_looks: int = _option(1, NETWORK, "places at which each moved layer looks (fast, CDNA)")
    glimpse: int = _option(0, NETWORK, "features of the picture along the robot's way, e.g. 128; 0: none (fast, CDNA)")
    moving_masks: bool = _option(
        False, NETWORK, "cut moved layers out where they are, and move the cut along (fast, CDNA)"
    )
    stride: int = _option(
        1,
        NETWORK,
        "control steps that one call of the network leaps over (fast, context_frames=1, zero action = stand)",
    )
    image_size: tuple[int, int] = _option((64, 64), NETWORK, "height and width of the frames [px], e.g. 64 or 48x64")
    precision: str = _option("float32", NETWORK, "float32, or mixed_bfloat16: bfloat16 arithmetic, float32 weights")
    init_from: str = _option(
        "",
        NETWORK,
        "predictor to fine-tune: its network is taken over, or grown by --detail, --num_looks, --glimpse and the like",
    )

    preprocess: str = _option("seed", DATA, "crop and resize: seed (the original's), antialias, or none")
    split_by: str = _option("file", DATA, "split training from validation by file (the original's way) or by episode")
    window: str = _option("random", DATA, "where a window starts in its episode; first is the original's way")
    shorten: float = _option(0.3, DATA, "with a stride: share of leaps of a random shorter length")
    colour_jitter: float = _option(0.0, DATA, "largest change of light and colour of a training window, of 1")
    limit_episodes: int = _option(0, DATA, "read at most this many episodes; 0: all")
    cache_gb: float = _option(8.0, DATA, "memory for frames [GiB]; what does not fit is streamed from disk")
    skip_bad: bool = _option(False, DATA, "pass over records that cannot be read, and count them")

    seed: int = _option(0, OPTIMISATION, "seed of weights, order of windows, split by episode, scheduled sampling")
    optimizer: str = _option(
        "adam", OPTIMISATION, "adam, the original's; muon: needs fewer iterations, with a --learning_rate of e.g. 0.006"
    )
    learning_rate_schedule: str = _option(
        "constant",
        OPTIMISATION,
        "constant; cosine: down to a hundredth at the last iteration; timed: at the end of max_minutes",
    )
    warmup_iterations: int = _option(0, OPTIMISATION, "iterations in which the learning rate rises from 0 at the start")
    gradient_clip: float = _option(0.0, OPTIMISATION, "largest norm of the whole gradient; 0: no limit")
    state_weight: float = _option(1e-4, OPTIMISATION, "weight of the squared state error in the loss (original: 1e-4)")
    coarse_weight: float = _option(0.0, OPTIMISATION, "weight of the errors of blurred frames, at three scales")
    motion_weight: float = _option(0.0, OPTIMISATION, "pixels that move count 1 + this in the loss")
    motion_threshold: float = _option(0.08, OPTIMISATION, "a pixel moves when it changes by more than this, of 1")
    motion_dilation: int = _option(2, OPTIMISATION, "pixels this near to a moving one count as moving [px]")
    follow_weight: float = _option(
        0.0, OPTIMISATION, "weight of how badly [px] maps foretell points that are followed through the true frames"
    )
    follow_points: int = _option(4, OPTIMISATION, "with follow_weight: points of a window, chosen where it changes")
    rollout_curriculum: tuple[int, ...] = _option(
        (), OPTIMISATION, "self-fed steps in each equal part of the training, e.g. 2,4,7,9; empty: all from the start"
    )

    max_minutes: float = _option(0.0, RUN, "stop cleanly after this time [min], resumable; 0: no limit")
    log_every: int = _option(40, RUN, "iterations between rows of the log")
    validate_every: int = _option(200, RUN, "iterations between validations, each at the end of a row of the log")
    validation_batches: int = _option(8, RUN, "batches of a validation, the same ones every time")
    checkpoint_every: int = _option(2000, RUN, "iterations between checkpoints, each at the end of a row of the log")
    keep_checkpoints: int = _option(3, RUN, "newest checkpoints kept, besides the best")
    select: str = _option("psnr", RUN, "figure of the validation that decides which checkpoint is the best")
    bank: str = _option("push-seen-v1", RUN, "with select=regret: bank of labelled sequences, a file or a shipped name")
    early_stop_patience: int = _option(0, RUN, "stop after this many validations without a better one; 0: never")
    steps_per_execution: int = _option(1, RUN, "gradient steps run in one call of the compiled function")
    deterministic: bool = _option(
        True, RUN, "on a CPU, add gradients up in a fixed order: a resumed run is exact to the last bit"
    )
    resume: bool = _option(False, RUN, "continue the run in output_dir exactly where it stopped")
    overwrite: bool = _option(False, RUN, "replace the run in output_dir")

    def __post_init__(self) -> None:
        """Brings lists to tuples, so that two equal configurations compare equal."""
        size = (self.image_size,) * 2 if isinstance(self.image_size, int) else tuple(self.image_size)
        object.__setattr__(self, "image_size", size)
        object.__setattr__(self, "rollout_curriculum", tuple(self.rollout_curriculum))

    def validate(self) -> TrainingConfig:
        """Returns itself.

        Raises:
            ValueError: a field is out of range, or fields contradict each other; names the field and the way out.
            TypeError: a number is expected and something else was given.
        """
        _check_types(self)
        _check_choices(self)
        _check_ranges(self)
        _check_combinations(self)
        return self

    def to_json(self) -> str:
        """The fields as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> TrainingConfig:
        """The configuration that `to_json` wrote.

        Raises:
            ValueError: no JSON object, or a field that this version does not know.
        """
        values = json.loads(text)
        if not isinstance(values, Mapping):
            raise ValueError(f"a training configuration is a JSON object, got {type(values).__name__}")
        names = {item.name for item in dataclasses.fields(cls)}
        for name in sorted(set(values) - names):
            hint = did_you_mean(name, names)
            raise ValueError(f"unknown field {name!r} in the training configuration{hint}")
        return cls(**values)

    @property
    def transformation(self) -> str:
        """The name of the transformation in `PredictorConfig`: "cdna", "dna" or "stp"."""
        return self.model.lower()

    @property
    def num_predicted(self) -> int:
        """Frames of a window that the loss counts: `sequence_length - context_frames`, or the leaps over so many."""
        return (self.sequence_length - self.context_frames) // self.stride

    @property
    def num_fed(self) -> int:
        """Calls of the network in a window: one for each frame but the last, or one for each leap."""
        return (self.sequence_length - 1) // self.stride


# Fields that may differ between a run and its continuation: none of them touches a weight.
FREE_ON_RESUME = frozenset(
    "output_dir event_log_dir max_minutes log_every validate_every validation_batches checkpoint_every "
    "keep_checkpoints early_stop_patience steps_per_execution deterministic resume overwrite cache_gb".split()
)


def resume_differences(saved: TrainingConfig, current: TrainingConfig) -> list[str]:
    """The fields that forbid continuing `saved` with `current`, each as "name: saved -> current".

    A longer run is a continuation only while nothing is scaled to its length: neither the cosine nor the curriculum.
    """
    free = set(FREE_ON_RESUME)
    if current.learning_rate_schedule != "cosine" and not current.rollout_curriculum:
        free.add("num_iterations")
    differences = []
    for item in dataclasses.fields(TrainingConfig):
        before, now = getattr(saved, item.name), getattr(current, item.name)
        same_folder = item.name == "data_dir" and _resolved(before) == _resolved(now)
        if item.name not in free and before != now and not same_folder:
            differences.append(f"{item.name}: {before!r} -> {now!r}")
    return differences


def _resolved(data_dir: str) -> list[Path]:
    return [place.resolve() for place in data_places(data_dir)]


def _check_types(config: TrainingConfig) -> None:
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        default = item.default
        if isinstance(default, bool):
            good = isinstance(value, bool) or (isinstance(value, int) and value in (0, 1))
        elif isinstance(default, int):
            good = isinstance(value, int) and not isinstance(value, bool)
        elif isinstance(default, float):
            good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        elif isinstance(default, tuple):
            good = all(isinstance(entry, int) and not isinstance(entry, bool) for entry in value)
        else:
            good = isinstance(value, str)
        if not good:
            raise TypeError(f"{item.name} must be {_type_words(default)}, got {value!r}")


def _type_words(default: Any) -> str:
    if isinstance(default, bool):
        return "0 or 1"
    words = {int: "a whole number", float: "a finite number", tuple: "whole numbers"}
    return words.get(type(default), "text")


def _check_choices(config: TrainingConfig) -> None:
    for name, allowed in CHOICES.items():
        value = getattr(config, name)
        given = value.upper() if name == "model" else value
        if given not in allowed:
            hint = did_you_mean(given, allowed)
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}{hint}")


def _check_ranges(config: TrainingConfig) -> None:
    at_least = {
        "num_iterations": 1, "context_frames": 1, "num_masks": 1, "batch_size": 1, "kernel_size": 1, "log_every": 1,
        "stride": 1, "num_looks": 1, "validate_every": 1, "validation_batches": 1, "checkpoint_every": 1,
        "keep_checkpoints": 1, "steps_per_execution": 1, "early_stop_patience": 0, "limit_episodes": 0, "seed": 0,
        "glimpse": 0, "warmup_iterations": 0, "gradient_clip": 0, "state_weight": 0, "coarse_weight": 0,
        "motion_weight": 0, "motion_threshold": 0, "motion_dilation": 0, "follow_weight": 0, "follow_points": 1,
        "max_minutes": 0,
    }  # fmt: skip
    for name, low in at_least.items():
        if getattr(config, name) < low:
            raise ValueError(f"{name} must be at least {low}, got {getattr(config, name)}")
    for name in ("learning_rate", "width", "detail", "cache_gb"):
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} must be above 0, got {getattr(config, name)}")
    if not 0 < config.train_val_split < 1:
        raise ValueError(f"train_val_split is the share trained on, between 0 and 1; got {config.train_val_split}")
    if config.schedsamp_k <= 0 and config.schedsamp_k != -1:
        raise ValueError(f"schedsamp_k must be above 0, or -1 for no scheduled sampling; got {config.schedsamp_k}")
    for name, top in (("shorten", 1.0), ("colour_jitter", 0.9)):
        if not 0 <= getattr(config, name) <= top:
            raise ValueError(f"{name} must lie between 0 and {top:g}, got {getattr(config, name)}")
    if config.kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, got {config.kernel_size}")
    if len(config.image_size) != 2 or min(config.image_size) < 8 or any(side % 8 for side in config.image_size):
        raise ValueError(f"image_size must be a height and a width in px, multiples of 8, got {config.image_size}")
    if config.kernel_size >= 2 * max(config.image_size):
        raise ValueError(
            f"kernel_size={config.kernel_size} reaches beyond pictures of {config.image_size}: it must reach as far as "
            "anything moves in a step"
        )
    if config.width > _WIDEST:
        raise ValueError(f"width multiplies the network's channels: at most {_WIDEST}, got {config.width}")


def _check_combinations(config: TrainingConfig) -> None:
    if config.sequence_length <= config.context_frames:
        raise ValueError(
            f"sequence_length must be above context_frames, or nothing is predicted; "
            f"got sequence_length={config.sequence_length}, context_frames={config.context_frames}"
        )
    if not config.init_from:  # with it the network is the predictor's own
        _check_network(config)
    if config.model.upper() == "DNA" and config.num_masks != 1 and not config.init_from:
        raise ValueError(f"the DNA model moves every pixel by one kernel: pass --num_masks=1 (got {config.num_masks})")
    if (config.sequence_length - config.context_frames) % config.stride:
        raise ValueError(
            f"sequence_length - context_frames must be a multiple of the stride, {config.stride}; got "
            f"sequence_length={config.sequence_length}, context_frames={config.context_frames}"
        )
    if config.learning_rate_schedule == "timed" and not config.max_minutes:
        raise ValueError("learning_rate_schedule=timed cools down over --max_minutes: pass how long the run may take")
    if config.learning_rate_schedule == "timed" and len(config.rollout_curriculum) > 1:
        raise ValueError(
            "rollout_curriculum changes at parts of num_iterations, which a timed training need not reach: give it one "
            f"number of self-fed steps, got {config.rollout_curriculum}, or another learning_rate_schedule"
        )
    if config.warmup_iterations > config.num_iterations:
        raise ValueError(
            f"warmup_iterations={config.warmup_iterations} is above num_iterations={config.num_iterations}: "
            "the learning rate would never be reached; pass fewer"
        )
    largest = config.num_predicted - 1
    for steps in config.rollout_curriculum:
        if not 0 <= steps <= largest:
            raise ValueError(
                f"rollout_curriculum counts self-fed steps, from 0 to the predicted frames less 1, {largest} "
                f"here; got {steps} in {config.rollout_curriculum}"
            )
    if config.follow_weight and not config.use_state:
        raise ValueError("follow_weight tells things from the robot by the robot's state: pass --use_state=1")
    if config.init_from and config.pretrained_model:
        raise ValueError("init_from and pretrained_model both name the weights to start from; pass one of them")
    if not config.output_dir:
        raise ValueError("output_dir has no name (an empty text): give one, or '.' for the folder that you are in")
    if config.resume and config.overwrite:
        raise ValueError("resume continues the run in output_dir and overwrite replaces it; pass one of them")


def _check_network(config: TrainingConfig) -> None:
    """Refuse what only the fast network can be, in words of the flags; `PredictorConfig` speaks of its fields."""
    for name, plain in (("stride", 1), ("detail", 1), ("num_looks", 1), ("glimpse", 0), ("moving_masks", False)):
        if config.backbone == "seed" and getattr(config, name) != plain:
            raise ValueError(f"{name}={getattr(config, name)} needs the fast network: pass --backbone=fast as well")
    if config.stride > 1 and config.context_frames != 1:
        raise ValueError(
            f"a predictor that leaps (stride={config.stride}) is given one frame: pass --context_frames=1 (got "
            f"{config.context_frames})"
        )
