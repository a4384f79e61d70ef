"""What a predictor is made of: one frozen record that chooses backbone, transformation and sizes."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from visual_foresight.wording import did_you_mean

TRANSFORMATIONS = ("cdna", "dna", "stp")
BACKBONE_NAMES = ("seed", "fast")

# Both backbones halve the image three times.
SIZE_MULTIPLE = 8
# Each is a picture of its own in every step.
_MOST_MASKS = 1000


@dataclass(frozen=True)
class PredictorConfig:
    """Everything that fixes the shapes and the arithmetic of a predictor.

    Checked when it is made; names are case-insensitive (`"CDNA"` is `"cdna"`).

    Args:
        transformation: how known frames are moved: "cdna" (kernels for the whole image), "dna" (one kernel per
            pixel), "stp" (affine warps).
        backbone: "seed" (the original network, number for number) or "fast" (made for planning).
        image_height: rows of a frame [px], a multiple of 8.
        image_width: columns of a frame [px], a multiple of 8.
        action_size: numbers in one action.
        state_size: numbers in one robot state.
        use_state: whether actions and states reach the image path.
        num_masks: foreground masks; 1 for "dna".
        kernel_size: side of the kernels of "cdna" and "dna" [px], odd.
        context_frames: ground-truth frames before the predictor sees its own predictions.
        width: factor on the number of channels of the backbone.
        detail: further factor on those of the "fast" backbone at a quarter of the resolution, where outlines meet.
        num_looks: places at which each moved layer of a "fast" "cdna" looks to know how it moves.
        glimpse: features of a "fast" "cdna" of the picture along the robot's way, turned so that the way leads
            forward; 0 for none.
        moving_masks: whether a "fast" "cdna" cuts moved layers out of the previous frame and moves the cut along, in
            place of masks that say where each layer ends up.
        stride: control steps that one call of the network leaps over; more than 1 for the "fast" backbone only. A
            leap is given its block of `stride` actions; a shorter one is filled with zero actions, which must mean
            "stand still" to the robot.

    Raises:
        ValueError: a field has a value that no predictor can have; the message names the field.
        TypeError: a field has the wrong type.
    """

    transformation: str = "cdna"
    backbone: str = "seed"
    image_height: int = 64
    image_width: int = 64
    action_size: int = 5
    state_size: int = 5
    use_state: bool = True
    num_masks: int = 10
    kernel_size: int = 5
    context_frames: int = 2
    width: float = 1.0
    stride: int = 1
    detail: float = 1.0
    num_looks: int = 1
    glimpse: int = 0
    moving_masks: bool = False

    def __post_init__(self) -> None:
        """Normalise names, then validate."""
        for field in ("transformation", "backbone"):
            value = getattr(self, field)
            if not isinstance(value, str):
                raise TypeError(f"PredictorConfig.{field} must be a string, got {value!r}")
            object.__setattr__(self, field, value.lower())
        self.validate()

    @property
    def image_size(self) -> tuple[int, int]:
        """(rows, columns) of a frame [px]."""
        return self.image_height, self.image_width

    def validate(self) -> None:
        """Check every field.

        Raises:
            ValueError: a field has a value that no predictor can have.
            TypeError: a field has the wrong type.
        """
        _check_name("transformation", self.transformation, TRANSFORMATIONS)
        _check_name("backbone", self.backbone, BACKBONE_NAMES)
        for field in ("image_height", "image_width", "action_size", "state_size", "num_masks", "kernel_size"):
            _check_count(field, getattr(self, field))
        _check_count("context_frames", self.context_frames)
        _check_count("stride", self.stride)
        _check_count("num_looks", self.num_looks)
        if not isinstance(self.use_state, bool):
            raise TypeError(f"PredictorConfig.use_state must be True or False, got {self.use_state!r}")
        for field in ("image_height", "image_width"):
            size = getattr(self, field)
            if size % SIZE_MULTIPLE:
                raise ValueError(f"PredictorConfig.{field} must be a multiple of {SIZE_MULTIPLE}, got {size}")
        if self.num_masks * self.num_looks > _MOST_MASKS:
            raise ValueError(
                f"PredictorConfig.num_masks times num_looks must be at most {_MOST_MASKS}, "
                f"got {self.num_masks} x {self.num_looks}"
            )
        if self.kernel_size % 2 == 0:
            raise ValueError(f"PredictorConfig.kernel_size must be odd (a kernel has a centre), got {self.kernel_size}")
        _check_factor("width", self.width)
        _check_factor("detail", self.detail)
        for field in ("detail", "num_looks"):
            if self.backbone == "seed" and getattr(self, field) != 1:
                raise ValueError(f"PredictorConfig.{field} must be 1 for the seed backbone, got {getattr(self, field)}")
        if self.num_looks != 1 and self.transformation != "cdna":
            raise ValueError(
                f"PredictorConfig.num_looks must be 1 for {self.transformation}: only cdna looks at places, got "
                f"{self.num_looks}"
            )
        self._validate_glimpse_and_masks()
        if self.transformation == "dna" and self.num_masks != 1:
            raise ValueError(
                f"PredictorConfig.num_masks must be 1 for dna (it makes one transformed image), got {self.num_masks}; "
                "pass num_masks=1 (--num_masks=1)"
            )
        self._validate_stride()
        if self.backbone == "seed" and self.transformation == "stp" and self.num_masks < 2:
            raise ValueError(
                "PredictorConfig.num_masks must be at least 2 for stp on the seed backbone, whose first mask goes to "
                f"the generated image; got {self.num_masks}"
            )

    def _validate_glimpse_and_masks(self) -> None:
        if isinstance(self.glimpse, bool) or not isinstance(self.glimpse, int):
            raise TypeError(f"PredictorConfig.glimpse must be an integer, got {self.glimpse!r}")
        if self.glimpse < 0:
            raise ValueError(f"PredictorConfig.glimpse must be at least 0, got {self.glimpse}")
        fast_cdna = self.backbone == "fast" and self.transformation == "cdna"
        if self.glimpse and not (fast_cdna and self.use_state):
            raise ValueError(
                "PredictorConfig.glimpse must be 0 but for a fast cdna predictor that uses the robot's state, which a "
                f"glimpse follows; got {self.glimpse} with {self.backbone} {self.transformation}, "
                f"use_state {self.use_state}"
            )
        if not isinstance(self.moving_masks, bool):
            raise TypeError(f"PredictorConfig.moving_masks must be True or False, got {self.moving_masks!r}")
        if self.moving_masks and not fast_cdna:
            raise ValueError(
                "PredictorConfig.moving_masks must be False but for a fast cdna predictor, got True with "
                f"{self.backbone} {self.transformation}"
            )

    def _validate_stride(self) -> None:
        if self.stride == 1:
            return
        if self.backbone == "seed":
            raise ValueError(f"PredictorConfig.stride must be 1 for the seed backbone, got {self.stride}")
        if self.context_frames != 1:
            raise ValueError(
                f"PredictorConfig.context_frames must be 1 for a predictor that leaps (stride {self.stride}), "
                f"got {self.context_frames}"
            )

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "PredictorConfig":
        """The inverse of `to_json`; fields left out keep their defaults.

        Raises:
            ValueError: a field is unknown or has an impossible value.
            TypeError: `fields` is no mapping, or a field has the wrong type.
        """
        if not isinstance(fields, Mapping):
            raise TypeError(f"a predictor config must be a JSON object, got {type(fields).__name__}")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            if name not in known:
                raise ValueError(f"unknown predictor config field {name!r}{_nearest(name, known)}")
        return cls(**fields)


def _check_name(field: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ValueError(f"PredictorConfig.{field} is {value!r}{_nearest(value, valid)}")


def _check_count(field: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"PredictorConfig.{field} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"PredictorConfig.{field} must be at least 1, got {value}")


def _check_factor(field: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"PredictorConfig.{field} must be a number, got {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"PredictorConfig.{field} must be a positive number, got {value}")


def _nearest(name: str, valid: list[str] | tuple[str, ...]) -> str:
    hint = did_you_mean(str(name), valid)
    return f"; valid names are {', '.join(valid)}{hint}"
