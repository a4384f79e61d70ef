"""The compositor: masks choose, for each pixel, between known frames, transformed frames and a generated image.

Source: arXiv:1605.07157, equation 3, with the background layers and the probability maps of F. Ebert et al.,
"Self-Supervised Visual Planning with Temporal Skip Connections", 2017 (arXiv:1710.05268), section 5.
Differs from them: as many masks as layers by construction; a map is never divided by nothing (see `normalise_maps`).
"""

from typing import Any, NamedTuple

from keras import ops

from visual_foresight.predictor import separable, tapped, transformations
from visual_foresight.predictor.backbone import HeadOutputs
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.transformations import Style

# A map whose whole mass has left the picture keeps its last place instead of becoming 0/0.
SMALLEST_MASS = 1e-8


class Composite(NamedTuple):
    """One composed step, in float32.

    Attributes:
        frame: [B, H, W, 3]; None where it was left out.
        maps: [B, H, W, P], each map sums to 1 over H and W; None where none were given.
        masks: [B, H, W, L], sum to 1 over L; in the order of `layer_names`.
    """

    frame: Any
    maps: Any
    masks: Any


def has_generated(config: PredictorConfig, style: Style) -> bool:
    """Whether the backbone has to paint an image."""
    return not style.palette and (config.transformation != "dna" or style.generated_with_dna)


def num_painted(config: PredictorConfig, style: Style) -> int:
    """Number of layers that show nothing seen before: the generated image, or the colours of the palette."""
    return style.palette or int(has_generated(config, style))


def layer_names(config: PredictorConfig, style: Style) -> list[str]:
    """Names of the layers in the order of the masks: previous, (first,) (generated,) transformed 0, ..."""
    names = ["previous"] + ["first"] * style.first_frame + ["generated"] * has_generated(config, style)
    names += [f"colour {index}" for index in range(style.palette)]
    return names + [f"transformed {index}" for index in range(transformations.num_transformed(config, style))]


def num_layers(config: PredictorConfig, style: Style) -> int:
    """L: the number of layers, and so of masks."""
    return len(layer_names(config, style))


def composite(
    outputs: HeadOutputs,
    frame: Any,
    config: PredictorConfig,
    style: Style,
    *,
    first_frame: Any = None,
    maps: Any = None,
    first_maps: Any = None,
    maps_only: bool = False,
) -> Composite:
    """Compose the next frame, and move probability maps along with it.

    Args:
        outputs: what the backbone said.
        frame: [B, H, W, 3] float32 in [0, 1], the frame that is moved.
        config: the predictor's config.
        style: the backbone's style.
        first_frame: [B, H, W, 3], needed where `style.first_frame`.
        maps: [B, H, W, P] float32 probability maps on `frame`, or None.
        first_maps: [B, H, W, P], where the same pixels were in the first frame; None: taken from `maps`.
        maps_only: the caller needs no frame; separable kernels then leave it out.
    """
    shares = separable.layer_shares(outputs.mask_logits, style.relu_masks)  # [B, L, H, W]
    masks = ops.transpose(shares, (0, 2, 3, 1))
    moves = transformations.operators(outputs.parameters, config, style)
    if style.separable:
        return _compose_separable(outputs, moves, masks, (frame, first_frame), (maps, first_maps), style, maps_only)
    num_known = num_layers(config, style) - transformations.num_transformed(config, style)
    if config.transformation == "cdna":
        return _compose_tapped(outputs, moves, (frame, first_frame), (maps, first_maps), config, style)
    known = masks[..., :num_known]
    images = frame if maps is None else ops.concatenate([frame, maps], axis=-1)
    moved = transformations.blend(moves, masks[..., num_known:], images, config, style)

    layers = [frame]
    if style.first_frame:
        layers.append(first_frame)
    painted = num_painted(config, style)
    if painted:
        generated = ops.cast(outputs.generated, "float32")
        layers += [generated[..., 3 * index : 3 * index + 3] for index in range(painted)]
    next_frame = moved[..., :3]
    for index, layer in enumerate(layers):
        next_frame = next_frame + known[..., index : index + 1] * layer
    if maps is None:
        return Composite(next_frame, None, masks)

    still = known[..., :1]
    if painted:
        # A painted pixel says nothing about where an object went: its share stays with the previous map.
        still = still + ops.sum(known[..., -painted:], axis=-1, keepdims=True)
    next_maps = moved[..., 3:] + still * maps
    if style.first_frame:
        next_maps = next_maps + known[..., 1:2] * (maps if first_maps is None else first_maps)
    return Composite(next_frame, normalise_maps(next_maps, maps), masks)


def _compose_separable(
    outputs: HeadOutputs,
    moves: Any,
    masks: Any,
    frames: tuple[Any, Any],
    maps: tuple[Any, Any],
    style: Style,
    maps_only: bool,
) -> Composite:
    """The same sums in the layout, and as the fused loops, that separable kernels want."""
    layers = (*frames, ops.cast(outputs.generated, "float32"))
    if maps[0] is None:
        frame, _ = separable.compose(moves, outputs.mask_logits, layers, None, style.padding)
        return Composite(frame, None, masks)
    known = (maps[0], maps[0] if maps[1] is None else maps[1])
    frame, moved = separable.compose(moves, outputs.mask_logits, layers, known, style.padding, maps_only=maps_only)
    return Composite(frame, normalise_maps(moved, maps[0]), masks)


def _compose_tapped(
    outputs: HeadOutputs,
    moves: Any,
    frames: tuple[Any, Any],
    maps: tuple[Any, Any],
    config: PredictorConfig,
    style: Style,
) -> Composite:
    """The same sums on planes and as fused loops, for kernels of the whole image."""
    layers = list(frames if style.first_frame else frames[:1])
    painted = num_painted(config, style)
    layers += [outputs.generated[..., 3 * index : 3 * index + 3] for index in range(painted)]
    known = None if maps[0] is None else (maps[0], maps[0] if maps[1] is None else maps[1])
    frame, moved, masks = tapped.compose(
        moves,
        outputs.mask_logits,
        layers,
        known,
        num_painted=painted,
        padding=style.padding,
        rectified=style.relu_masks,
    )
    return Composite(frame, None if maps[0] is None else normalise_maps(moved, maps[0]), masks)


def normalise_maps(maps: Any, previous: Any) -> Any:
    """Scale maps [B, H, W, P] to sum 1 over H and W; one that lost all its mass becomes its `previous` self.

    Weights that cancel outside the picture (the original's warps) leave rounding errors below zero: they are cut off.
    """
    maps = ops.relu(maps)
    mass = ops.sum(maps, axis=(1, 2), keepdims=True)
    kept = mass > SMALLEST_MASS
    return ops.where(kept, maps / ops.where(kept, mass, 1.0), previous)
