"""The compiled part of a rollout: one scene branched into K futures.

A predictor of stride J is called once for each leap, or, where every control step is wanted, once for each step, from
the beginning of its leap. Either way the calls are rows of one plan [N, K, J*A + 1]: the actions of the leap so far,
and how many they are; the call after a full leap begins where it ends.
Letters: N calls, K candidates, T control steps, A action size, S state size, J stride.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor
    from visual_foresight.simulator_start import SimulatorStart

OUTPUTS = ("frames", "states", "pixel_distributions", "pixels")

# So few calls are written out in the graph: what their last one does not need for its outputs is then not computed.
_UNROLLED = 5
# Such a graph is written out for so many parts of the candidates, which then run side by side: convolutions use all
# cores, but the loops between them and what moves memory only one. A fixed number: no plan depends on the machine.
_SIDE_BY_SIDE = 2
_SMALLEST_PART = 50  # with less, starting everything twice costs more than that gives (benchmarks/side_by_side.py)


def plan_leaps(actions: np.ndarray, stride: int) -> np.ndarray:
    """Calls for the ends of leaps only: actions [K, T, A], T a multiple of J, to [T/J, K, J*A + 1]."""
    count, steps, size = actions.shape
    blocks = actions.reshape(count, steps // stride, stride * size).transpose(1, 0, 2)
    return np.concatenate([blocks, np.full((*blocks.shape[:2], 1), stride, np.float32)], axis=-1)


def plan_steps(actions: np.ndarray, stride: int, taken: np.ndarray) -> np.ndarray:
    """Calls for every control step: actions [K, T, A] to [T, K, J*A + 1].

    Args:
        actions: [K, T, A], those of a scene one behind the other.
        stride: J.
        taken: [N, C, A], actions that the present leap of each scene consists of so far.
    """
    count, steps, size = actions.shape
    sequence = np.concatenate([np.repeat(taken, count // len(taken), axis=0), actions], axis=1)
    rows = np.zeros((steps, count, stride * size + 1), np.float32)
    for step in range(steps):
        index = taken.shape[1] + step
        first = index - index % stride
        so_far = sequence[:, first : index + 1].reshape(count, -1)
        rows[step, :, : so_far.shape[1]] = so_far
        rows[step, :, -1] = index % stride + 1
    return rows


def check_outputs(outputs: Sequence[str], start: SimulatorStart) -> tuple[str, ...]:
    """The outputs that a rollout from there is asked for.

    Raises:
        ValueError: none, an unknown name, or designated pixels where there are none.
    """
    outputs = (outputs,) if isinstance(outputs, str) else outputs
    if not outputs:
        raise ValueError(f"a rollout needs outputs, got {outputs!r}; valid names are {', '.join(OUTPUTS)}")
    unknown = [name for name in outputs if name not in OUTPUTS]
    if unknown:
        raise ValueError(f"unknown rollout outputs {unknown}; valid names are {', '.join(OUTPUTS)}")
    if start.num_pixels:
        return tuple(outputs)
    if "pixels" in outputs:
        raise ValueError("pixels were asked for, but the start has no designated pixels; pass start(..., pixels=...)")
    return tuple(name for name in outputs if name != "pixel_distributions")


def make_start(predictor: VideoPredictor, count: int) -> Any:
    """The function that encodes `count` context frames: (frames, actions, states, maps=None) to (carry, state)."""

    def encode(frames: Any, actions: Any, states: Any, maps: Any = None) -> tuple[Any, Any]:
        carry = predictor.initial_carry(frames[:, 0], states[:, 0], maps)
        state = states[:, 0]
        for time in range(count - 1):
            carry, prediction = predictor.step(carry, frames[:, time], actions[:, time], state)
            true_state = predictor.backbone.state_feedback == "context"
            state = states[:, time + 1] if true_state else prediction.state
        return carry, state

    return encode


def make_advance(predictor: VideoPredictor) -> Any:
    """The function of one control step: (carry, frame, state, actions, count, maps=None) to what follows."""

    def advance(carry: Any, frame: Any, state: Any, actions: Any, count: Any, maps: Any = None) -> tuple[Any, ...]:
        carry, prediction = predictor.step(carry, frame, actions, state, maps)
        after = prediction.state
        if predictor.config.stride > 1:
            after = state_after(predictor.robot_path(actions, state), count)
        return carry, prediction.frame, after, prediction.maps

    return advance


def make_roll(
    predictor: VideoPredictor, wanted: Sequence[str], *, whole_leaps: bool, subsample: int = 1, draft: bool = False
) -> Any:
    """The function of one scene and K plans, or of N scenes with K/N plans each, that `compile_function` compiles.

    Args:
        predictor: a VideoPredictor.
        wanted: names in `OUTPUTS`.
        whole_leaps: whether each call ends its leap; the states are then those of each control step.
        subsample: of the picture-like outputs, every how-many-th call is returned.
        draft: whether to imagine frames, where nobody asks for them, and maps at a lower resolution. Maps are returned
            at that; see `whole_maps`.

    Returns:
        roll(carry, frame, state, plan [calls, K, J*A + 1], maps=None) -> dict of tensors with leading axes [calls, K];
        states [calls, K, J, S] for whole leaps. Plans of one scene stand one behind the other.
    """
    from keras import ops, tree

    from visual_foresight.backend import scan
    from visual_foresight.predictor.separable import DRAFT_SCALE

    stride, size = predictor.config.stride, predictor.config.action_size
    draft = draft and predictor.drafts and whole_leaps and "frames" not in wanted

    def roll(carry: Any, frame: Any, state: Any, plan: Any, maps: Any = None) -> dict[str, Any]:
        scene = {"carry": carry, "frame": frame} if maps is None else {"carry": carry, "frame": frame, "maps": maps}
        if plan.shape[0] > _UNROLLED:
            return pick(_looped(advance, scan, begin(scene, state, plan, same=draft), plan, first_apart=draft))
        moment = begin(scene, state, plan, same=True)
        parts = [
            pick(_unrolled(advance, tree.map_structure(functools.partial(_cut, part=part), moment), plan[:, part]))
            for part in _parts(plan.shape[1])
        ]
        return tree.map_structure(lambda *values: ops.concatenate(values, axis=1), *parts)

    def begin(scene: dict[str, Any], state: Any, plan: Any, *, same: bool) -> dict[str, Any]:
        """The moment before the first call; one scene for all where the next may have another form."""
        one = scene["frame"].shape[0] == 1
        moment = scene if one and same and predictor.shares_scene else branched(scene, plan, one=one)
        return {**moment, "state": branch(state, plan)}

    def branch(tensor: Any, plan: Any) -> Any:
        scenes, *shape = tensor.shape
        if scenes == 1:
            return ops.broadcast_to(tensor, (plan.shape[1], *shape))
        return ops.repeat(tensor, plan.shape[1] // scenes, axis=0)

    def branched(scene: dict[str, Any], plan: Any, *, one: bool) -> dict[str, Any]:
        """Scenes once for each candidate, but for what no step changes: of one scene all read that from one place."""
        repeated = tree.map_structure(functools.partial(branch, plan=plan), scene)
        return {**repeated, "carry": kept(repeated["carry"], scene["carry"])} if one else repeated

    def kept(carry: dict[str, Any], unchanged: dict[str, Any]) -> dict[str, Any]:
        """The carry, with what no step changes taken from another."""
        same = predictor.unchanging(unchanged)
        return {**carry, **same, "recurrent": {**carry["recurrent"], **same.get("recurrent", {})}}

    def pick(series: dict[str, Any]) -> dict[str, Any]:
        return {
            name: values if name == "states" else values[subsample - 1 :: subsample] for name, values in series.items()
        }

    def advance(moment: dict[str, Any], row: Any, *, last: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        action = row[:, :-1]
        if stride > 1:
            action = ops.reshape(action, (-1, stride, size))
        carry, prediction = predictor.step(
            moment["carry"],
            moment["frame"],
            action,
            moment["state"],
            moment.get("maps"),
            maps_only=last and whole_leaps and "frames" not in wanted,
            draft=draft,
        )
        following = {"carry": carry, "frame": prediction.frame, "state": prediction.state}
        if "maps" in moment:
            following["maps"] = prediction.maps
        if not whole_leaps:
            full = row[:, -1] == stride
            following = tree.map_structure(lambda new, old: _choose(full, new, old), following, moment)
            following["carry"] = kept(following["carry"], carry)
        outputs = {name: _read(name, prediction, DRAFT_SCALE if draft else 1) for name in wanted}
        if "states" in wanted and (whole_leaps or stride > 1):
            path = prediction.state[:, None] if stride == 1 else predictor.robot_path(action, moment["state"])
            outputs["states"] = path if whole_leaps else state_after(path, row[:, -1])
        return following, outputs

    return roll


def shown_as_maps(outputs: Sequence[str]) -> tuple[str, ...]:
    """What objectives read, each once: designated pixels are shown as their maps."""
    return tuple(dict.fromkeys("pixel_distributions" if name == "pixels" else name for name in outputs))


def make_futures(predictor: VideoPredictor, outputs: Sequence[str]) -> Any:
    """The function of scenes and K candidates [K, T, A] that objectives are computed from, beside the network.

    Args:
        predictor: a VideoPredictor.
        outputs: what an objective reads, see `OUTPUTS`. Frames and maps are those of the ends of leaps, and of drafts
            if there are any: as planners ask for them.

    Returns:
        futures(carry, frame, state, actions, maps=None) -> dict of the fields of a Rollout, tensors.
    """
    from keras import ops

    roll = make_roll(predictor, outputs, whole_leaps=True, draft=True)
    stride = predictor.config.stride

    def futures(carry: Any, frame: Any, state: Any, actions: Any, maps: Any = None) -> dict[str, Any]:
        count, steps, size = actions.shape
        blocks = ops.transpose(ops.reshape(actions, (count, steps // stride, stride * size)), (1, 0, 2))
        plan = ops.concatenate([blocks, ops.full_like(blocks[..., :1], stride)], axis=-1)
        series = roll(carry, frame, state, plan, maps)
        return {"actions": actions, **by_candidate(series, ops, frame.shape[1])}

    return futures


def state_after(path: Any, count: Any) -> Any:
    """The robot state after `count` [B] control steps of a leap: path [B, J, S] to [B, S]."""
    from keras import ops

    chosen = ops.one_hot(ops.cast(count, "int32") - 1, path.shape[1], dtype=path.dtype)
    return ops.einsum("bjs,bj->bs", path, chosen)


def _parts(count: int) -> list[slice]:
    """The candidates cut in parts, where a CPU runs these side by side."""
    from visual_foresight.predictor.fusing import fuses

    if not fuses() or count < _SIDE_BY_SIDE * _SMALLEST_PART:
        return [slice(None)]
    edges = [index * count // _SIDE_BY_SIDE for index in range(_SIDE_BY_SIDE + 1)]
    return [slice(first, last) for first, last in itertools.pairwise(edges)]


def _cut(tensor: Any, part: slice) -> Any:
    """A part of the candidates; what all of them read from one place stays."""
    return tensor if tensor.shape[0] == 1 else tensor[part]


def _looped(advance: Any, scan: Any, moment: Any, plan: Any, *, first_apart: bool) -> dict[str, Any]:
    """Calls as a compiled loop, whose moments all have one form: that before the first call may differ."""
    from keras import ops

    step = functools.partial(advance, last=False)
    if not first_apart:
        return scan(step, moment, plan)
    moment, first = step(moment, plan[0])
    rest = scan(step, moment, plan[1:])
    return {name: ops.concatenate([first[name][None], rest[name]]) for name in rest}


def _unrolled(advance: Any, moment: Any, plan: Any) -> dict[str, Any]:
    from keras import ops

    rows = []
    for index in range(plan.shape[0]):
        moment, outputs = advance(moment, plan[index], last=index == plan.shape[0] - 1)
        rows.append(outputs)
    return {name: ops.stack([row[name] for row in rows]) for name in rows[0]}


def _choose(condition: Any, new: Any, old: Any) -> Any:
    from keras import ops

    return ops.where(ops.reshape(condition, (-1, *[1] * (len(new.shape) - 1))), new, ops.cast(old, new.dtype))


def _read(name: str, prediction: Any, scale: int) -> Any:
    from keras import ops

    if name == "frames":
        return ops.clip(prediction.frame, 0.0, 1.0)
    if name == "states":
        return prediction.state
    maps = prediction.maps  # [K, H, W, P]
    if name == "pixel_distributions":
        return ops.transpose(maps, (0, 3, 1, 2))
    return mean_places(maps, scale)


def mean_places(maps: Any, scale: int = 1) -> Any:
    """Mean places [K, P, 2] of maps [K, H, W, P], (row, column) in pixels; map pixels stand for `scale` of them."""
    from keras import ops

    height, width, count = maps.shape[1:]
    # A coarse pixel lies in the middle of those that it stands for.
    places = scale * (np.mgrid[:height, :width].reshape(2, -1).T.astype(np.float32) + 0.5) - 0.5
    table = ops.convert_to_tensor(places[None], maps.dtype)
    return ops.matmul(ops.transpose(ops.reshape(maps, (-1, height * width, count)), (0, 2, 1)), table)


def by_candidate(series: dict[str, Any], xp: Any, height: int) -> dict[str, Any]:
    """Whole leaps with the candidates first: [N, K, ...] to [K, N, ...], states [N, K, J, S] to [K, N*J, S].

    Args:
        series: outputs of a roll.
        xp: numpy or keras.ops.
        height: of the image: maps of less are made whole. After the roll, because what leaves it is copied twice.
    """
    turned = {}
    for name, values in series.items():
        axes = (1, 0, *range(2, len(values.shape)))
        turned[name] = xp.transpose(values, axes)
        if name == "states":
            count, calls, stride, size = turned[name].shape
            turned[name] = xp.reshape(turned[name], (count, calls * stride, size))
        if name == "pixel_distributions":
            turned[name] = whole_maps(turned[name], xp, height)
    return turned


def whole_maps(maps: Any, xp: Any, height: int) -> Any:
    """Maps [..., H/S, W/S] of drafts at full resolution [..., H, W], each pixel repeated; sums stay."""
    scale = height // maps.shape[-2]
    if scale == 1:
        return maps
    before, (rows, columns) = maps.shape[:-2], maps.shape[-2:]
    shares = maps / scale**2
    if isinstance(shares, np.ndarray):
        return _repeated(shares, scale)
    apart = xp.reshape(shares, (*before, rows, 1, columns, 1))
    repeated = xp.broadcast_to(apart, (*before, rows, scale, columns, scale))
    return xp.reshape(repeated, (*before, rows * scale, columns * scale))


def _repeated(maps: np.ndarray, scale: int) -> np.ndarray:
    """Each pixel of [..., H, W] repeated: written in long rows, a quarter of the time of a broadcast copy."""
    before, (rows, columns) = maps.shape[:-2], maps.shape[-2:]
    wide = np.empty((*before, rows, columns, scale), maps.dtype)
    for index in range(scale):
        wide[..., index] = maps
    whole = np.empty((*before, rows, scale, columns * scale), maps.dtype)
    whole[...] = wide.reshape(*before, rows, 1, columns * scale)
    return whole.reshape(*before, rows * scale, columns * scale)
