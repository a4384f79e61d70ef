"""What a backbone promises, and the list of them."""

from importlib import import_module
from typing import Any, NamedTuple

import keras

from visual_foresight.predictor.config import PredictorConfig


class HeadOutputs(NamedTuple):
    """What a backbone says about the next frame.

    Attributes:
        mask_logits: [B, H, W, L], linear; L is `compositor.num_layers(config, style)`. In the order of the layers.
        generated: [B, H, W, 3] in [0, 1], the image painted from nothing, or [B, 1, 1, 3*G], the G colours of the
            palette; None where the style has none (`compositor.num_painted`).
        parameters: raw output for the transformation, linear, of `transformations.parameter_shape(config, style)`.
        next_state: [B, S], normalised as the input states are.
        cut_logits: [B, H, W, M], what each transformed image cuts out of the previous frame; the cut is moved with
            it and is its mask. `mask_logits` are then those of the other L-M layers only. None: all masks are told
            where they end up.
    """

    mask_logits: Any
    generated: Any
    parameters: Any
    next_state: Any
    cut_logits: Any = None


# A backbone is a final `keras.layers.Layer` that builds all its variables in its constructor, with
#
#   __init__(config: PredictorConfig, dtype=None, name=None)
#   style: transformations.Style              how its outputs are to be read (attribute; fixed by the config)
#   initial_state(frame [B,H,W,3], state [B,S]) -> dict
#       recurrent state before the first step: nested dict of tensors, each with leading axis B, of fixed shapes and
#       types, so that it can be repeated for many candidates and carried through a compiled loop. Whatever is
#       computed once from the first frame is cached here. `state` is normalised.
#   call(frame [B,H,W,3], action [B,A], robot_state [B,S], recurrent, training=False) -> (HeadOutputs, recurrent)
#       one step; `action` and `robot_state` are normalised; the returned dict has the structure of the given one.
#       With `config.stride` J > 1 the action is [B, J, A], and the backbone also has
#   robot_path(action [B,J,A], robot_state [B,S]) -> [B,J,S], the robot states inside the leap, normalised.
#   state_feedback: "first" | "context"       until when the true robot state is fed: the first step only (the
#       original), or all context steps.
#   unchanging: tuple of names, or None       entries of the recurrent state that no step changes. A backbone that gives
#       them takes frame and recurrent state of leading axis 1 beside actions and robot states of leading axis B: one
#       scene with many futures. With None (the default) the scene is repeated for each future.
#   drafts: bool                              whether `call` also takes frames that the compositor made as drafts, at
#       `1 / separable.DRAFT_SCALE` of the resolution, and `draft=`: mask logits then have that resolution, too
#       (default: no).
#
# Frames are float in [0, 1]. The layer's dtype policy rules its arithmetic; what it returns may have the compute type:
# the compositor works in float32.
BACKBONES = {
    "fast": "visual_foresight.predictor.fast:FastBackbone",
    "seed": "visual_foresight.predictor.seed:SeedBackbone",
}


def create_backbone(config: PredictorConfig, dtype: Any = None) -> keras.layers.Layer:
    """The backbone that `config.backbone` names, built.

    Args:
        config: the predictor's config.
        dtype: Keras dtype policy or its name; None for the global one.
    """
    module, _, name = BACKBONES[config.backbone].partition(":")
    return getattr(import_module(module), name)(config, dtype=dtype, name="backbone")
