"""Costs of candidates and their gradients through the network, compiled once for all objectives of a kind."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from visual_foresight.backend import value_and_gradient
from visual_foresight.constant_weights import compile_with_weights
from visual_foresight.planners.objectives.parts import take_apart
from visual_foresight.rollout import Rollout
from visual_foresight.unrolling import make_futures, shown_as_maps

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor

_KINDS_KEPT = 16
_ACTIONS = 4  # where they stand among (values, carry, frame, state, actions, maps)


class CompiledGradients:
    """What was compiled for one predictor.

    An objective that says which of its arrays are inputs (``compiled_inputs``) shares what is compiled with all that
    differ from it in these only, so that a new goal costs no compilation; another one has its own, which goes when the
    caller lets the objective go.

    Args:
        predictor: that imagines.
        stride: control steps between what objectives see.
    """

    def __init__(self, predictor: VideoPredictor, stride: int) -> None:
        """Begin with nothing compiled."""
        self._predictor, self._stride = predictor, stride
        self._kinds: OrderedDict[Hashable, Callable] = OrderedDict()
        self._others: weakref.WeakKeyDictionary[Any, Callable] = weakref.WeakKeyDictionary()

    def of(self, objective: Any) -> Callable:
        """(carry, frame, state, actions [K, T, A], maps=None) to (costs [K], gradients [K, T, A]), tensors."""
        parts = take_apart(objective)
        if parts is None:
            if objective not in self._others:
                kept = weakref.ref(objective)
                self._others[objective] = self._compile(lambda _: kept(), objective.outputs)
            compiled = self._others[objective]
            return lambda *scene: compiled((), *scene)
        if parts.key not in self._kinds:
            self._kinds[parts.key] = self._compile(parts.rebuild, objective.outputs)
        self._kinds.move_to_end(parts.key)
        while len(self._kinds) > _KINDS_KEPT:
            self._kinds.popitem(last=False)
        shared, values = self._kinds[parts.key], parts.values
        return lambda *scene: shared(values, *scene)

    def _compile(self, rebuild: Callable[[Sequence[Any]], Any], outputs: Sequence[str]) -> Callable:
        futures = make_futures(self._predictor, shown_as_maps(outputs))

        def cost(values: Sequence[Any], *scene: Any) -> Any:
            return rebuild(values)(Rollout(**futures(*scene), every=self._stride))

        return compile_with_weights(value_and_gradient(cost, argument=_ACTIONS), self._predictor)
