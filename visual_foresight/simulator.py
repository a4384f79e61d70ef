"""The predictor as a simulator: one scene encoded once, many action sequences rolled out from it.

Letters: C context frames, K candidates, T control steps, A action size, S state size, P designated pixels, H rows, W
columns, J stride (control steps that one call of the network leaps over).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.backend import device_kind
from visual_foresight.chunks import Chunk, chunks, join
from visual_foresight.given_arrays import check_magnitude, given_array
from visual_foresight.rollout import Rollout
from visual_foresight.simulator_start import (
    Leap,
    SimulatorStart,
    check_start,
    checked_array,
    checked_frames,
    designated_maps,
    identity_of,
    pixel_maps,
)
from visual_foresight.unrolling import (
    OUTPUTS,
    by_candidate,
    check_outputs,
    make_advance,
    make_futures,
    make_roll,
    make_start,
    plan_leaps,
    plan_steps,
    shown_as_maps,
)

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor

__all__ = ["OUTPUTS", "LearnedSimulator", "SimulatorStart", "pixel_maps"]

# Bytes of float32 work in flight per pixel and candidate, over all channels of one step. Many small chunks cost calls;
# beyond a few hundred MB page faults cost more than larger batches gain.
_BYTES_PER_PIXEL = 4 * 64


class LearnedSimulator:
    """Rolls action sequences out through a `VideoPredictor`.

    `start` encodes the context of one scene; `rollout` branches it into K candidates inside one compiled function, in
    chunks that fit the memory budget. A rollout does not depend on the chunk that computes it, and equals stepping
    the gymnasium wrappers `VisualForesight/LearnedPush-v0`.

    Args:
        predictor: a VideoPredictor.
        memory_budget_mb: bound on the working memory of one chunk [MB].

    Attributes:
        costs_on_device: whether planners' costs are computed beside the network, so that only costs are copied to the
            host; at first True on accelerators. On a CPU, NumPy is faster.

    Raises:
        TypeError: `predictor` is no VideoPredictor (pass `VideoPredictor.from_preset(name)`, not the name).
        ValueError: the memory budget is not positive.
    """

    def __init__(self, predictor: VideoPredictor, *, memory_budget_mb: float = 512.0) -> None:
        if not hasattr(predictor, "initial_carry"):
            what = "a VideoPredictor (VideoPredictor.from_preset(...))"
            raise TypeError(f"LearnedSimulator needs {what}, got {type(predictor).__name__}")
        if not 0 < memory_budget_mb < float("inf"):
            raise ValueError(f"memory_budget_mb must be positive and finite, got {memory_budget_mb}")
        self.predictor = predictor
        self.costs_on_device = device_kind() != "cpu"
        height, width = predictor.config.image_size
        fitting = max(1, int(memory_budget_mb * 1e6 / (height * width * _BYTES_PER_PIXEL)))
        # A power of two, as the sizes of smaller batches are: few sizes, so few compilations.
        self.chunk_size = 1 << (fitting.bit_length() - 1)
        self._compiled: dict[tuple, Any] = {}
        self._gradients: Any = None  # `CompiledGradients`, made when first asked for
        self.searches: dict[Any, Any] = {}  # compiled, see `tensor_cost`

    @classmethod
    def from_preset(cls, preset: str | Path, *, dtype: Any = None, memory_budget_mb: float = 512.0) -> LearnedSimulator:
        """A simulator of a shipped predictor by name, of a directory, or of `hf://organisation/name`.

        Args:
            preset: see `VideoPredictor.from_preset`.
            dtype: Keras dtype policy, for example "mixed_bfloat16".
            memory_budget_mb: bound on the working memory of one chunk [MB].
        """
        from visual_foresight.predictor import VideoPredictor

        return cls(VideoPredictor.from_preset(preset, dtype=dtype), memory_budget_mb=memory_budget_mb)

    @property
    def stride(self) -> int:
        """J, the control steps that one call of the network leaps over."""
        return self.predictor.config.stride

    @property
    def drafts(self) -> bool:
        """Whether rollouts can imagine frames at half the resolution, see `rollout`."""
        return self.predictor.drafts

    @property
    def _identity(self) -> str:
        """Of the predictor, see `identity_of`."""
        return identity_of(self.predictor)

    # ---- the scene --------------------------------------------------------------------------------------------

    def start(
        self,
        frames: np.ndarray,
        actions: np.ndarray | None = None,
        states: np.ndarray | None = None,
        *,
        pixels: Sequence[tuple[float, float]] | np.ndarray | None = None,
        pixel_distributions: np.ndarray | None = None,
    ) -> SimulatorStart:
        """Encode the context frames of one scene, once.

        Args:
            frames: [C, H, W, 3] uint8, or float in [0, 1]; the last one is now. C may be any number from 1; a
                predictor that leaps looks at the last one only.
            actions: [C-1, A], between the frames; needed when C > 1, unless the predictor looks at images alone.
            states: [C, S]; None where the predictor was trained without.
            pixels: designated pixels (row, col) in the last frame; fractions are spread over the neighbours.
            pixel_distributions: [P, H, W] instead of `pixels`, for example the map of an earlier rollout.

        Raises:
            ValueError: a wrong shape, range or length, or a value that is not finite.
        """
        from visual_foresight.predictor.checkpoint import is_stateless

        config = self.predictor.config
        frames = checked_frames(frames, config.image_size)
        count = len(frames)
        if actions is None and not config.use_state:
            actions = np.zeros((count - 1, config.action_size), np.float32)
        actions = checked_array(actions, (count - 1, config.action_size), "actions", "one between every two frames")
        if states is None and (not config.use_state or is_stateless(self.predictor.metadata)):
            states = np.zeros((count, config.state_size), np.float32)
        states = checked_array(states, (count, config.state_size), "states", "one for each frame")
        maps = designated_maps(pixels, pixel_distributions, config.image_size)
        if config.stride > 1:
            frames, actions, states, count = frames[-1:], actions[:0], states[-1:], 1
        arguments = [frames[None], actions[None], states[None]] + ([] if maps is None else [maps])
        carry, state = self._function("start", count, maps is not None)(*arguments)
        state = states.copy() if count == 1 else np.asarray(state)  # of a single frame it is known: no need to wait
        start = SimulatorStart(carry, frames[None, -1], state, maps, made_by=self._identity)
        return start if config.stride == 1 else self._at_leap(start)

    def _at_leap(self, start: SimulatorStart) -> SimulatorStart:
        actions = np.zeros((start.num_scenes, self.stride, self.predictor.config.action_size), np.float32)
        count = np.zeros(start.num_scenes, np.int64)
        return replace(start, leap=Leap(start.frame, start.state, start.pixel_distributions, actions, count))

    # ---- the futures ------------------------------------------------------------------------------------------

    def advance(self, start: SimulatorStart, actions: np.ndarray) -> SimulatorStart:
        """One control step of N scenes at once: one network call.

        Args:
            start: N scenes.
            actions: [N, A], environment units.

        Returns:
            The N scenes one step later; their frames are predictions, not clipped to [0, 1].

        Raises:
            ValueError: a wrong shape or a value that is not finite.
        """
        check_start(start, self.predictor.config, self._identity, leaping=True)
        expected = (start.num_scenes, self.predictor.config.action_size)
        actions = checked_array(actions, expected, "actions", "one for each scene")
        if start.leap is not None:
            return self._advance_leap(start, start.leap, actions)
        count = np.ones(start.num_scenes, np.float32)
        scene = (start.carry, start.frame, start.state, start.pixel_distributions)
        return replace(SimulatorStart(*self._step(*scene, actions, count)), made_by=self._identity)

    def _step(self, carry: Any, frame: Any, state: Any, maps: Any, actions: Any, count: Any) -> tuple[Any, ...]:
        arguments = [carry, frame, state, actions, count] + ([] if maps is None else [maps])
        carry, frame, state, maps = self._function("advance", None, maps is not None)(*arguments)
        return carry, np.asarray(frame), np.asarray(state), None if maps is None else np.asarray(maps)

    def _advance_leap(self, start: SimulatorStart, leap: Leap, actions: np.ndarray) -> SimulatorStart:
        """Predict from the beginning of each scene's leap; a leap that is full becomes the beginning of the next."""
        from keras import tree

        so_far = leap.actions.copy()
        so_far[np.arange(len(so_far)), leap.count] = actions
        scene = (start.carry, leap.frame, leap.state, leap.pixel_distributions)
        carry, *present = self._step(*scene, so_far, np.float32(leap.count + 1))
        full = leap.count + 1 == self.stride

        def choose(new: Any, old: Any) -> Any:
            if new is None:
                return None
            new, old = np.asarray(new), np.asarray(old)
            return np.where(full.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        before = (leap.frame, leap.state, leap.pixel_distributions)
        frame, state, maps = (choose(new, old) for new, old in zip(present, before, strict=True))
        count = np.where(full, 0, leap.count + 1)
        following = Leap(frame, state, maps, np.where(full[:, None, None], np.float32(0), so_far), count)
        carry = tree.map_structure(choose, carry, start.carry)
        return SimulatorStart(carry, present[0], present[1], present[2], following, self._identity)

    def rollout(
        self,
        start: SimulatorStart,
        actions: np.ndarray,
        outputs: Sequence[str] = ("frames", "states", "pixel_distributions"),
        every: int = 1,
        draft: bool = False,
    ) -> Rollout:
        """Predict what happens under K action sequences.

        With ``every=simulator.stride`` a predictor that leaps is called once for each leap, the first from the
        present moment; with 1 it is called for each control step.

        Args:
            start: from `start`; or N scenes of `SimulatorStart.stack`, in one call where they fit.
            actions: [K, T, A], environment units; imagined as they are, also beyond what the environment would clip.
                Of N scenes those of each, as many, one behind the other.
            outputs: what is wanted; what is left out is None in the Rollout and is never copied out of the device.
                "frames" (clipped to [0, 1]), "states", "pixel_distributions", "pixels" (expected positions).
            every: frames and maps are returned after each so many control steps; T is a multiple of it. States are
                always those of every control step.
            draft: outcomes will only be compared, as planners do. Where `drafts`, whole leaps that are not asked for
                frames are then imagined at half the resolution, maps too: much faster, and maps differ a little.

        Raises:
            ValueError: a wrong shape, a value that is not finite or absurdly large, or an unknown output.
        """
        actions = self._check_candidates(start, actions, every)
        wanted = check_outputs(outputs, start)
        parts = chunks(actions, start.num_scenes, self.chunk_size)
        rolled = [self._roll_chunk(_own_scenes(start, part), part, wanted, every, draft) for part in parts]
        joined = {name: join([piece[name] for piece in rolled]) for name in wanted}
        return Rollout(actions=actions, **joined, every=every)

    def cost_function(self, start: SimulatorStart, objective: Any) -> Any:
        """Costs [K] of candidates [K, H, A], and their gradients, see `planners.simulation`: what planners are given.

        Of N scenes and N objectives: costs [N, K] of candidates [N, K, H, A], see `many_scenes.ManyCosts`. With
        `costs_on_device` futures stay where they are computed; see `tensor_cost.TensorCost`.

        Args:
            start: from `start`, or N scenes of `SimulatorStart.stack`.
            objective: what to reach, or a list of N.
        """
        from visual_foresight import many_scenes, tensor_cost

        if isinstance(objective, Sequence):
            return many_scenes.ManyCosts(self, start, objective)
        kind = tensor_cost.TensorCost if self.costs_on_device else tensor_cost.SimulatedCost
        return kind(self, start, objective)

    def futures(self, start: SimulatorStart, actions: np.ndarray, outputs: Sequence[str]) -> dict[str, Any]:
        """What an objective reads of K futures, as tensors where they were computed; see `unrolling.make_futures`.

        Args:
            start: as in `rollout`; its arrays are copied at each call unless it is `on_device`.
            actions: [K, T, A], as in `rollout`, T a multiple of the stride.
            outputs: fields of a Rollout; "pixels" are shown as maps.
        """
        from keras import ops, tree

        actions = self._check_candidates(start, actions, self.stride)
        function = self._function("futures", check_outputs(shown_as_maps(outputs), start), start.num_pixels > 0)
        parts = []
        for chunk in chunks(actions, start.num_scenes, self.chunk_size):
            found = function(*self._scene(_own_scenes(start, chunk).rebased(), chunk.actions))
            parts.append({name: chunk.own(value) for name, value in found.items()})
        return parts[0] if len(parts) == 1 else tree.map_structure(lambda *all_: ops.concatenate(all_), *parts)

    def cost_gradient(
        self, start: SimulatorStart, objective: Any, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Costs of K action sequences and their gradients by the actions, through the network.

        Rollout and objective are compiled together, once for all objectives that differ in ``compiled_inputs`` only, or
        once for each that names none (change none of its settings then, make another). Maps are those of leaps' ends.

        Args:
            start: from `start`.
            objective: reads a Rollout of tensors; see `visual_foresight.planners.objectives`.
            actions: [K, T, A], environment units, T a multiple of the stride.

        Returns:
            (costs [K], gradients [K, T, A]), float32.
        """
        from visual_foresight.compiled_gradients import CompiledGradients

        actions = self._check_candidates(start, actions, self.stride)
        if start.num_scenes != 1:
            raise ValueError(f"gradients are those of one scene, got {start.num_scenes}; pass start.select(index)")
        if self._gradients is None:
            self._gradients = CompiledGradients(self.predictor, self.stride)
        compiled = self._gradients.of(objective, start)
        costs, gradients = [], []
        for chunk in chunks(actions, 1, self.chunk_size):
            values = compiled(*self._scene(start.rebased(), chunk.actions))
            costs.append(chunk.own(np.asarray(values[0])))
            gradients.append(chunk.own(np.asarray(values[1])))
        return join(costs), join(gradients)

    def _check_candidates(self, start: SimulatorStart, actions: np.ndarray, every: int) -> np.ndarray:
        check_start(start, self.predictor.config, self._identity, leaping=False)
        actions = given_array("actions", actions).copy()  # the Rollout keeps it
        size = self.predictor.config.action_size
        if actions.ndim != 3 or actions.shape[2] != size or 0 in actions.shape:
            raise ValueError(f"actions must be [K, T, {size}] with K, T >= 1, got {list(actions.shape)}")
        check_magnitude("actions", actions)
        if len(actions) % start.num_scenes:
            raise ValueError(f"{start.num_scenes} scenes need as many candidates each, got {len(actions)} altogether")
        if type(every) is bool or not isinstance(every, (int, np.integer)) or every < 1 or actions.shape[1] % every:
            raise ValueError(f"the number of control steps, {actions.shape[1]}, must be a multiple of every={every}")
        return actions

    def _roll_chunk(
        self, start: SimulatorStart, chunk: Chunk, wanted: tuple[str, ...], every: int, draft: bool
    ) -> dict[str, np.ndarray]:
        """One compiled call."""
        stride = self.stride
        whole_leaps = stride == 1 or every % stride == 0
        subsample = every // stride if whole_leaps else every
        if whole_leaps:
            start = start.rebased()
            plan = plan_leaps(chunk.actions, stride)
        else:
            plan = plan_steps(chunk.actions, stride, _taken(start, self.predictor.config.action_size))
        function = self._function("rollout", (wanted, whole_leaps, subsample, draft), start.num_pixels > 0)
        results = function(*self._scene(start, plan))
        series = {name: np.asarray(value) for name, value in results.items()}
        if whole_leaps:
            series = by_candidate(series, np, start.frame.shape[1])
        else:
            series = {name: np.moveaxis(value, 0, 1) for name, value in series.items()}  # [K, T, ...]
        return {name: chunk.own(value) for name, value in series.items()}

    @staticmethod
    def _scene(start: SimulatorStart, plan: np.ndarray) -> list[Any]:
        """Arguments of a compiled rollout: the beginning of the present leap, and the plan."""
        base = start.leap or start
        arguments = [start.carry, base.frame, base.state, plan]
        return arguments if base.pixel_distributions is None else [*arguments, base.pixel_distributions]

    # ---- compiled parts ---------------------------------------------------------------------------------------

    def _compile(self, kind: str, function: Any) -> Any:
        from visual_foresight.backend import compile_function
        from visual_foresight.constant_weights import compile_with_weights

        if kind == "start":  # so little work that comparing weights would take longer
            return compile_function(function, model=self.predictor)
        return compile_with_weights(function, self.predictor)

    def _function(self, kind: str, detail: Any, with_maps: bool) -> Any:
        """The compiled function of that kind; its shapes are compiled as they come."""
        key = (kind, detail, with_maps)
        if key not in self._compiled:
            make: dict[str, Any] = {
                "start": lambda count: make_start(self.predictor, count),
                "futures": lambda outputs: make_futures(self.predictor, outputs),
                "advance": lambda _: make_advance(self.predictor),
                "rollout": lambda how: make_roll(
                    self.predictor, how[0], whole_leaps=how[1], subsample=how[2], draft=how[3]
                ),
            }
            self._compiled[key] = self._compile(kind, make[kind](detail))
        return self._compiled[key]


def _own_scenes(start: SimulatorStart, chunk: Chunk) -> SimulatorStart:
    return start if start.num_scenes == 1 else start.some(chunk.scenes)


def _taken(start: SimulatorStart, size: int) -> np.ndarray:
    """[N, C, A], the actions of the leap that scenes are in; of all as many."""
    if start.leap is None:
        return np.zeros((start.num_scenes, 0, size), np.float32)
    counts = np.unique(start.leap.count)
    if len(counts) > 1:
        raise ValueError(
            f"scenes are {counts.tolist()} steps into their leaps: roll them out with every=simulator.stride, or alone"
        )
    return start.leap.actions[:, : counts[0]]
