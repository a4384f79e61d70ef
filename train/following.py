"""Points followed from one true frame to the next: a teacher for motion that needs no labels.

A frame of the wrong colours says little about how far an object was pushed: drawn a pixel beside its place it costs
next to nothing, blurred it costs less. But the true next frame is there, and a predictor that is a pixel or two off is
a good guess of where to look in it. So the patch around a point is registered: turned and shifted, from the
predictor's guess on, until it lies on the next frame. Half of the points of pushed objects are then known to 0.2 px
(`benchmarks/followed_points.py`), and the predictor is told how badly its maps foretold them.

Source: B. D. Lucas and T. Kanade, "An iterative image registration technique", IJCAI 1981, with rotation, and with the
weights of Geman and McClure against what hides a part of the patch.
Letters: B windows, P points of a window, N places of a patch, H rows, W columns, C colours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from visual_foresight.predictor.fusing import fuse
from visual_foresight.unrolling import mean_places

# The patch: every second pixel of a square, weighed by a Gaussian as wide as a small object.
_REACH, _SPACING, _WIDTH = 8, 2, 4.0
# Frames are blurred, first more: a blurred edge is felt from farther away.
_BLURS = (1.5, 0.7)
_ITERATIONS = 5
# Colour differences (the norm, of 1) far above this count as something else that came before the patch.
_RESIDUAL = 0.08
_LONGEST_STEP = 1.5
_RIDGE = 1e-3
# A place is believed where the patch is as like as this (of 1) to what it was, and holds as firmly; an even table
# does not.
_MOST_DOUBT, _LEAST_TEXTURE = 0.3, 2e-3
# Farther than this from the guess [px] it is no correction but another thing.
_FARTHEST = 4.0


def point_maps(points: Any, height: int, width: int) -> Any:
    """[B, H, W, P]: a map for each of the points [B, P, 2], whole numbers; without mass for one outside the image."""
    places = ops.cast(points, "int32")
    rows, columns = (ops.one_hot(places[..., axis], size) for axis, size in ((0, height), (1, width)))
    return ops.einsum("bph,bpw->bhwp", rows, columns)


def map_scores(frames: Any, points: Any, maps: Any) -> Any:
    """How badly predicted maps foretold where points really went.

    Args:
        frames: [B, N+1, H, W, C] true frames, the first one that of the points.
        points: [B, P, 2]; below 0: none.
        maps: [B, N, H, W, P], each sums to 1 over H and W.

    Returns:
        [B, N]: ranked probability scores [px] of the maps of points that were found, weighed so that the mean over B is
        the mean over these points.
    """
    weight = ops.cast(points[..., 0] >= 0, "float32")
    places, means = points, points
    blurred = [[_blurred(frame, blur) for frame in ops.unstack(frames, axis=1)] for blur in _BLURS]
    scores = []
    for step, each in enumerate(ops.unstack(maps, axis=1)):  # the gradient of slices would be whole arrays
        guessed = mean_places(each)
        guess = places + guessed - means
        found, doubt, texture = _register([(series[step], series[step + 1]) for series in blurred], places, guess)
        weight = ops.where(believed(found, guess, doubt, texture), weight, 0.0)
        total = ops.mean(ops.sum(weight, axis=1))
        scores.append(ops.sum(weight * ranked_scores(each, found), axis=1) / (total + 1e-3))
        places, means = found, guessed
    return ops.stack(scores, axis=1)


def ranked_scores(maps: Any, places: Any) -> Any:
    """[B, P] in pixels: ranked probability scores of maps [B, H, W, P] at places [B, P, 2], rows and columns summed.

    The integral of the squared difference between the map's share above a line and whether the place lies above it. A
    map of one pixel is charged its distance from the place; and the mean is lowest for a map with the true chances of
    rows and of columns. Charged with the expected distance instead, maps shrink to the likeliest pixel however
    uncertain it is, and a planner no longer sees which pushes are (docs/control.md, round 11).

    Source: J. E. Matheson and R. L. Winkler, "Scoring rules for continuous probability distributions", Management
    Science 22, 1976.
    """
    total = 0.0
    for axis in (0, 1):
        shares = ops.cumsum(ops.sum(maps, axis=2 - axis), axis=1)  # [B, H or W, P]: above the line under each row
        lines = ops.arange(maps.shape[1 + axis], dtype="float32") + 0.5
        above = ops.clip(lines[None, :, None] - places[:, None, :, axis] + 0.5, 0.0, 1.0)
        total = total + ops.sum(ops.square(shares - above), axis=1)
    return total


def believed(places: Any, guesses: Any, doubt: Any, texture: Any) -> Any:
    """[B, P] bool: which of the places that `register` found from these guesses are certain enough to teach."""
    near = ops.sum(ops.square(places - guesses), axis=-1) <= _FARTHEST**2
    return (doubt < _MOST_DOUBT) & (texture > _LEAST_TEXTURE) & near


def register(before: Any, after: Any, points: Any, guesses: Any) -> tuple[Any, Any, Any]:
    """Find points of one frame in another.

    Args:
        before: [B, H, W, C] float32 in [0, 1].
        after: [B, H, W, C], a little later.
        points: [B, P, 2] (row, column) in pixels, on `before`.
        guesses: [B, P, 2], about where they are on `after`: wrong by 3 px or less.

    Returns:
        (places [B, P, 2] on `after`; doubt [B, P] from 0 to 1, how unlike the patch is to what is there now;
        texture [B, P], how firmly the patch holds its place in the direction in which it does so least). No
        gradient flows through any of them.
    """
    pairs = [(_blurred(before, blur), _blurred(after, blur)) for blur in _BLURS]
    return _register(pairs, points, guesses)


def _register(pairs: list[tuple[Any, Any]], points: Any, guesses: Any) -> tuple[Any, Any, Any]:
    """As `register`, with the two frames under each of the blurs."""
    points, shift = ops.stop_gradient(points), ops.stop_gradient(guesses - points)
    angle = ops.zeros_like(points[..., :1])
    doubt = texture = None
    for before, after in pairs:
        values = _fit(ops.stop_gradient(before), ops.stop_gradient(after), points, shift, angle)
        shift, angle, doubt, texture = (ops.stop_gradient(value) for value in values)
    return points + shift, doubt, texture


@fuse
def _fit(before: Any, after: Any, points: Any, shift: Any, angle: Any) -> tuple[Any, Any, Any, Any]:
    """Shift [B, P, 2] and angle [B, P, 1] in some Gauss-Newton steps; then doubt and texture [B, P]."""
    offsets = _offsets()
    nearness = np.exp(-0.5 * np.sum(offsets**2, axis=-1) / _WIDTH**2)  # [N]
    patch = _around(before, points[:, :, None] + offsets)
    table = _with_slopes(after)
    for _ in range(_ITERATIONS):
        residual, slopes, strange = _compare(table, patch, points + shift, angle, offsets)
        step = _step(residual, slopes, nearness / ops.square(1 + strange))
        length = ops.sqrt(ops.sum(ops.square(step[..., :2]), axis=-1, keepdims=True) + 1e-12)
        step = step * ops.minimum(1.0, _LONGEST_STEP / length)
        shift, angle = shift - step[..., :2], angle - step[..., 2:]
    _, slopes, strange = _compare(table, patch, points + shift, angle, offsets)
    doubt = ops.sum(nearness * strange / (1 + strange), axis=-1) / nearness.sum()
    return shift, angle, doubt, _weakest(slopes, nearness / nearness.sum())


def _offsets() -> np.ndarray:
    """[N, 2] places of a patch, from its middle."""
    line = np.arange(-_REACH, _REACH + 1, _SPACING, dtype=np.float32)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def _around(images: Any, places: Any) -> Any:
    """Colours [B, P, N, C] of images [B, H, W, C] at places [B, P, N, 2]."""
    count, size = places.shape[1:3]
    colours = _sample(images, ops.reshape(places, (-1, count * size, 2)))
    return ops.reshape(colours, (-1, count, size, images.shape[-1]))


def _sample(images: Any, points: Any) -> Any:
    """Colours between pixels, bilinear; outside an image its rim goes on.

    Args:
        images: [B, H, W, C], of 2 rows and columns at least.
        points: [B, N, 2] (row, column) in pixels.

    Returns:
        [B, N, C] of the images' type.
    """
    height, width, channels = images.shape[1:]
    pixels = ops.reshape(images, (-1, channels))
    last = np.array([height - 1, width - 1], np.float32)
    points = ops.clip(points, 0.0, last)
    first = ops.minimum(ops.floor(points), last - 1)
    index = ops.cast(first[..., 0] * width + first[..., 1], "int32")  # [B, N]
    index = index + ops.arange(ops.shape(images)[0], dtype="int32")[:, None] * (height * width)
    part = points - first
    down, across = part[..., :1], part[..., 1:]
    # Four look-ups: a table of the four pixels around each pixel would be read seldom, and written whole.
    upper, lower = (
        ops.take(pixels, index + below, axis=0) * (1 - across) + ops.take(pixels, index + below + 1, axis=0) * across
        for below in (0, width)
    )
    return upper * (1 - down) + lower * down


def _blurred(images: Any, width: float) -> Any:
    """Images under a Gaussian of that standard deviation [px]."""
    reach = int(np.ceil(3 * width))
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2).astype(np.float32)
    line = np.tile((line / line.sum())[:, None, None, None], (1, 1, images.shape[-1], 1))
    images = ops.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    images = ops.depthwise_conv(images, ops.convert_to_tensor(line), padding="valid")
    return ops.depthwise_conv(images, ops.convert_to_tensor(line.transpose(1, 0, 2, 3)), padding="valid")


def _with_slopes(images: Any) -> Any:
    """[B, H, W, 3C]: the colours, and how they change along rows and along columns."""
    padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    return ops.concatenate([images, down, across], axis=-1)


def _compare(table: Any, patch: Any, middle: Any, angle: Any, offsets: np.ndarray) -> tuple[Any, tuple, Any]:
    """Differences [B, P, N, C], slopes of rows, columns and angle (each so), and strangeness [B, P, N]."""
    cosine, sine = ops.cos(angle), ops.sin(angle)
    row, column = offsets[:, 0], offsets[:, 1]
    down, across = cosine * row - sine * column, sine * row + cosine * column
    found = _around(table, middle[:, :, None] + ops.stack([down, across], axis=-1))
    colours, by_row, by_column = ops.split(found, 3, axis=-1)
    residual = colours - patch
    turn = by_column * down[..., None] - by_row * across[..., None]
    return residual, (by_row, by_column, turn), ops.sum(ops.square(residual), axis=-1) / _RESIDUAL**2


def _step(residual: Any, slopes: tuple, weights: Any) -> Any:
    """[B, P, 3]: one Gauss-Newton step of rows, columns and angle."""

    def total(first: Any, second: Any) -> Any:
        return ops.sum(weights[..., None] * first * second, axis=(2, 3))

    entries = [total(slopes[row], slopes[column]) for row, column in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    return _solve(entries, [total(slope, residual) for slope in slopes])


def _solve(matrix: list[Any], vector: list[Any]) -> Any:
    """Solve symmetric 3x3 systems with a small ridge, by Cramer's rule.

    Args:
        matrix: the diagonal, then the entries (0, 1), (0, 2) and (1, 2), [...] each.
        vector: three times [...].

    Returns:
        [..., 3].
    """
    a, b, c = (entry + _RIDGE for entry in matrix[:3])
    d, e, f = matrix[3:]
    minors = [b * c - f * f, e * f - d * c, d * f - b * e, a * c - e * e, d * e - a * f, a * b - d * d]
    determinant = a * minors[0] + d * minors[1] + e * minors[2]
    x, y, z = vector
    solution = ops.stack(
        [
            minors[0] * x + minors[1] * y + minors[2] * z,
            minors[1] * x + minors[3] * y + minors[4] * z,
            minors[2] * x + minors[4] * y + minors[5] * z,
        ],
        axis=-1,
    )
    return solution / determinant[..., None]


def _weakest(slopes: tuple, weights: np.ndarray) -> Any:
    """[B, P]: smaller eigenvalue of the mean of slopes' products (Shi and Tomasi 1994, "Good features to track")."""
    first, second, both = (
        ops.sum(weights[:, None] * slopes[row] * slopes[column], axis=(2, 3))
        for row, column in ((0, 0), (1, 1), (0, 1))
    )
    return (first + second) / 2 - ops.sqrt(ops.square(first - second) / 4 + ops.square(both))
