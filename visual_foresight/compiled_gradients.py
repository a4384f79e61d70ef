"""Costs of candidates and their gradients through the network, compiled once for all objectives of a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from visual_foresight.backend import value_and_gradient
from visual_foresight.constant_weights import compile_with_weights
from visual_foresight.kept_by_kind import KeptByKind, reference_to
from visual_foresight.planners.objectives.parts import take_apart
from visual_foresight.rollout import Rollout
from visual_foresight.unrolling import make_futures, shown_as_maps

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor
    from visual_foresight.simulator_start import SimulatorStart

_KINDS_KEPT = 16
_ACTIONS = 4  # where they stand among (values, carry, frame, state, actions, maps)


class CompiledGradients:
    """What was compiled for one predictor.

    It is compiled once for all objectives of a kind, so that a new goal costs no compilation; see `KeptByKind`.

    Args:
        predictor: that imagines.
        stride: control steps between what objectives see.
    """

    def __init__(self, predictor: VideoPredictor, stride: int) -> None:
        """Begin with nothing compiled."""
        self._predictor, self._stride = predictor, stride
        self._kept: KeptByKind[Callable] = KeptByKind(_KINDS_KEPT)

    def of(self, objective: Any, start: SimulatorStart) -> Callable:
        """(carry, frame, state, actions [K, T, A], maps=None) to (costs [K], gradients [K, T, A]), tensors.

        Raises:
            ValueError: the objective reads designated pixels, and the start has none.
        """
        if not start.num_pixels and {"pixels", "pixel_distributions"} & set(objective.outputs):
            raise ValueError("the objective reads designated pixels, the start has none; pass start(..., pixels=...)")
        parts = take_apart(objective)

        def make() -> Callable:
            if parts is not None:
                return self._compile(parts.rebuild, objective.outputs)
            reference = reference_to(objective)
            return self._compile(lambda _: reference(), objective.outputs)

        compiled = self._kept.of(objective, parts, make)
        values = () if parts is None else parts.values
        return lambda *scene: compiled(values, *scene)

    def _compile(self, rebuild: Callable[[Sequence[Any]], Any], outputs: Sequence[str]) -> Callable:
        futures = make_futures(self._predictor, shown_as_maps(outputs))

        def cost(values: Sequence[Any], *scene: Any) -> Any:
            return rebuild(values)(Rollout(**futures(*scene), every=self._stride))

        return compile_with_weights(value_and_gradient(cost, argument=_ACTIONS), self._predictor)
