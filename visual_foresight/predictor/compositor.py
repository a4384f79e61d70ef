"""The compositor: masks choose, for each pixel, between known frames, transformed frames and a generated image.

Source: arXiv:1605.07157, equation 3, with the background layers and the probability maps of F. Ebert et al.,
"Self-Supervised Visual Planning with Temporal Skip Connections", 2017 (arXiv:1710.05268), section 5.
Differs from them: as many masks as layers by construction; a map is never divided by nothing (see `normalise_maps`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from visual_foresight.predictor import separable, tapped, transformations
from visual_foresight.predictor.backbone import HeadOutputs
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.fusing import fuse_with_gradient
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
    draft: bool = False,
) -> Composite:
    """Compose the next frame, and move probability maps along with it.

    Args:
        outputs: what the backbone said.
        frame: [B, H, W, 3] float32 in [0, 1], the frame that is moved. Frames and maps may have the leading axis 1
            beside outputs of leading axis B.
        config: the predictor's config.
        style: the backbone's style.
        first_frame: [B, H, W, 3], needed where `style.first_frame`.
        maps: [B, H, W, P] float32 probability maps on `frame`, or None.
        first_maps: [B, H, W, P], where the same pixels were in the first frame; None: taken from `maps`.
        maps_only: the caller needs no frame; separable kernels then leave it out.
        draft: masks are those of a draft, at `1 / separable.DRAFT_SCALE` of the resolution; so will be frame and maps.
            Frames and maps that are not so yet are made so. Separable kernels only.
    """
    if draft:
        height = outputs.mask_logits.shape[1]
        frame, first_frame = (_at(height, image, separable.coarse_frames) for image in (frame, first_frame))
        maps, first_maps = (_at(height, image, separable.coarse_maps) for image in (maps, first_maps))
        outputs = outputs._replace(generated=_at(height, outputs.generated, separable.coarse_frames))
    moves = transformations.operators(outputs.parameters, config, style)
    layers = _known_layers(outputs, frame, first_frame, config, style)
    known = None if maps is None else _known_maps(maps, first_maps, config, style)
    scale = separable.DRAFT_SCALE if draft else 1
    planes = _planes(outputs, moves, style, scale)
    if style.separable:
        masks = _masks(planes, style)  # computed only where somebody reads them: graphs leave out what nobody does
        next_frame, next_maps = separable.compose(
            moves,
            planes,
            layers,
            known,
            style.padding,
            maps_only=maps_only,
            scale=scale,
        )
    elif config.transformation == "cdna":
        next_frame, next_maps, masks = tapped.compose(
            moves, outputs.mask_logits, layers, known, padding=style.padding, rectified=style.relu_masks
        )
    else:
        masks = _masks(planes, style)
        next_frame, next_maps = _compose(moves, masks, layers, known, config, style)
    return Composite(next_frame, None if maps is None else normalise_maps(next_maps, maps), masks)


def _planes(outputs: HeadOutputs, moves: Any, style: Style, scale: int) -> tuple[Any, ...]:
    """Mask logits [B, L, H, W]: in one piece, or those of the known layers and those of the moved ones."""
    planes = ops.transpose(outputs.mask_logits, (0, 3, 1, 2))
    if outputs.cut_logits is None:
        return (planes,)
    return planes, separable.moved_logits(moves, outputs.cut_logits, style.padding, scale)


def _at(height: int, images: Any, coarsen: Callable[[Any], Any]) -> Any:
    """Images [B, H, W, C] of that height, or colours [1, 1, 1, C], or None."""
    return images if images is None or images.shape[1] in (1, height) else coarsen(images)


def _masks(planes: tuple[Any, ...], style: Style) -> Any:
    """[B, H, W, L] float32."""
    return ops.transpose(separable.layer_shares(ops.concatenate(planes, axis=1), style.relu_masks), (0, 2, 3, 1))


def _known_layers(outputs: HeadOutputs, frame: Any, first_frame: Any, config: PredictorConfig, style: Style) -> list:
    """What is not moved, in the order of the masks: [B, H, W, 3] float32, but colours of a palette are [1, 1, 1, 3]."""
    layers = [frame, first_frame] if style.first_frame else [frame]
    painted = num_painted(config, style)
    if painted:
        generated = ops.cast(outputs.generated, "float32")
        layers += [generated[..., 3 * index : 3 * index + 3] for index in range(painted)]
    return layers


def _known_maps(maps: Any, first_maps: Any, config: PredictorConfig, style: Style) -> list:
    """Maps [B, H, W, P] of the known layers; a style may leave out those of the painted ones, which come last."""
    known = [maps]
    if style.first_frame:
        known.append(maps if first_maps is None else first_maps)
    return known + [maps] * (num_painted(config, style) if style.painted_keeps_map else 0)


def _compose(
    moves: Any, masks: Any, layers: list, known_maps: list | None, config: PredictorConfig, style: Style
) -> tuple[Any, Any]:
    """The next frame and maps, not normalised, as the equation reads."""
    num_known = len(layers)
    images = layers[0] if known_maps is None else ops.concatenate([layers[0], known_maps[0]], axis=-1)
    moved = transformations.blend(moves, masks[..., num_known:], images, config, style)
    frame = moved[..., :3]
    for index, layer in enumerate(layers):
        frame = frame + masks[..., index : index + 1] * layer
    if known_maps is None:
        return frame, None
    maps = moved[..., 3:]
    for index, known in enumerate(known_maps):
        maps = maps + masks[..., index : index + 1] * known
    return frame, maps


@fuse_with_gradient
def normalise_maps(maps: Any, previous: Any) -> Any:
    """Scale maps [B, H, W, P] to sum 1 over H and W; one that lost all its mass becomes its `previous` self.

    Weights that cancel outside the picture (the original's warps) leave rounding errors below zero: they are cut off.
    """
    maps = ops.relu(maps)
    mass = ops.sum(maps, axis=(1, 2), keepdims=True)
    kept = mass > SMALLEST_MASS
    scaled = maps / ops.where(kept, mass, 1.0)
    # A sum and not a choice: the gradient of a choice between pictures is slow.
    return scaled * ops.cast(kept, maps.dtype) + previous * ops.cast(ops.logical_not(kept), maps.dtype)
