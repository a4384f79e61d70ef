"""Drawing on frames: pure functions from uint8 arrays to new uint8 arrays.

Pixels are (row, col) with pixel centres at integer coordinates, as everywhere in the library: row 0, col 0 is the
centre of the upper left pixel. Functions that draw on an enlarged picture take `scale`, the factor by which it was
enlarged, and coordinates of the small frame. Letters: H, W rows and columns of a frame, S the scale.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visual_foresight.charts import ticks

Color = tuple[int, int, int]
Numbers = Sequence[float] | np.ndarray

INK: Color = (24, 28, 36)
PAPER: Color = (255, 255, 255)
DESIGNATED: Color = (255, 64, 64)
GOAL: Color = (40, 200, 90)
PREDICTED: Color = (70, 130, 255)

# A dark-to-bright heat map (black, violet, red, orange, pale yellow), readable in grey and by the colour-blind.
_HEAT_STOPS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
_HEAT_COLORS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)


def checked_image(image: np.ndarray) -> np.ndarray:
    """Return `image` if it is a uint8 picture [H, W, 3].

    Raises:
        ValueError: for another dtype or shape; says what was passed and how to convert.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(
            f"a picture must be uint8 [H, W, 3], got {image.dtype} {list(image.shape)}; "
            "visual_foresight.frames.to_uint8 converts float frames in [0, 1]"
        )
    return image


def upscale(image: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge a picture [H, W, 3] by a whole factor, every pixel a block: [H*S, W*S, 3]."""
    if scale < 1 or scale != int(scale):
        raise ValueError(f"scale must be a whole number of at least 1, got {scale!r}")
    return np.repeat(np.repeat(checked_image(image), int(scale), axis=0), int(scale), axis=1)


def heat_colors(values: np.ndarray) -> np.ndarray:
    """Return the colours [..., 3] uint8 of values in [0, 1] on the heat scale; values outside are clipped."""
    values = np.clip(np.nan_to_num(np.asarray(values, np.float32)), 0.0, 1.0)
    channels = [np.interp(values, _HEAT_STOPS, _HEAT_COLORS[:, channel]) for channel in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def overlay_heat(image: np.ndarray, probability: np.ndarray, *, opacity: float = 0.85, dim: bool = False) -> np.ndarray:
    """Lay a probability map over a picture: bright where the probability is high, the picture where it is none.

    Args:
        image: [H, W, 3] uint8.
        probability: [H, W], not negative; scaled so that its largest value is the brightest colour.
        opacity: how much of the picture the largest value hides, in [0, 1].
        dim: make the picture below dark grey, so that the map shows on objects of every colour.

    Returns:
        [H, W, 3] uint8.

    Raises:
        ValueError: when the shapes differ or the map has a negative or non-finite value.
    """
    image, probability = checked_image(image), np.asarray(probability, np.float32)
    if probability.shape != image.shape[:2]:
        raise ValueError(f"the probability map is {list(probability.shape)}, the picture {list(image.shape[:2])}")
    if not np.isfinite(probability).all() or (probability < 0).any():
        raise ValueError("the probability map must be finite and not negative")
    if dim:
        image = _dimmed(image)
    peak = float(probability.max())
    strength = probability / peak if peak > 0 else probability
    # The square root makes the thin tail of a spread-out map visible; probabilities are small almost everywhere.
    share = (opacity * np.sqrt(strength))[..., None]
    return _blend(image, heat_colors(np.sqrt(strength)), share)


def mark_cross(
    image: np.ndarray, pixel: Numbers, *, scale: int = 1, color: Color = DESIGNATED, size: float = 2.0
) -> np.ndarray:
    """Draw a cross with a dark outline at a pixel: the designated point. `size` is half its width in frame pixels."""
    return _draw(image, pixel, scale, lambda draw, x, y: _cross(draw, x, y, size * scale, color, _line(scale)))


def mark_goal(
    image: np.ndarray,
    pixel: Numbers,
    *,
    scale: int = 1,
    color: Color = GOAL,
    radius: float = 3.0,
    flag: bool = True,
) -> np.ndarray:
    """Draw a ring, with a small flag, at a pixel: the goal. `radius` is in frame pixels (the tolerance of the task)."""

    def mark(draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
        _ring(draw, x, y, radius * scale, color, _line(scale))
        if flag:
            _flag(draw, x, y, radius * scale, color, _line(scale))

    return _draw(image, pixel, scale, mark)


def mark_path(image: np.ndarray, pixels: np.ndarray, *, scale: int = 1, color: Color = DESIGNATED) -> np.ndarray:
    """Draw the way [N, 2] (row, col) that a point went, as a line; fewer than two finite points draw nothing."""
    pixels = np.asarray(pixels, np.float64).reshape(-1, 2)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    picture = Image.fromarray(checked_image(image).copy())
    if len(pixels) > 1:
        places = [_place(pixel, scale) for pixel in pixels]
        ImageDraw.Draw(picture).line(places, fill=color, width=_line(scale), joint="curve")
    return np.asarray(picture)


def label(
    image: np.ndarray, text: str, *, at: tuple[int, int] = (4, 4), size: int = 13, color: Color = PAPER
) -> np.ndarray:
    """Write one line of text on a dark plate at (row, col) of the picture as it is."""
    picture = Image.fromarray(checked_image(image).copy())
    draw = ImageDraw.Draw(picture, "RGBA")
    font = ImageFont.load_default(size)
    row, col = at
    left, top, right, bottom = draw.textbbox((col, row), text, font=font)
    draw.rectangle((left - 3, top - 2, right + 3, bottom + 2), fill=(*INK, 190))
    draw.text((col, row), text, font=font, fill=color)
    return np.asarray(picture)


def caption(image: np.ndarray, text: str, *, size: int = 13, color: Color = PAPER, paper: Color = INK) -> np.ndarray:
    """Put a strip with one centred line of text above a picture: [H + size + 9, W, 3].

    Text that is too wide is written smaller, down to 7 px; `titled` widens the picture instead.
    """
    image = checked_image(image)
    strip = Image.new("RGB", (image.shape[1], size + 9), paper)
    draw = ImageDraw.Draw(strip)
    sizes = range(size, 6, -1) or (size,)
    fonts = [ImageFont.load_default(each) for each in sizes]
    font = next((each for each in fonts if draw.textlength(text, font=each) <= image.shape[1] - 4), fonts[-1])
    width = draw.textlength(text, font=font)
    draw.text((max(2, (image.shape[1] - width) / 2), 2), text, font=font, fill=color)
    return np.concatenate([np.asarray(strip), image], axis=0)


def titled(image: np.ndarray, text: str, *, size: int = 13, least_width: int = 0) -> np.ndarray:
    """Put a title above a picture, with paper on its right where the title or `least_width` [px] is wider than it."""
    image = checked_image(image)
    needed = int(np.ceil(ImageFont.load_default(size).getlength(text))) + 8
    missing = max(needed, least_width) - image.shape[1]
    if missing > 0:
        image = np.concatenate([image, np.full((image.shape[0], missing, 3), INK, np.uint8)], axis=1)
    return caption(image, text, size=size)


def beside(images: Sequence[np.ndarray], *, gap: int = 4, paper: Color = INK) -> np.ndarray:
    """Set pictures side by side, the lower ones filled up with paper below: [max H, sum W + gaps, 3]."""
    images = [checked_image(image) for image in images]
    if not images:
        raise ValueError("there is no picture to set side by side")
    height = max(image.shape[0] for image in images)
    parts: list[np.ndarray] = []
    for image in images:
        if parts:
            parts.append(np.full((height, gap, 3), paper, np.uint8))
        below = np.full((height - image.shape[0], image.shape[1], 3), paper, np.uint8)
        parts.append(np.concatenate([image, below], axis=0))
    return np.concatenate(parts, axis=1)


def above(images: Sequence[np.ndarray], *, gap: int = 4, paper: Color = INK) -> np.ndarray:
    """Set pictures one above the other, the narrow ones filled up with paper on the right."""
    turned = [checked_image(image).transpose(1, 0, 2) for image in images]
    return np.ascontiguousarray(beside(turned, gap=gap, paper=paper).transpose(1, 0, 2))


def contact_sheet(frames: np.ndarray, *, columns: int = 8, scale: int = 1, gap: int = 2) -> np.ndarray:
    """Lay frames [N, H, W, 3] out in rows of `columns`, left to right, top to bottom."""
    if len(frames) == 0 or columns < 1:
        raise ValueError(f"a contact sheet needs at least one frame and one column, got {len(frames)} and {columns}")
    cells = [upscale(frame, scale) for frame in frames]
    rows = [beside(cells[start : start + columns], gap=gap) for start in range(0, len(cells), columns)]
    return above(rows, gap=gap)


def strip(frames: np.ndarray) -> np.ndarray:
    """Join frames [N, H, W, 3] into one long picture [H, N*W, 3] without gaps, as the report's player wants them."""
    return np.concatenate([checked_image(frame) for frame in frames], axis=1)


def line_plot(
    values: Numbers,
    *,
    size: tuple[int, int],
    title: str,
    upper: float | None = None,
    length: int | None = None,
    threshold: float | None = None,
    color: Color = DESIGNATED,
) -> np.ndarray:
    """Draw values over their index as a small chart on a dark ground.

    Args:
        values: the values so far; those that are not finite leave a gap.
        size: (height, width) of the picture.
        title: a short title, the unit included.
        upper: the value at the top of the chart; the largest value when None. The bottom is 0.
        length: how many values the width stands for; all of `values` when None.
        threshold: a value drawn as a thin green line, for example the tolerance.
        color: of the line.

    Returns:
        [height, width, 3] uint8.
    """
    height, width = size
    picture = Image.new("RGB", (width, height), INK)
    draw = ImageDraw.Draw(picture)
    small = ImageFont.load_default(11)
    finite = [value for value in values if np.isfinite(value)]
    top = max(upper or 0.0, max(finite, default=0.0), 1e-9) * 1.05
    left, right, ceiling, floor = 42, width - 8, 22, height - 16
    steps = max((length or len(values)) - 1, 1)

    def place(index: float, value: float) -> tuple[float, float]:
        return left + (right - left) * index / steps, floor - (floor - ceiling) * value / top

    for value in ticks(0.0, top, count=3):
        y = place(0, value)[1]
        draw.line((left, y, right, y), fill=(62, 68, 80))
        draw.text((4, y - 7), f"{value:.6g}", font=small, fill=(150, 158, 172))
    if threshold is not None:
        y = place(0, threshold)[1]
        draw.line((left, y, right, y), fill=GOAL)
    points = [place(index, value) for index, value in enumerate(values) if np.isfinite(value)]
    if len(points) > 1:
        draw.line(points, fill=color, width=2, joint="curve")
    if points:
        x, y = points[-1]
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
    draw.text((left, 3), title, font=ImageFont.load_default(12), fill=PAPER)
    return np.asarray(picture)


def _dimmed(image: np.ndarray) -> np.ndarray:
    luminance = image.astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return np.repeat(np.round(0.45 * luminance).astype(np.uint8)[..., None], 3, axis=2)


def _blend(image: np.ndarray, over: np.ndarray, share: np.ndarray) -> np.ndarray:
    mixed = image.astype(np.float32) * (1.0 - share) + over.astype(np.float32) * share
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def _line(scale: int) -> int:
    return max(1, round(scale / 2))


def _place(pixel: Numbers, scale: int) -> tuple[float, float]:
    """Return the (x, y) on the enlarged picture of the centre of a frame's pixel."""
    row, col = (float(value) for value in pixel)
    return (col + 0.5) * scale - 0.5, (row + 0.5) * scale - 0.5


def _draw(image: np.ndarray, pixel: Numbers, scale: int, mark) -> np.ndarray:
    picture = Image.fromarray(checked_image(image).copy())
    if np.isfinite(np.asarray(pixel, np.float64)).all():  # a pixel that is not known is not drawn
        mark(ImageDraw.Draw(picture), *_place(pixel, scale))
    return np.asarray(picture)


def _cross(draw: ImageDraw.ImageDraw, x: float, y: float, size: float, color: Color, width: int) -> None:
    for fill, thick in ((INK, width + 2), (color, width)):
        draw.line((x - size, y - size, x + size, y + size), fill=fill, width=thick)
        draw.line((x - size, y + size, x + size, y - size), fill=fill, width=thick)


def _ring(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, color: Color, width: int) -> None:
    for fill, thick, grow in ((INK, width + 2, 1), (color, width, 0)):
        outer = radius + grow
        draw.ellipse((x - outer, y - outer, x + outer, y + outer), outline=fill, width=thick)


def _flag(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, color: Color, width: int) -> None:
    pole, cloth = 2.2 * radius, 0.9 * radius
    draw.line((x, y, x, y - pole), fill=INK, width=width + 1)
    draw.polygon(
        [(x, y - pole), (x + 1.4 * cloth, y - pole + cloth / 2), (x, y - pole + cloth)], fill=color, outline=INK
    )
