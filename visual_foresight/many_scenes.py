"""Costs of candidates of many scenes at once: one call of the network for all of them, where they fit.

Letters: N scenes, K candidates of each, H control steps, A action size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visual_foresight.given_arrays import given_array
from visual_foresight.planners.simulation import rollout_at_stride, whole_leaps
from visual_foresight.rollout import Rollout
from visual_foresight.simulator_start import SimulatorStart

# On a CPU, with more candidates of each scene, the call is as large as it need be, and those of one scene share its
# pictures: 100 candidates of eight scenes took 368 ms together, and 315 one by one (benchmarks/many_scenes.py).
_MOST_TOGETHER = 64


class ManyCosts:
    """Costs of N scenes by a `LearnedSimulator`, one objective for each scene: what `plan_many` is given.

    They are those that each scene has alone, to rounding: a batch of another size adds up in another order. Scenes
    whose objectives read different outputs are rolled out one by one: asked for frames, a simulator draws no drafts. So
    are those of more than 64 candidates each where costs are not computed on an accelerator.

    Args:
        simulator: a LearnedSimulator.
        starts: N scenes, `SimulatorStart.stack` of those from its `start`.
        objectives: N.

    Raises:
        ValueError: not as many objectives as scenes.
    """

    def __init__(self, simulator: Any, starts: SimulatorStart, objectives: Sequence[Any]) -> None:
        """Find out what to ask for."""
        if len(objectives) != starts.num_scenes:
            raise ValueError(f"{starts.num_scenes} scenes need an objective each, got {len(objectives)}")
        self._simulator, self._starts, self._objectives = simulator, starts, list(objectives)
        each = [starts.some(slice(index, index + 1)) for index in range(starts.num_scenes)]
        self._alone = [simulator.cost_function(*pair) for pair in zip(each, objectives, strict=True)]
        self._outputs = self._alone[0].outputs
        self._same = all(cost.outputs == self._outputs for cost in self._alone)
        self._on_device = starts.on_device() if simulator.costs_on_device else None

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Candidates [N, K, H, A] to costs [N, K]."""
        candidates = self._checked(candidates)
        too_many = self._on_device is None and candidates.shape[1] > _MOST_TOGETHER
        if not self._outputs or not self._same or too_many:
            return np.stack([cost(own) for cost, own in zip(self._alone, candidates, strict=True)])
        num_scenes, count = candidates.shape[:2]
        flat = candidates.reshape(num_scenes * count, *candidates.shape[2:])
        rows = [slice(index * count, (index + 1) * count) for index in range(num_scenes)]
        if self._on_device is None:
            rollout = rollout_at_stride(self._simulator, self._starts, flat, self._outputs)
            futures = {name: value for name, value in vars(rollout).items() if isinstance(value, np.ndarray)}
            parts = [Rollout(**_rows(futures, own), every=rollout.every) for own in rows]
            return np.stack([objective(part) for objective, part in zip(self._objectives, parts, strict=True)])
        filled = whole_leaps(flat, self._simulator.stride)
        futures = self._simulator.futures(self._on_device, filled, self._outputs)
        trios = zip(self._alone, rows, candidates, strict=True)
        return np.stack([cost.judged(_rows(futures, own), of_scene) for cost, own, of_scene in trios])

    def gradient(self, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Costs [N, K] and their gradients [N, K, H, A]: scene by scene."""
        candidates = self._checked(candidates)
        costs, gradients = zip(
            *(cost.gradient(own) for cost, own in zip(self._alone, candidates, strict=True)), strict=True
        )
        return np.stack(costs), np.stack(gradients)

    def _checked(self, candidates: np.ndarray) -> np.ndarray:
        candidates = given_array("candidates", candidates)
        if candidates.ndim != 4 or len(candidates) != len(self._alone):
            raise ValueError(f"candidates must be [{len(self._alone)}, K, H, A], got {list(candidates.shape)}")
        return candidates


def _rows(futures: dict[str, Any], rows: slice) -> dict[str, Any]:
    return {name: value[rows] for name, value in futures.items()}
