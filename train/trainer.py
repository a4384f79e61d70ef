"""Training a predictor: from a configuration to checkpoints, through Keras `fit`."""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from tqdm import tqdm

import visual_foresight
from visual_foresight.backend import backend_name, trains_through_xla
from visual_foresight.episode import Episode
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.growing import GROWING, grow
from visual_foresight.predictor.predictor import VideoPredictor
from visual_foresight.statistics import Statistics
from visual_foresight.train import checkpoints
from visual_foresight.train.checkpoints import CheckpointFolder, TrainingState
from visual_foresight.train.config import TrainingConfig, resume_differences
from visual_foresight.train.data import TrainingData, check_memory, data_from_episodes, load_data
from visual_foresight.train.determinism import fresh_layer_names, repeatable_execution
from visual_foresight.train.feeding import Batches, training_batches, validation_batches
from visual_foresight.train.model import TrainingModel
from visual_foresight.train.muon import Muon
from visual_foresight.train.rates import learning_rate
from visual_foresight.train.records import RunRecords, check_log, read_log
from visual_foresight.train.run import Progress, RunCallback
from visual_foresight.train.selection import RegretJudge
from visual_foresight.wording import counted

_NETWORK_FIELDS = (
    "backbone", "use_state", "num_masks", "kernel_size", "context_frames", "width", "stride", *GROWING,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a finished (or stopped) run leaves.

    Args:
        predictor: the predictor as it is after the last step.
        iteration: gradient steps made.
        stopped: why it ended: "finished", "out of time" or "no better validation".
        last: directory of the last checkpoint; loads with `VideoPredictor.load`, continues with `resume`.
        best: directory of the checkpoint with the best validation.
        best_iteration: its iteration.
        validation: "loss", "recon_cost", "psnr" [dB], "psnr_all", "copy_psnr" [dB] of the last validation; with
            select="regret" also "regret" [px] and "rank_correlation".
        log: rows of log.csv.
        seconds: time spent training, over all continuations.
    """

    predictor: VideoPredictor
    iteration: int
    stopped: str
    last: Path
    best: Path
    best_iteration: int
    validation: dict[str, float]
    log: list[dict[str, float]]
    seconds: float


@dataclass(frozen=True)
class Segment:
    """One call of Keras' `fit`: `epochs` rows of the log of `steps` gradient steps each, from `start` on.

    `horizon` predicted steps are unrolled.
    """

    start: int
    epochs: int
    steps: int
    horizon: int


def fit(
    config: TrainingConfig,
    episodes: Iterable[Episode] | None = None,
    *,
    validation_episodes: Iterable[Episode] | None = None,
    show_progress: bool = True,
) -> TrainingResult:
    """Train a predictor.

    Args:
        config: everything that decides the run.
        episodes: train on these instead of reading `config.data_dir`.
        validation_episodes: validate on these instead of splitting `episodes`.
        show_progress: whether to draw a progress bar on standard error.

    Returns:
        The trained predictor, where its checkpoints are, and the log.

    Raises:
        ValueError: the configuration or the data is wrong, `output_dir` holds a run already, the run to resume was made
            with another configuration or other data, or (TrainingDivergedError) the loss is no longer finite.
        FileNotFoundError: data or predictor to start from is not there.
    """
    config.validate()
    config = _adopt_network(config)
    check_memory(config)
    check_log(Path(config.output_dir) / "log.csv")
    folder = CheckpointFolder(config.output_dir, config.keep_checkpoints)
    state = _state_to_resume(config, folder)
    data = load_data(config) if episodes is None else data_from_episodes(config, episodes, validation_episodes)
    if state is not None and state.fingerprint != data.fingerprint:
        raise ValueError(
            f"the data is not what the run in {config.output_dir} was trained on: it cannot be resumed exactly; train "
            f"on from it with --init_from={config.output_dir}/best and another --output_dir"
        )
    if show_progress:
        _remark(config, data, state)
    with fresh_layer_names():
        predictor = _predictor(config, data, folder.path(checkpoints.LAST) if state else None)
        model = TrainingModel(predictor, config)
        optimizer = make_optimizer(config)
        optimizer.build(model.trainable_variables)
    regret = RegretJudge(predictor, config.bank) if config.select == "regret" else None
    folder.open(clear=config.overwrite)
    if state is not None:
        checkpoints.restore_optimizer(optimizer, state.optimizer)
    model.compile(optimizer=optimizer, jit_compile=trains_through_xla())
    progress = Progress(state.iteration, **state.progress) if state else Progress()
    if folder.path(checkpoints.BEST) is None:  # removed, as damaged checkpoints are: the next one is the best again
        progress.best_value = None
    _run(config, data, model, folder, progress, show_progress, regret)
    return _result(config, folder, predictor, progress)


def _remark(config: TrainingConfig, data: TrainingData, state: TrainingState | None) -> None:
    """What a person who waits should know before it begins, on standard error."""
    passed_over = {
        f"shorter than --sequence_length {config.sequence_length}": data.facts.get("too_short", 0),
        "damaged": data.facts.get("unreadable", 0),
    }
    for why, count in passed_over.items():
        if count:
            print(f"{counted(count, 'episode')} passed over: {why}", file=sys.stderr)
    if state is not None and state.iteration >= config.num_iterations:
        print(
            f"nothing is left to do: the run has {state.iteration} iterations, --num_iterations is "
            f"{config.num_iterations}",
            file=sys.stderr,
        )


def make_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Adam as the original, beta 0.9 and 0.999, epsilon 1e-8 added to the root of the second moment; or `Muon`.

    Kingma and Ba (2015), "Adam", the form at the end of section 2, which TensorFlow 1 used as well. Differs from Keras'
    default in epsilon (1e-7).
    """
    rate, clip = learning_rate(config), config.gradient_clip or None
    if config.optimizer == "muon":
        return Muon(rate, global_clipnorm=clip)
    return keras.optimizers.Adam(rate, epsilon=1e-8, global_clipnorm=clip)


def horizons(config: TrainingConfig) -> list[tuple[int, int]]:
    """First iteration and predicted steps of each part of the curriculum, ascending.

    The training is cut into as many equal parts as the curriculum has entries; a part with n self-fed steps predicts
    n + 1 frames, the first of them from the last true one.
    """
    parts = config.rollout_curriculum
    if not parts:
        return [(0, config.num_predicted)]
    return [(round(index * config.num_iterations / len(parts)), steps + 1) for index, steps in enumerate(parts)]


def plan_segments(config: TrainingConfig, start: int) -> Iterator[Segment]:
    """The calls of `fit` from iteration `start` to the end.

    Rows of the log end at multiples of `log_every` whatever the start, and no row spans two parts of the curriculum.
    """
    parts = [*horizons(config), (config.num_iterations, 0)]
    for (first, horizon), (stop, _) in zip(parts, parts[1:], strict=False):
        position = max(first, start)
        while position < stop:
            to_row = config.log_every - position % config.log_every
            if to_row < config.log_every or stop - position < config.log_every:
                segment = Segment(position, 1, min(to_row, stop - position), horizon)
            else:
                segment = Segment(position, (stop - position) // config.log_every, config.log_every, horizon)
            yield segment
            position += segment.epochs * segment.steps


def _run(
    config: TrainingConfig,
    data: TrainingData,
    model: TrainingModel,
    folder: CheckpointFolder,
    progress: Progress,
    show_progress: bool,
    regret: RegretJudge | None,
) -> None:
    records = RunRecords(config.output_dir, config.event_log_dir, progress.iteration)
    validation = Batches(validation_batches(data.validation, config.validation_batches))
    bar = tqdm(
        total=config.num_iterations, initial=progress.iteration, unit="step", file=sys.stderr, dynamic_ncols=True,
        disable=not show_progress or progress.iteration >= config.num_iterations,
    )  # fmt: skip
    callback = RunCallback(config, data, validation, folder, records, progress, bar, regret)
    # Several steps in a call are a loop in the graph, which waits for ever for its data under the fixed order.
    repeatable = config.deterministic and config.steps_per_execution == 1
    try:
        for segment in plan_segments(config, progress.iteration):
            try:
                with repeatable_execution(repeatable):
                    _fit_segment(config, data, model, callback, segment)
            except Exception as error:
                # An operation that the fixed order does not know: refused before the first step. Train without it.
                if type(error).__name__ != "UnimplementedError" or progress.iteration != segment.start:
                    raise
                model.train_function = None
                _fit_segment(config, data, model, callback, segment)
            if model.stop_training:
                break
    except KeyboardInterrupt:
        # The compiled step changes weights and counter together, so the counter tells what the weights are.
        progress.iteration = int(model.optimizer.iterations.numpy())
        callback.save()
        raise
    finally:
        bar.close()
        records.close()


def _fit_segment(
    config: TrainingConfig, data: TrainingData, model: TrainingModel, callback: RunCallback, segment: Segment
) -> None:
    _compile_step(model, segment, config.steps_per_execution)
    batches = training_batches(data.train, config, segment.start)
    options = {"epochs": segment.epochs, "steps_per_epoch": segment.steps, "shuffle": False, "verbose": 0}
    model.fit(batches, callbacks=[callback], **options)


def _compile_step(model: TrainingModel, segment: Segment, steps_per_execution: int) -> None:
    """Compiles the training step anew where the length of the rollout or the number of steps in a call changes."""
    several = steps_per_execution if segment.steps % steps_per_execution == 0 else 1
    if (model.horizon, model.steps_per_execution) == (segment.horizon, several) and model.train_function is not None:
        return
    model.horizon, model.steps_per_execution = segment.horizon, several
    model.make_train_function(force=True)


def _adopt_network(config: TrainingConfig) -> TrainingConfig:
    """The configuration with the network of `init_from`, grown where flags ask; refuses flags that contradict it."""
    if not config.init_from:
        return config
    found = VideoPredictor.from_preset(config.init_from).config
    network = {name: getattr(found, name) for name in _NETWORK_FIELDS}
    network |= {"model": found.transformation.upper(), "image_size": found.image_size}
    defaults = TrainingConfig()
    for name, value in network.items():
        given = getattr(config, name)
        if name in GROWING and given > value:
            network[name] = given
        elif given not in (getattr(defaults, name), value) and str(given).upper() != str(value).upper():
            raise ValueError(
                f"--{name}={given} contradicts the predictor {config.init_from}, which has {value}: leave it out"
            )
    return dataclasses.replace(config, **network).validate()


def _state_to_resume(config: TrainingConfig, folder: CheckpointFolder) -> TrainingState | None:
    last = folder.path(checkpoints.LAST)
    if last is None:
        return None
    if not config.resume:
        if config.overwrite:
            return None
        raise ValueError(
            f"{config.output_dir} holds a run already ({last.name}): pass --resume=1 to continue it, --overwrite=1 to "
            "replace it, or another --output_dir"
        )
    checkpoints.check_weights(last)
    state = checkpoints.read_state(last)
    differences = resume_differences(state.config, config)
    if differences:
        raise ValueError(
            f"the run in {config.output_dir} was made with another configuration, so resuming would not be exact; "
            f"{'; '.join(differences)}. Pass the old values, or start from it with --init_from={last}"
        )
    return state


def _predictor(config: TrainingConfig, data: TrainingData, resumed: Path | None) -> VideoPredictor:
    wanted = _predictor_config(config, data.statistics)
    source = resumed or config.pretrained_model or config.init_from
    if not source:
        # The original network takes raw actions and states; normalising them would no longer be its training.
        raw = Statistics.identity(wanted.action_size, wanted.state_size)
        statistics = raw if config.backbone == "seed" else data.statistics
        with _seeded_initialisers(config.seed):
            predictor = VideoPredictor(wanted, statistics, {}, dtype=config.precision)
    else:
        predictor = VideoPredictor.from_preset(source, dtype=config.precision)
        if config.init_from and not resumed:
            with _seeded_initialisers(config.seed):
                predictor = grow(
                    predictor,
                    dataclasses.replace(predictor.config, **{name: getattr(wanted, name) for name in GROWING}),
                )
        differences = [
            f"{item.name}: {getattr(predictor.config, item.name)} there, {getattr(wanted, item.name)} here"
            for item in dataclasses.fields(PredictorConfig)
            if getattr(predictor.config, item.name) != getattr(wanted, item.name)
        ]
        if differences:
            raise ValueError(
                f"the predictor {source} does not fit the flags and the data; {'; '.join(differences)}: pass flags and "
                "data that are as there, or --init_from, which takes the network from the predictor, in place of "
                "--pretrained_model"
            )
    predictor.metadata.update(_notes(config, data))
    return predictor


def _predictor_config(config: TrainingConfig, statistics: Statistics) -> PredictorConfig:
    height, width = config.image_size
    return PredictorConfig(
        transformation=config.transformation,
        image_height=height,
        image_width=width,
        action_size=len(statistics.action_mean),
        state_size=len(statistics.state_mean),
        **{name: getattr(config, name) for name in _NETWORK_FIELDS},
    )


def _notes(config: TrainingConfig, data: TrainingData) -> dict[str, Any]:
    notes: dict[str, Any] = {
        "preprocessing": {"preprocess": config.preprocess, "image_size": list(config.image_size)},
        "training_config": dataclasses.asdict(config) | {"image_size": list(config.image_size)},
        "versions": {
            "visual_foresight": visual_foresight.__version__,
            "keras": keras.__version__,
            "backend": backend_name(),
        },
    }
    return notes | {
        name: data.facts[name] for name in ("action_names", "action_low", "action_high") if name in data.facts
    }


@contextmanager
def _seeded_initialisers(seed: int) -> Iterator[None]:
    """Makes Keras' default initialisers repeat, without touching the caller's random numbers.

    An initialiser without a seed draws one from Python's `random`, whose state is put back afterwards.
    """
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


def _result(
    config: TrainingConfig, folder: CheckpointFolder, predictor: VideoPredictor, progress: Progress
) -> TrainingResult:
    last, best = folder.path(checkpoints.LAST), folder.path(checkpoints.BEST)
    if last is not None and progress.best_iteration is None and not progress.stopped:
        raise ValueError(
            f"{config.output_dir} stands at iteration {progress.iteration} already, not validated yet: pass "
            f"--num_iterations above {progress.iteration}"
        )
    if last is None or best is None or progress.best_iteration is None:
        raise ValueError(
            f"{config.output_dir} lost its checkpoints while the run wrote there: is another run using it?"
        )
    return TrainingResult(
        predictor=predictor,
        iteration=progress.iteration,
        stopped=progress.stopped,
        last=last,
        best=best,
        best_iteration=progress.best_iteration,
        validation=progress.validation,
        log=read_log(Path(config.output_dir) / "log.csv"),
        seconds=progress.seconds,
    )
