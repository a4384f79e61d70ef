"""VideoPredictor: one backbone, one transformation, one compositor, behind one step function."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from visual_foresight import backend
from visual_foresight.predictor import compositor, sequences
from visual_foresight.predictor.backbone import create_backbone
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.predictions import Prediction, StepPrediction
from visual_foresight.statistics import Statistics


@dataclass(frozen=True, eq=False)
class _Notes:
    """What a predictor knows beside its weights; in one record, so that Keras does not track the parts."""

    config: PredictorConfig
    statistics: Statistics
    metadata: dict[str, Any]


@keras.saving.register_keras_serializable(package="visual_foresight")
class VideoPredictor(keras.Model):
    """Predicts what the camera will see after an action: a frame, the robot state and where pixels went.

    Final: it is composed of the backbone and the transformation that `config` names, and the compositor. Actions and
    states cross its doors in environment units; normalisation with `statistics` happens inside.

    Reference: arXiv:1605.07157 (the `seed` backbone); `docs/parity.md` for what is kept and what is mended.

    Args:
        config: chooses the parts and the sizes.
        statistics: mean and deviation of actions and states; None: the identity.
        metadata: JSON-plain notes kept with the weights: preprocessing, action_names, action_low, action_high, ...
        dtype: Keras dtype policy of the backbone, for example "mixed_bfloat16"; None: the global one. Frames, states,
            masks and maps are float32 at every door, whatever the policy.

    Raises:
        TypeError: `config` is no PredictorConfig.
        ValueError: the statistics do not fit the config.
    """

    def __init__(
        self,
        config: PredictorConfig,
        statistics: Statistics | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        dtype: Any = None,
        name: str = "video_predictor",
    ) -> None:
        """Build all parts; nothing is left for the first call."""
        if not isinstance(config, PredictorConfig):
            raise TypeError(f"VideoPredictor needs a PredictorConfig, got {type(config).__name__}")
        # The model itself stays in float32: a mixed policy here would round the input frames.
        super().__init__(name=name, dtype="float32")
        statistics = Statistics.identity(config.action_size, config.state_size) if statistics is None else statistics
        _check_statistics(statistics, config)
        self._notes = _Notes(config, statistics, dict(metadata or {}))
        self.backbone = create_backbone(config, dtype or keras.config.dtype_policy())
        self._compiled_step: Any = None
        self.built = True

    # ---- what it is -------------------------------------------------------------------------------------------

    @property
    def config(self) -> PredictorConfig:
        """The frozen config."""
        return self._notes.config

    @property
    def statistics(self) -> Statistics:
        """Mean and deviation that normalise actions and states."""
        return self._notes.statistics

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON-plain notes; saved with the predictor."""
        return self._notes.metadata

    @property
    def layer_names(self) -> list[str]:
        """Names of the composited layers, in the order of `StepPrediction.masks`."""
        return compositor.layer_names(self.config, self.backbone.style)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as plain JSON values."""
        return {
            "config": self.config.to_json(),
            "statistics": self.statistics.to_json(),
            "metadata": self.metadata,
            "dtype": self.backbone.dtype_policy.name,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "VideoPredictor":
        """The inverse of `get_config`."""
        del custom_objects
        fields = dict(config)
        fields["config"] = PredictorConfig.from_json(fields["config"])
        fields["statistics"] = Statistics.from_json(fields["statistics"])
        return cls(**fields)

    @property
    def shares_scene(self) -> bool:
        """Whether `step` takes one scene beside many actions."""
        return getattr(self.backbone, "unchanging", None) is not None

    @property
    def drafts(self) -> bool:
        """Whether `step` can make and read frames of a lower resolution."""
        return getattr(self.backbone, "drafts", False)

    def unchanging(self, carry: dict[str, Any]) -> dict[str, Any]:
        """The entries of a carry that no step changes, nested as there: one copy serves many futures."""
        if not self.shares_scene:
            return {}
        kept: dict[str, Any] = {name: carry[name] for name in ("first_frame", "first_maps") if name in carry}
        return {**kept, "recurrent": {name: carry["recurrent"][name] for name in self.backbone.unchanging}}

    # ---- one step ---------------------------------------------------------------------------------------------

    def initial_carry(self, frame: Any, state: Any, maps: Any = None) -> dict[str, Any]:
        """What is carried from step to step, before the first.

        Args:
            frame: [B, H, W, 3] float32 in [0, 1], the first frame.
            state: [B, S] float32, the first robot state.
            maps: [B, H, W, P] probability maps on the first frame. Give them here too if steps will get maps inside a
                compiled loop; else the first maps given to `step` are kept as the first frame's.

        Returns:
            Nested dict of tensors, each with leading axis B: repeat it to branch into candidates.
        """
        carry = {"recurrent": self.backbone.initial_state(frame, self._normalise(state, "state"))}
        if self.backbone.style.first_frame:
            carry["first_frame"] = ops.convert_to_tensor(frame, "float32")
            if maps is not None:
                carry["first_maps"] = ops.convert_to_tensor(maps, "float32")
        return carry

    def step(
        self,
        carry: dict[str, Any],
        frame: Any,
        action: Any,
        state: Any,
        maps: Any = None,
        training: bool = False,
        *,
        maps_only: bool = False,
        draft: bool = False,
    ) -> tuple[dict[str, Any], StepPrediction]:
        """Predict what follows `frame` after `action`: a pure function of its arguments and the weights.

        Args:
            carry: from `initial_carry` or the step before.
            frame: [B, H, W, 3] float32 in [0, 1], true or predicted. Where `shares_scene`, frame, maps and carry may
                have the leading axis 1: one scene for all actions.
            action: [B, A] float32, environment units; [B, J, A] for a predictor of stride J > 1, zeros behind the
                last action of a shorter leap.
            state: [B, S] float32, environment units.
            maps: [B, H, W, P] float32, probability maps of designated pixels on `frame`; None: none are moved.
            training: whether this is a training step.
            maps_only: the caller needs no predicted frame, as after a plan's last step; it may be None.
            draft: frame and maps are only fed back or compared; where `drafts`, they then have half the resolution.

        Returns:
            (carry, prediction).
        """
        frame = ops.convert_to_tensor(frame, "float32")
        action, robot_state = self._normalise(action, "action"), self._normalise(state, "state")
        how = {"draft": True} if draft and self.drafts else {}
        outputs, recurrent = self.backbone(frame, action, robot_state, carry["recurrent"], training=training, **how)
        following = {**carry, "recurrent": recurrent}
        if maps is not None:
            maps = ops.convert_to_tensor(maps, "float32")
            if self.backbone.style.first_frame and "first_maps" not in carry:
                following["first_maps"] = maps
        composed = compositor.composite(
            outputs,
            frame,
            self.config,
            self.backbone.style,
            first_frame=carry.get("first_frame"),
            maps=maps,
            first_maps=following.get("first_maps"),
            maps_only=maps_only and maps is not None,
            **how,
        )
        next_state = self._restore_state(outputs.next_state)
        return following, StepPrediction(composed.frame, next_state, composed.maps, composed.masks)

    def robot_path(self, action: Any, state: Any) -> Any:
        """The robot states inside a leap, without the picture.

        Args:
            action: [B, J, A] float32, environment units.
            state: [B, S] float32, environment units.

        Returns:
            [B, J, S] float32, environment units: after each control step. The last one is `step`'s next state.
        """
        path = self.backbone.robot_path(self._normalise(action, "action"), self._normalise(state, "state"))
        return self._restore_state(path)

    def _normalise(self, values: Any, kind: str) -> Any:
        """(values - mean) / deviation; skipped for the identity, whose arithmetic would be exact anyway."""
        values = ops.convert_to_tensor(values, "float32")
        mean, deviation = self._moments(kind)
        return values if mean is None else (values - mean) / deviation

    def _restore_state(self, values: Any) -> Any:
        values = ops.cast(values, "float32")
        mean, deviation = self._moments("state")
        return values if mean is None else values * deviation + mean

    def _moments(self, kind: str) -> tuple[Any, Any]:
        mean, deviation = (getattr(self.statistics, f"{kind}_{moment}") for moment in ("mean", "deviation"))
        if not mean.any() and (deviation == 1).all():
            return None, None
        return mean, deviation

    # ---- sequences --------------------------------------------------------------------------------------------

    def call(self, inputs: Mapping[str, Any], ground_truth_mask: Any = None, training: bool = False) -> dict[str, Any]:
        """Unroll over a whole sequence in one graph.

        Frames: ground truth for the first `context_frames` steps, then own predictions, or, where
        `ground_truth_mask` says so, ground truth (scheduled sampling). States: the `seed` backbone sees the true
        state at the first step only, as the original; others during all context steps.

        Args:
            inputs: "frames" [B, T, H, W, 3] float32 in [0, 1], "actions" [B, T-1 or T, A], "states" [B, T, S]. With a
                stride of J > 1: the frames and states at the ends of leaps, and "actions" [B, T-1, J, A]. Perhaps
                "maps" [B, H, W, P], designated pixels on the last of the `context_frames`.
            ground_truth_mask: bool [B, T-1]; True feeds the true frame to that example at that step (frame t at
                step t); entries inside the context have no effect. None: never after the context.
            training: whether this is a training step.

        Returns:
            {"frames": [B, T-1, H, W, 3], "states": [B, T-1, S]}; index t predicts input t + 1. Where maps were given,
            also "maps" [B, N, H, W, P] of the N steps after the context.
        """
        frames, actions, states = inputs["frames"], inputs["actions"], inputs["states"]
        carry = self.initial_carry(frames[:, 0], states[:, 0])
        if hasattr(self.backbone, "unrolled_start"):
            carry["recurrent"] = self.backbone.unrolled_start()
        frame, state = frames[:, 0], states[:, 0]
        predictions: list[StepPrediction] = []
        now, maps = self.config.context_frames - 1, None
        for time in range(frames.shape[1] - 1):
            if predictions:
                frame, state = self._feed(inputs, predictions[-1], time, ground_truth_mask)
                maps = predictions[-1].maps
            maps = inputs.get("maps") if time == now else maps
            carry, prediction = self.step(carry, frame, actions[:, time], state, maps, training=training)
            predictions.append(prediction)
        sequence = {
            "frames": ops.stack([prediction.frame for prediction in predictions], axis=1),
            "states": ops.stack([prediction.state for prediction in predictions], axis=1),
        }
        if maps is not None:
            sequence["maps"] = ops.stack([prediction.maps for prediction in predictions[now:]], axis=1)
        return sequence

    def _feed(self, inputs: Mapping[str, Any], last: StepPrediction, time: int, mask: Any) -> tuple[Any, Any]:
        """Frame and state that step `time` (at least 1) sees."""
        in_context = time < self.config.context_frames
        frame = truth = inputs["frames"][:, time]
        if not in_context:
            frame = last.frame if mask is None else ops.where(mask[:, time, None, None, None], truth, last.frame)
        true_state = in_context and self.backbone.state_feedback == "context"
        return frame, inputs["states"][:, time] if true_state else last.state

    def predict_frames(
        self,
        frames: np.ndarray,
        actions: np.ndarray | None,
        states: np.ndarray | None,
        context_frames: int | None = None,
    ) -> Prediction:
        """Predict a sequence from its first frames; NumPy in, NumPy out, compiled once for each batch size.

        Args:
            frames: [B, T, H, W, 3] float in [0, 1], T >= 2; the first `context_frames` are fed, all are checked.
            actions: [B, T-1, A] or [B, T, A] (the last one unused), environment units. None where `use_state` is off.
            states: [B, T, S], environment units; only some are fed, but all are checked. None where `use_state` is off.
            context_frames: true frames fed before the predictor's own; None: the config's.

        Returns:
            Prediction with frames [B, T-1, H, W, 3] and states [B, T-1, S].

        Raises:
            ValueError: a wrong shape, range or length, or a value that is not finite.
            TypeError: an array of the wrong type.
        """
        return sequences.predict_frames(self, frames, actions, states, context_frames)

    @property
    def compiled_step(self) -> Any:
        """(carry, frame, action, state) to the next carry, frame and state: `step` without maps, compiled once."""
        if self._compiled_step is None:
            self._compiled_step = backend.compile_function(self._next, model=self)
        return self._compiled_step

    def _next(self, carry: dict[str, Any], frame: Any, action: Any, state: Any) -> tuple[dict[str, Any], Any, Any]:
        carry, prediction = self.step(carry, frame, action, state)
        return carry, prediction.frame, prediction.state

    # ---- files ------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:  # type: ignore[override]
        """Write the predictor as a directory, atomically; see `checkpoint.save_predictor`."""
        from visual_foresight.predictor.checkpoint import save_predictor

        save_predictor(self, directory)

    @classmethod
    def load(cls, directory: str | Path, *, dtype: Any = None) -> "VideoPredictor":
        """Read what `save` wrote; see `checkpoint.load_predictor`."""
        from visual_foresight.predictor.checkpoint import load_predictor

        return load_predictor(directory, dtype=dtype)

    @classmethod
    def from_preset(cls, preset: str | Path, *, dtype: Any = None) -> "VideoPredictor":
        """A shipped predictor by name, a directory, or `hf://organisation/name`; see `presets.load_preset`."""
        from visual_foresight.predictor.presets import load_preset

        return load_preset(preset, dtype=dtype)

    @classmethod
    def from_tf1_checkpoint(
        cls,
        path: str | Path,
        transformation: str | None = None,
        num_masks: int | None = None,
        use_state: bool | None = None,
        *,
        image_size: tuple[int, int] | None = None,
        context_frames: int = 2,
        dtype: Any = None,
    ) -> "VideoPredictor":
        """Import a checkpoint of the original TensorFlow 1 code; see `tf1.import_checkpoint`.

        What is None is inferred from the checkpoint's shapes; what is given is checked against them.
        """
        from visual_foresight.predictor.tf1 import import_checkpoint

        return import_checkpoint(
            path,
            transformation=transformation,
            num_masks=num_masks,
            use_state=use_state,
            image_size=image_size,
            context_frames=context_frames,
            dtype=dtype,
        )


def _check_statistics(statistics: Statistics, config: PredictorConfig) -> None:
    for kind, size in (("action", config.action_size), ("state", config.state_size)):
        length = len(getattr(statistics, f"{kind}_mean"))
        if length != size:
            raise ValueError(
                f"the statistics are of {length} {kind} dimensions, but PredictorConfig.{kind}_size is {size}"
            )
