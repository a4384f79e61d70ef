"""One run, followed step by step: logging, validation, checkpoints, and every reason to stop."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from visual_foresight.backend import device_kind
from visual_foresight.train import checkpoints
from visual_foresight.train.checkpoints import CheckpointFolder, TrainingState
from visual_foresight.train.config import TrainingConfig
from visual_foresight.train.data import TrainingData
from visual_foresight.train.feeding import Batches
from visual_foresight.train.rates import timed_share, warm_share
from visual_foresight.train.records import RunRecords, comparison_video, scalar_tags, summarise
from visual_foresight.train.sampling import ground_truth_count

FINISHED, OUT_OF_TIME, NO_BETTER = "finished", "out of time", "no better validation"
_VIDEO_EXAMPLES = 4

# An accelerator is given so many further steps before a loss is looked at: looking waits for the step to be done.
_STEPS_AHEAD = 8


class TrainingDivergedError(ValueError):
    """The loss or a weight is no longer a finite number.

    Args:
        iteration: the step at which it was noticed, counted from 0 as the batches are.
        episodes: labels of the episodes in that batch.
        what: what was not finite.
        kept: where the last good checkpoint is, or None.
    """

    def __init__(self, iteration: int, episodes: list[str], what: str, kept: str | None) -> None:
        """Composes the message."""
        named = "; ".join(episodes[:8]) + (f" and {len(episodes) - 8} more" if len(episodes) > 8 else "")
        rescue = f"the last good checkpoint is {kept}" if kept else "no checkpoint had been written"
        super().__init__(
            f"{what} at batch {iteration} (episodes: {named}); {rescue}. Lower --learning_rate, set --gradient_clip, "
            "or check these episodes with `visual-foresight data validate`"
        )
        self.iteration, self.episodes = iteration, episodes


@dataclass
class Progress:
    """How far a run is; the part that is stored with each checkpoint is `to_json`."""

    iteration: int = 0
    seconds: float = 0.0
    best_value: float | None = None
    best_iteration: int | None = None
    validations_since_best: int = 0
    validation: dict[str, float] = field(default_factory=dict)
    stopped: str = FINISHED

    def to_json(self) -> dict[str, Any]:
        """The fields that a continuation needs."""
        return {
            "seconds": self.seconds,
            "best_value": self.best_value,
            "best_iteration": self.best_iteration,
            "validations_since_best": self.validations_since_best,
            "validation": self.validation,
        }


class RunCallback(keras.callbacks.Callback):
    """Does everything that happens between gradient steps. Each Keras epoch is one row of the log.

    Args:
        config: of the run.
        data: names the episodes of a batch that diverged.
        validation: the batches that validate.
        folder: for checkpoints.
        records: log, events and videos.
        progress: updated in place.
        bar: advanced in place.
        regret: further figures of a validation, "regret" among them; None: without.
    """

    def __init__(
        self,
        config: TrainingConfig,
        data: TrainingData,
        validation: Batches,
        folder: CheckpointFolder,
        records: RunRecords,
        progress: Progress,
        bar: tqdm,
        regret: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        """Starts the clock of `max_minutes`."""
        super().__init__()
        self._config, self._data, self._validation = config, data, validation
        self._folder, self._records, self.progress, self._bar = folder, records, progress, bar
        self._regret = regret
        self._fingerprint = data.fingerprint
        self._before = progress.seconds
        self._start = time.monotonic()
        self._epoch_start = progress.iteration
        self._shown = -math.inf
        self._steps_ahead = 0 if device_kind() == "cpu" else _STEPS_AHEAD
        self._losses: deque[tuple[int, Any]] = deque()

    # ---- Keras' hooks -----------------------------------------------------------------------------------------

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remembers where the row of the log begins; where the learning rate follows the clock, sets it."""
        del epoch, logs
        self._epoch_start = self.progress.iteration
        if self._config.learning_rate_schedule == "timed":
            share = (time.monotonic() - self._start) / (60 * self._config.max_minutes)
            share = timed_share(share) * warm_share(self.progress.iteration, self._config.warmup_iterations)
            self.model.optimizer.learning_rate = self._config.learning_rate * share

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at the loss and the clock after every call of the compiled step; see `_STEPS_AHEAD`."""
        iteration = self._epoch_start + batch + 1
        advanced, self.progress.iteration = iteration - self.progress.iteration, iteration
        self.progress.seconds = self._before + time.monotonic() - self._start
        self._losses.append((iteration, logs["loss"]))
        self._check_losses(self._steps_ahead)
        self._show(advanced, logs)
        limit = self._config.max_minutes * 60
        if limit and time.monotonic() - self._start >= limit and iteration < self._config.num_iterations:
            self.progress.stopped = OUT_OF_TIME
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes a row of the log; validates and saves where it is time to."""
        del epoch
        self._check_losses(0)
        config, progress = self._config, self.progress
        ends = progress.iteration >= config.num_iterations or self.model.stop_training
        row, tags = self._training_row(logs)
        best = False
        if ends or self._passed(config.validate_every):
            figures, validation_tags = self._validate()
            row |= {f"val_{name}": value for name, value in figures.items()}
            tags |= validation_tags
            best = self._is_best(figures)
            if not ends and self._out_of_patience():
                progress.stopped, self.model.stop_training, ends = NO_BETTER, True, True
        self._records.figures(progress.iteration, row, tags)
        if best or ends or self._passed(config.checkpoint_every):
            self.save(best=best)
        if ends or self._passed(config.checkpoint_every):
            self._write_video()

    # ---- parts ------------------------------------------------------------------------------------------------

    def save(self, *, best: bool = False) -> None:
        """Writes a checkpoint of this moment.

        Raises:
            TrainingDivergedError: a weight is not finite: a bad step must not replace a good checkpoint.
        """
        if not all(np.isfinite(np.asarray(variable.numpy())).all() for variable in self.model.predictor.variables):
            self._diverged("a weight is not finite", self.progress.iteration - 1)
        optimizer = checkpoints.optimizer_arrays(self.model.optimizer)
        progress = self.progress
        training = {"iteration": progress.iteration, "validation": progress.validation, "data": dict(self._data.facts)}
        self.model.predictor.metadata["training"] = training
        state = TrainingState(progress.iteration, self._config, self._fingerprint, optimizer, progress.to_json())
        self._folder.save(self.model.predictor, state, best=best)

    def _check_losses(self, num_left: int) -> None:
        """Looks at all losses but the `num_left` newest."""
        while len(self._losses) > num_left:
            iteration, value = self._losses.popleft()
            if not math.isfinite(value):
                self._diverged("the loss is not finite", iteration - 1)

    def _passed(self, every: int) -> bool:
        """Whether a multiple of `every` lies in the row of the log that ends now."""
        return self.progress.iteration // every != self._epoch_start // every

    def _training_row(self, logs: Any) -> tuple[dict[str, float], dict[str, float]]:
        config, iteration = self._config, self.progress.iteration
        row = {
            "seconds": round(self.progress.seconds, 3),
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "self_fed_steps": self.model.horizon - 1,
            "num_ground_truth": ground_truth_count(iteration, config.batch_size, config.schedsamp_k),
        }
        tags = scalar_tags("train", logs) | {"learning_rate": row["learning_rate"]}
        return row | {f"train_{name}": value for name, value in summarise(logs).items()}, tags

    def _validate(self) -> tuple[dict[str, float], dict[str, float]]:
        stream = self._validation.stream()
        logs = self.model.evaluate(stream, steps=len(self._validation), verbose=0, return_dict=True)
        further = self._regret() if self._regret is not None else {}
        self.progress.validation = summarise(logs) | further
        return self.progress.validation, scalar_tags("val", logs) | {f"val_{name}": further[name] for name in further}

    def _is_best(self, figures: dict[str, float]) -> bool:
        """Whether this validation is the best so far; counts those since."""
        progress = self.progress
        select = self._config.select
        value = figures[select] if select == "psnr" else -figures[select]
        if progress.best_value is None or value > progress.best_value:
            progress.best_value, progress.best_iteration, progress.validations_since_best = value, progress.iteration, 0
            return True
        progress.validations_since_best += 1
        return False

    def _out_of_patience(self) -> bool:
        patience = self._config.early_stop_patience
        return bool(patience) and self.progress.validations_since_best >= patience

    def _write_video(self) -> None:
        batch = {name: value[:_VIDEO_EXAMPLES] for name, value in self._validation.first.items()}
        sequence = {**batch, "frames": batch["frames"].astype(np.float32) / 255.0}
        context = self._config.context_frames
        predictor = self.model.predictor
        if predictor.config.stride > 1:  # windows of leaps: the frames at their ends
            predicted = ops.convert_to_numpy(predictor(sequence)["frames"])
        else:
            predicted = predictor.predict_frames(
                sequence["frames"], sequence["actions"], sequence["states"], context_frames=context
            ).frames
        video = comparison_video(batch["frames"], predicted, context)
        self._records.video(self.progress.iteration, video)

    def _show(self, advanced: int, logs: Any) -> None:
        self._bar.update(advanced)
        now = time.monotonic()
        if self._bar.disable or now - self._shown < 1:
            return
        self._shown = now
        figures = summarise(logs)
        text = f"loss {figures['loss']:.5f} PSNR {figures['psnr']:.2f} (copy {figures['copy_psnr']:.2f})"
        if self.progress.validation:
            text += f" val {self.progress.validation['psnr']:.2f} (copy {self.progress.validation['copy_psnr']:.2f}) dB"
        self._bar.set_postfix_str(text, refresh=False)

    def _diverged(self, what: str, index: int) -> None:
        kept = self._folder.path(checkpoints.LAST)
        raise TrainingDivergedError(index, self._data.episodes_of_batch(index), what, str(kept) if kept else None)
