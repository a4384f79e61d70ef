"""A larger predictor that begins as the same function as a trained smaller one, or with new masks.

Chen, Goodfellow and Shlens 2016, "Net2Net" (arXiv:1511.05641). Differs from it: new units keep random weights of their
own, and what reads them starts at zero, instead of units being doubled.
"""

import dataclasses
from typing import Any

import numpy as np

from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.predictor import VideoPredictor

GROWING = ("detail", "num_looks", "glimpse", "moving_masks")
"""Fields of the config that may grow."""

_KERNELS = ("kernel_hidden", "kernel_hidden_2", "kernel_head", "shift_head", "motion_head")


def grow(predictor: VideoPredictor, config: PredictorConfig) -> VideoPredictor:
    """The predictor with more units; it predicts the same until it is trained.

    With `moving_masks` switched on it does not: masks and kernels of moved layers begin anew, all else is kept. Kernels
    that were trained beside masks told at their destination were tried: they stayed as they were, and read no glimpse.

    Args:
        predictor: of the `fast` backbone; one of another stays what it is.
        config: its config, `detail`, `num_looks` and `glimpse` as large or larger; a glimpse comes as a whole.

    Raises:
        ValueError: the config differs in another field, or something would shrink.
    """
    _check(predictor.config, config)
    if config == predictor.config:
        return predictor  # of any backbone
    policy = predictor.backbone.dtype_policy.name
    larger = VideoPredictor(config, predictor.statistics, predictor.metadata, dtype=policy)
    groups = {larger.backbone.to_fine.kernel.path: 4, larger.backbone.to_fine.bias.path: 4}
    masks = {variable.path for variable in predictor.backbone.mask_head.variables}
    renewed = config.moving_masks and not predictor.config.moving_masks
    known = _parts(predictor)
    for name, variables in _parts(larger).items():
        if name not in known or (renewed and name in _KERNELS):
            continue  # stays as initialised
        for variable, source in zip(variables, known[name], strict=True):
            values = np.array(source)
            values = _of_known_layers(values, predictor) if renewed and source.path in masks else values
            variable.assign(_grown(np.array(variable), values, groups.get(variable.path, 1)))
    return larger


def _parts(predictor: VideoPredictor) -> dict[str, list]:
    """The backbone's variables, those of parts that may be missing or begin anew by themselves."""
    parts = {name: getattr(predictor.backbone, name, None) for name in ("cut_head", "glimpse", *_KERNELS)}
    found = {name: list(layer.variables) for name, layer in parts.items() if layer is not None}
    paths = {variable.path for variables in found.values() for variable in variables}
    return {"": [each for each in predictor.backbone.variables if each.path not in paths], **found}


def _of_known_layers(weights: np.ndarray, predictor: VideoPredictor) -> np.ndarray:
    """Of the mask head's weights [..., pixels * L] those of the layers that are not moved."""
    num_layers = len(predictor.layer_names)
    known = num_layers - predictor.config.num_masks
    parts = weights.reshape(*weights.shape[:-1], -1, num_layers)[..., :known]
    return parts.reshape(*weights.shape[:-1], -1)


def _check(old: PredictorConfig, new: PredictorConfig) -> None:
    for field in dataclasses.fields(PredictorConfig):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if field.name not in GROWING and before != after:
            raise ValueError(f"growing changes {' and '.join(GROWING)} alone; {field.name} is {before}, not {after}")
        if field.name in GROWING and after < before:
            raise ValueError(f"a predictor grows, it does not shrink: its {field.name} is {before}, got {after}")


def _grown(fresh: Any, old: np.ndarray, groups: int) -> np.ndarray:
    """The new variable: old units first, new ones behind them; old units do not read new ones.

    Args:
        fresh: as initialised, of the new shape [..., inputs, outputs] or [outputs].
        old: of the old shape.
        groups: outputs consist of so many equal parts, each of which grows.
    """
    if fresh.shape == old.shape:
        return old
    values = fresh.reshape(*fresh.shape[:-1], groups, -1).copy()
    old = old.reshape(*old.shape[:-1], groups, -1)
    count = old.shape[-1]
    if old.ndim == 2:  # a bias
        values[..., :count] = old
        return values.reshape(fresh.shape)
    inputs = old.shape[-3]
    values[..., :inputs, :, :count] = old
    values[..., inputs:, :, :count] = 0.0
    return values.reshape(fresh.shape)
