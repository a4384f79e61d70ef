"""The predictor wrapped for Keras `fit`: forward pass, loss and figures, the same on every backend."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from visual_foresight.predictor.predictor import VideoPredictor
from visual_foresight.train import following, loss
from visual_foresight.train.config import TrainingConfig

FIGURES = ("recon_cost", "state_cost", "psnr_pooled", "psnr", "copy_cost", "copy_psnr", "follow_score")
"""Rows of the per-step means. `psnr_pooled` is the original's: of the batch's pooled error, not a mean of PSNRs.
`follow_score` [px] is NaN where no points are followed."""


class StepMeans(keras.metrics.Metric):
    """Means of several figures at each predicted step, kept on the device.

    A curriculum leaves later steps out for a while: every step counts its own batches, and one without any is NaN.

    Args:
        num_steps: P, the largest number of predicted steps.

    Input shape: `[F, P']` with P' <= P. Result shape: `[F, P]`.
    """

    def __init__(self, num_steps: int, name: str = "step_means") -> None:
        """Creates the sums, zero."""
        super().__init__(name=name, dtype="float32")
        self._num_steps = num_steps
        self._total = self.add_variable((len(FIGURES), num_steps), initializer="zeros", name="total")
        self._count = self.add_variable((num_steps,), initializer="zeros", name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds the figures of one batch."""
        del sample_weight
        present = values.shape[1]
        padding = self._num_steps - present
        self._total.assign(self._total + ops.pad(values, ((0, 0), (0, padding))))
        self._count.assign(self._count + ops.pad(ops.ones((present,)), ((0, padding),)))

    def result(self) -> Any:
        """The means so far."""
        return self._total / self._count  # 0 / 0 is NaN: no such step yet


class TrainingModel(keras.Model):
    """One predictor with the loss that trains it.

    Only `call`, `compute_loss` and `compute_metrics` are overridden, so `fit` works on TensorFlow and on JAX.
    In training the frames marked in the batch's `ground_truth` are fed (scheduled sampling) and the rollout is as long
    as `horizon` says; in evaluation the predictor always sees its own predictions, over the whole window.

    Args:
        predictor: the predictor to train.
        config: decides the loss.
    """

    def __init__(self, predictor: VideoPredictor, config: TrainingConfig) -> None:
        """Wraps the predictor; unrolls whole windows at first."""
        super().__init__(name="training", dtype="float32")
        self.predictor = predictor
        self._context = config.context_frames
        self._state_weight = config.state_weight
        self._motion = (config.motion_weight, config.motion_threshold, config.motion_dilation)
        self._coarse_weight = config.coarse_weight
        self._follow_weight = config.follow_weight
        self._horizon = config.num_predicted
        self.step_means = StepMeans(config.num_predicted)
        self.built = True

    @property
    def horizon(self) -> int:
        """Predicted steps that training unrolls; the compiled step must be made anew after a change."""
        return self._horizon

    @horizon.setter
    def horizon(self, num_steps: int) -> None:
        self._horizon = num_steps

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Errors of one batch.

        Args:
            inputs: "frames" `[B, T, H, W, 3]` uint8 (or float in [0, 1]), "actions" `[B, T-1, A]`, "states"
                `[B, T, S]` and, in training, "ground_truth" `[B, T-1]` bool and "points" `[B, P, 2]`
            training: whether to sample the truth and to respect `horizon`.

        Returns:
            "image", "weighted", "state" and "copy" errors, each `[B, P]`; the weighted one holds what points that
            are followed through the true frames add. With
            such points also "follow" `[B, P]`, their scores [px].
        """
        length = self._context + self._horizon if training else inputs["frames"].shape[1]
        frames = inputs["frames"][:, :length]
        if keras.backend.standardize_dtype(frames.dtype) == "uint8":
            # The counterpart of frames.to_float inside the graph: the same division.
            frames = ops.cast(frames, "float32") / 255.0
        states = ops.cast(inputs["states"][:, :length], "float32")
        sequence = {"frames": frames, "actions": inputs["actions"][:, : length - 1], "states": states}
        mask = inputs["ground_truth"][:, : length - 1] if training and "ground_truth" in inputs else None
        now, points = self._context - 1, inputs.get("points") if training else None
        if points is not None:
            sequence["maps"] = following.point_maps(points, *frames.shape[2:4])
        predicted = self.predictor(sequence, ground_truth_mask=mask, training=training)
        # Slices of everything have gradients, too.
        images, guesses = (predicted[name][:, now:] if now else predicted[name] for name in ("frames", "states"))
        errors = self._errors(frames, states, ops.cast(images, "float32"), guesses)
        if points is not None:
            scores = following.map_scores(frames[:, now:], points, predicted["maps"])
            errors["weighted"] = errors["weighted"] + self._follow_weight * scores
            errors["follow"] = scores
        return errors

    def _errors(self, frames: Any, states: Any, images: Any, guesses: Any) -> dict[str, Any]:
        truth = frames[:, self._context :]  # [B, P, H, W, 3]
        image = loss.frame_errors(truth, images)
        weighted = image
        weight, threshold, dilation = self._motion
        if weight:
            before = frames[:, self._context - 1 : -1]
            weights = loss.motion_weights(truth, before, weight=weight, threshold=threshold, dilation=dilation)
            weighted = loss.weighted_frame_errors(truth, images, weights)
        if self._coarse_weight:
            weighted = weighted + self._coarse_weight * loss.coarse_frame_errors(truth, images)
        return {
            "image": image,
            "weighted": weighted,
            "state": loss.state_errors(states[:, self._context :], ops.cast(guesses, "float32")),
            "copy": loss.frame_errors(truth, frames[:, self._context - 1 : self._context]),
        }

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The scalar that is minimised."""
        del x, y, sample_weight, training
        return loss.total_loss(y_pred["weighted"], y_pred["state"], self._state_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The figures since the last reset: "loss" and "step_means" `[F, P]`."""
        del x, y, sample_weight
        image, copy = y_pred["image"], y_pred["copy"]
        pooled = ops.mean(image, axis=0)  # [P]
        rows = (
            pooled,
            self._state_weight * ops.mean(y_pred["state"], axis=0),
            loss.psnr(pooled),
            ops.mean(loss.psnr(image), axis=0),
            ops.mean(copy, axis=0),
            ops.mean(loss.psnr(copy), axis=0),
            ops.mean(y_pred["follow"], axis=0) if "follow" in y_pred else ops.full_like(pooled, float("nan")),
        )
        self.step_means.update_state(ops.stack(rows, axis=0))
        return self.get_metrics_result()
