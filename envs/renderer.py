"""Pictures by ray casting on the CPU: no display, no OpenGL, and the same pixels in every process.

`mujoco.mj_multiRay` finds what each ray hits, NumPy shades it. What makes it fast: the empty bin is traced and shaded
once; later only rays inside the outlines of moving geoms are cast, and shadow rays only where a shadow can fall; each
of a pixel's samples looks at another point of the lamp, so averaging them (needed anyway against jagged edges) also
softens the shadows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from visual_foresight.envs.camera import Camera
from visual_foresight.envs.physics import ARM_GROUP, FOREARM_GROUP, OBJECT_GROUP, STATIC_GROUP, Physics
from visual_foresight.envs.scene import BIN_HALF_SIZE

_LAMP = np.array([-0.45, -0.45, 1.60])  # [m] left of the camera
_LAMP_RADIUS = 0.13  # [m]
_LAMP_STRENGTH = 0.80
_AMBIENT, _AMBIENT_UP, _AMBIENT_FRONT = (
    0.24,
    0.14,
    0.22,
)  # light from everywhere, from above, and from the camera's side
_TABLE = (0.66, 0.54, 0.40)
_BENCH = (0.16, 0.17, 0.19)
_SHADOW_BIAS = 1e-4  # [m] shadow rays end just above a surface, so that it does not shadow itself


def _groups(*members: int) -> np.ndarray:
    groups = np.zeros(6, np.uint8)
    groups[list(members)] = 1
    return groups


_MOVING = _groups(OBJECT_GROUP, ARM_GROUP, FOREARM_GROUP)
_CASTING = _groups(OBJECT_GROUP, ARM_GROUP)  # the forearm casts none: a dark bar would sweep over the whole bin


@dataclass(frozen=True)
class Lighting:
    """How the bin is lit.

    Args:
        brightness: factor on all light; 1 is the light of the data.
        turn: of the lamp about the vertical through the middle of the bin [degrees].
    """

    brightness: float = 1.0
    turn: float = 0.0

    @property
    def lamp(self) -> np.ndarray:
        """Where the middle of the lamp is `[3]` [m]."""
        if not self.turn:
            return _LAMP  # a cosine of 1 would not spare the last bit
        cosine, sine = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
        x, y, z = (float(value) for value in _LAMP)
        return np.array([cosine * x - sine * y, sine * x + cosine * y, z])


@dataclass(frozen=True, eq=False)
class _EmptyBin:
    """What every sample `[S]` sees when nothing is in the bin, in linear light."""

    distance: np.ndarray  # [S] to the hit
    point: np.ndarray  # [S, 3] of the hit, lifted off the surface
    reached: np.ndarray  # [S] whether the lamp reaches it
    lit: np.ndarray  # [S, 3] colour
    dark: np.ndarray  # [S, 3] colour in shadow
    pixels: np.ndarray  # [H*W, 3] colour, averaged


class RayRenderer:
    """Draws scenes as one camera sees them.

    Args:
        camera: the view; its height and width are those of the pictures.
        supersampling: samples a pixel along each direction; 2 gives smooth edges.
        shadows: whether objects and the arm cast shadows (about half of the time).
        lighting: brightness, and where the lamp is.

    Raises:
        ValueError: supersampling outside 1..8.
    """

    def __init__(
        self, camera: Camera, *, supersampling: int = 2, shadows: bool = True, lighting: Lighting | None = None
    ):
        """See the class."""
        if not 1 <= supersampling <= 8:
            raise ValueError(f"supersampling must be within 1..8, got {supersampling}")
        self.camera = camera
        self.supersampling = supersampling
        self.shadows = shadows
        self._per_pixel = supersampling**2
        self._eye = np.array(camera.eye)
        self._lighting = lighting or Lighting()
        self._lamp = self._lighting.lamp
        self._lamps = _lamp_points(self._lamp, self._per_pixel)
        self._sample_rays()
        self._empty: _EmptyBin | None = None
        self._model: mujoco.MjModel | None = None

    def render(self, physics: Physics) -> np.ndarray:
        """Picture `[H, W, 3]` uint8 of a scene; its poses must be current (`Physics.refresh`)."""
        model, data = physics.model, physics.data
        empty, count = self._prepare(model, data), self._per_pixel
        centres = data.geom_xpos[self._ball_geom] + self._ball_axis(data) * self._ball_offset[:, None]
        seen = self._pixels_covering(centres, self._ball_radius)
        samples, geom, distance, normal = self._first_hits(model, data, seen, empty)
        point = self._eye + self._rays[samples] * distance[:, None]
        touched = seen
        shadowed = np.empty(0, np.intp)
        light = np.ones(len(samples), np.float32)
        if self.shadows:
            near_shadow = self._pixels_of_shadows(centres[self._ball_casts])
            touched = seen | near_shadow
            light, shadowed = self._cast_shadows(model, data, empty, near_shadow, samples, point, normal)
        pixel = np.flatnonzero(touched)
        slot = np.zeros(len(touched), np.intp)
        slot[pixel] = np.arange(len(pixel))
        # Only touched pixels are averaged again.
        colours = empty.lit.reshape(-1, count, 3)[pixel].reshape(-1, 3)
        colours[slot[shadowed // count] * count + shadowed % count] = empty.dark[shadowed]
        if len(samples):
            colours[slot[samples // count] * count + samples % count] = self._shade(
                point, normal, self._rays[samples], self._albedo[geom], self._gloss[geom], light
            )
        picture = empty.pixels.copy()
        picture[pixel] = colours.reshape(-1, count, 3).mean(axis=1)
        return _encode(picture).reshape(self.camera.height, self.camera.width, 3)

    def _sample_rays(self) -> None:
        """Directions of all samples, those of one pixel side by side."""
        height, width, count = self.camera.height, self.camera.width, self.supersampling
        inner = (np.arange(count) + 0.5) / count - 0.5
        rows, cols, sub_rows, sub_cols = np.meshgrid(np.arange(height), np.arange(width), inner, inner, indexing="ij")
        pixels = np.stack([rows + sub_rows, cols + sub_cols], axis=-1).reshape(-1, 2)
        self._rays = np.ascontiguousarray(self.camera.rays(pixels))  # [S, 3]
        self._lamp_of_sample = np.tile(np.arange(count**2), height * width)  # [S]

    def _prepare(self, model: mujoco.MjModel, data: mujoco.MjData) -> _EmptyBin:
        if self._empty is None:
            self._empty = self._draw_empty_bin(model, data)
        if model is self._model:
            return self._empty
        self._ball_geom, self._ball_offset, self._ball_radius, self._ball_column = _bounding_balls(model)
        self._ball_casts = _CASTING[model.geom_group[self._ball_geom]].astype(bool)
        self._albedo = (model.geom_rgba[:, :3] ** 2).astype(np.float32)
        self._gloss = np.where(model.geom_group == OBJECT_GROUP, 0.12, 0.22).astype(np.float32)
        self._model = model
        return self._empty

    def _ball_axis(self, data: mujoco.MjData) -> np.ndarray:
        frames = data.geom_xmat.reshape(-1, 3, 3)
        return frames[self._ball_geom, :, self._ball_column]

    def _draw_empty_bin(self, model: mujoco.MjModel, data: mujoco.MjData) -> _EmptyBin:
        geom, distance, normal = _cast(model, data, self._eye, self._rays, _groups(STATIC_GROUP))
        if np.any(geom < 0):
            raise ValueError("the camera sees past the table; lower its field of view or its horizon")
        point = self._eye + self._rays * distance[:, None]
        albedo = (model.geom_rgba[geom, :3] ** 2).astype(np.float64)
        floor = geom == model.geom("floor").id
        inside = floor & (np.abs(point[:, :2]) <= BIN_HALF_SIZE).all(axis=1)
        albedo[floor] = np.square(_BENCH)
        albedo[inside] = _table_colour(point[inside])
        lifted = point + _SHADOW_BIAS * normal
        light = np.ones(len(point), np.float32)
        if self.shadows:
            light = self._light(model, data, lifted, self._lamp_of_sample, _groups(STATIC_GROUP))
        gloss = np.zeros(len(point))
        lit = self._shade(point, normal, self._rays, albedo, gloss, light)
        dark = self._shade(point, normal, self._rays, albedo, gloss, np.zeros_like(light))
        pixels = lit.reshape(-1, self._per_pixel, 3).mean(axis=1)
        return _EmptyBin(distance, lifted, light > 0, lit, dark, pixels)

    def _first_hits(self, model, data, pixels, empty):
        """Samples in front of the empty bin: their indices, geoms, distances and normals."""
        samples = self._samples_of(pixels)
        geom, distance, normal = _cast(model, data, self._eye, self._rays[samples], _MOVING)
        front = np.flatnonzero((geom >= 0) & (distance < empty.distance[samples]))
        return samples[front], geom[front], distance[front], normal[front]

    def _cast_shadows(self, model, data, empty, near_shadow, samples, point, normal):
        """Light `[N]` on the moving geoms' samples, and the samples of the empty bin that now lie in shadow."""
        candidates = self._samples_of(near_shadow)
        open_to_lamp = empty.reached.copy()
        open_to_lamp[samples] = False  # covered by a moving geom
        candidates = candidates[open_to_lamp[candidates]]
        facing = np.flatnonzero(((self._lamp - point) * normal).sum(axis=1) > 0)
        ends = np.concatenate([empty.point[candidates], point[facing] + 2 * _SHADOW_BIAS * normal[facing]])
        lamps = self._lamp_of_sample[np.concatenate([candidates, samples[facing]])]
        reached = self._light(model, data, ends, lamps, _CASTING)
        light = np.zeros(len(samples), np.float32)
        light[facing] = reached[len(candidates) :]
        return light, candidates[reached[: len(candidates)] == 0]

    def _light(self, model, data, points, lamps, groups) -> np.ndarray:
        """1 where the sample's point of the lamp reaches `points` `[N, 3]`, else 0."""
        light = np.ones(len(points), np.float32)
        for index, lamp in enumerate(self._lamps):  # rays of one call share their origin, so they start at the lamp
            chosen = np.flatnonzero(lamps == index)
            geom, distance, _ = _cast(model, data, lamp, points[chosen] - lamp, groups, normals=False)
            light[chosen[(geom >= 0) & (distance < 1 - 1e-6)]] = 0
        return light

    def _shade(self, *surface: np.ndarray) -> np.ndarray:
        return _shade(self._lighting, *surface)

    def _samples_of(self, pixels: np.ndarray) -> np.ndarray:
        return (np.flatnonzero(pixels)[:, None] * self._per_pixel + np.arange(self._per_pixel)).ravel()

    def _pixels_of_shadows(self, centres: np.ndarray) -> np.ndarray:
        """Pixels `[H*W]` of the table that the shadows of balls can reach."""
        lamp = self._lamp
        stretch = lamp[2] / np.maximum(lamp[2] - centres[:, 2], 0.3)
        ground = lamp + (centres - lamp) * stretch[:, None]
        penumbra = _LAMP_RADIUS * (stretch - 1)
        # A slanting shadow is longer than the ball that casts it; 1.15 covers the steepest one inside the bin.
        return self._pixels_covering(ground, self._ball_radius[self._ball_casts] * stretch * 1.15 + penumbra)

    def _pixels_covering(self, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Pixels `[H*W]` inside the screen boxes of balls."""
        height, width = self.camera.height, self.camera.width
        middle = self.camera.project(centres)
        depth = -((centres - self._eye) * self.camera.axes[2]).sum(axis=1)
        reach = radii / np.sqrt(np.maximum(depth**2 - radii**2, 1e-4)) * self.camera.focal * 1.06 + 0.6
        low = np.ceil(middle - reach[:, None]).astype(int).clip(0)
        high = (np.floor(middle + reach[:, None]).astype(int) + 1).clip(0)
        mask = np.zeros((height, width), bool)
        for (top, left), (bottom, right) in zip(low.tolist(), high.tolist(), strict=True):
            mask[top:bottom, left:right] = True
        return mask.ravel()


def _cast(model, data, origin, rays, groups, *, normals=True):
    """Nearest geom `[N]` (-1: none), distance `[N]` in ray lengths and surface normal `[N, 3]` along rays `[N, 3]`."""
    count = len(rays)
    geom, distance = np.full(count, -1, np.int32), np.empty(count)
    normal = np.empty(3 * count) if normals else None
    if count:
        flat = np.ascontiguousarray(rays).reshape(-1)
        mujoco.mj_multiRay(model, data, origin, flat, groups, 1, -1, geom, distance, normal, count, mujoco.mjMAXVAL)
    return geom, distance, None if normal is None else normal.reshape(count, 3)


def _lamp_points(lamp: np.ndarray, count: int) -> np.ndarray:
    """Points `[count, 3]` spread over the round lamp by the golden angle."""
    if count == 1:
        return lamp[None]
    index = np.arange(count)
    angle, radius = index * math.pi * (3 - math.sqrt(5)), np.sqrt((index + 0.5) / count) * _LAMP_RADIUS
    return lamp + np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(count)], axis=1)


def _shade(lighting, point, normal, ray, albedo, gloss, light) -> np.ndarray:
    """Linear colours `[N, 3]` float32: ambient light, a diffuse lamp, a small highlight (Blinn-Phong)."""
    point, normal, ray = (np.asarray(value, np.float32) for value in (point, normal, ray))
    to_lamp = lighting.lamp.astype(np.float32) - point
    to_lamp /= np.sqrt((to_lamp**2).sum(axis=1, keepdims=True))
    diffuse = np.maximum((normal * to_lamp).sum(axis=1), 0) * light
    half = to_lamp - ray
    highlight = np.maximum((normal * half).sum(axis=1), 0) ** 2 / (half**2).sum(axis=1)
    highlight = highlight**16
    ambient = _AMBIENT + _AMBIENT_UP * normal[:, 2] + _AMBIENT_FRONT * np.maximum(-normal[:, 1], 0)
    colour = np.asarray(albedo, np.float32) * (ambient + _LAMP_STRENGTH * diffuse)[:, None]
    colour = colour + (np.asarray(gloss, np.float32) * highlight * diffuse)[:, None]
    return colour * np.float32(lighting.brightness)


def _table_colour(point: np.ndarray) -> np.ndarray:
    """Linear colours `[N, 3]` of wooden boards with a faint grain, darker along the foot of the walls."""
    x, y = point[:, 0], point[:, 1]
    board = np.floor((y + BIN_HALF_SIZE) / 0.1)
    tone = 0.05 * np.sin(board * 2.3 + 0.7)
    grain = 0.03 * np.sin(y * 190 + 1.5 * np.sin(x * 11 + board * 2.1)) + 0.02 * np.sin(x * 23 + board * 5.0)
    seam = np.abs(np.mod((y + BIN_HALF_SIZE) / 0.1 + 0.5, 1) - 0.5) < 0.012
    corner = 1 - 0.28 * np.exp(-(BIN_HALF_SIZE - np.abs(point[:, :2]).max(axis=1)) / 0.02)
    brightness = (1 + tone + grain) * np.where(seam, 0.80, 1.0) * corner
    return np.square(_TABLE) * brightness[:, None]


def _bounding_balls(model: mujoco.MjModel):
    """Every moving geom as a row of balls: geom, offset along an axis [m], radius [m], axis index; each `[B]`."""
    balls = []
    for geom in np.flatnonzero(_MOVING[model.geom_group]):
        size, kind = model.geom_size[geom], model.geom_type[geom]
        if kind == mujoco.mjtGeom.mjGEOM_BOX:
            half = size.copy()
        elif kind == mujoco.mjtGeom.mjGEOM_SPHERE:
            half = np.full(3, size[0])
        else:  # capsule or cylinder along z
            half = np.array([size[0], size[0], size[1] + (size[0] if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else 0)])
        axis = int(np.argmax(half))
        round_about_axis = kind != mujoco.mjtGeom.mjGEOM_BOX and axis == 2
        across = size[0] if round_about_axis else math.hypot(*np.delete(half, axis))
        if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
            across, half[axis] = 0.0, size[0]
            balls.append((geom, 0.0, size[0], axis))
            continue
        count = max(1, math.ceil(half[axis] / max(across, 1e-4)))
        spacing = 2 * half[axis] / count
        radius = math.hypot(across, spacing / 2)
        balls += [(geom, -half[axis] + spacing * (index + 0.5), radius, axis) for index in range(count)]
    geoms, offsets, radii, axes = (np.array(column) for column in zip(*balls, strict=True))
    return geoms, offsets, radii, axes


def _encode(colours: np.ndarray) -> np.ndarray:
    """Linear light to bytes, gamma 2."""
    return (np.sqrt(np.clip(colours, 0, 1)) * 255 + 0.5).astype(np.uint8)
