"""Worlds that differ from the one of the training data: how much does control lose when looks or matter change?

Each shift has a strength; strength 0 is the unshifted environment to the last bit. Tasks stay what they are: objects
begin in the same places, goals are the same places on the table in metres, and a shift draws from no generator of the
environment.

| shift | unit | changes the picture at the start | changes the dynamics |
|---|---|---|---|
| `colour`, `light`, `lamp`, `camera_yaw`, `camera_pitch`, `camera_pan`, `camera_tilt` | | yes | no |
| `mass`, `friction` | doublings | no | yes |
| `distractor` | objects | yes | where something touches it |

Under a moved camera everything in pixels belongs to the moved camera: goal pixels, `info`, the 3 px of success
(measured along the true projection) and the map from the finger's position to its pixel that planners get from the
environment: they are told where the camera is, as a calibrated robot would be. The predictor is not told. Where
the camera of its data is known, `plan` brings the pictures there (`planners.Rectification`), unless `--no_rectify`.
"""

from __future__ import annotations

import colorsys
import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight.envs.camera import Camera
from visual_foresight.envs.scene import MAX_OBJECTS, Scene, SceneObject, add_object
from visual_foresight.wording import did_you_mean

if TYPE_CHECKING:
    from visual_foresight.envs.renderer import Lighting
    from visual_foresight.envs.tasks import Task

__all__ = [
    "SHIFTS",
    "UNSHIFTED",
    "AppliedShift",
    "Shift",
    "apply_shift",
    "choose_shifts",
    "make_shifted",
    "parse_shift",
]

_TABLE = np.array([0.66, 0.54, 0.40])
_FROM_TABLE = 0.3  # a colour nearer than this to the table's would test eyesight, not robustness
_COLOUR_STREAM, _DISTRACTOR_STREAM = 0xC0, 0xD1


@dataclass(frozen=True)
class Shift:
    """One way in which a world can differ.

    Args:
        name: of the shift.
        description: what it changes.
        unit: of the strength.
        strengths: which are tried when none is named; without 0.
        low: smallest strength.
        high: largest strength.
        changes_picture: whether the first picture of an episode differs.
        changes_dynamics: whether the same actions move things differently.
        whole: whether strengths are whole numbers.
    """

    name: str
    description: str
    unit: str
    strengths: tuple[float, ...]
    low: float
    high: float
    changes_picture: bool
    changes_dynamics: bool
    whole: bool = False


def _picture(name: str, description: str, unit: str, strengths: tuple[float, ...], low: float, high: float) -> Shift:
    return Shift(name, description, unit, strengths, low, high, changes_picture=True, changes_dynamics=False)


_ALL = (
    _picture("colour", "each object's colour is mixed with a random one", "share of it", (0.5, 1.0), 0.0, 1.0),
    _picture("light", "all light is brighter or darker", "relative", (-0.3, 0.3), -0.9, 2.0),
    _picture("lamp", "the lamp is turned about the bin: shadows fall elsewhere", "degrees", (-30, 30), -180, 180),
    _picture("camera_yaw", "the camera is moved sideways around the bin, looking at it", "degrees", (-3, 3), -20, 20),
    _picture(
        "camera_pitch", "the camera is raised (above 0) or lowered, looking at the bin", "degrees", (-3, 3), -20, 15
    ),
    _picture("camera_pan", "the camera turns sideways where it stands; 1 degree is 2.9 px", "degrees", (-1, 1), -4, 4),
    _picture("camera_tilt", "the camera nods where it stands; 1 degree is 2.9 px", "degrees", (-1, 1), -4, 4),
    Shift("mass", "objects weigh more or less; 1 is twice, -1 half", "doublings", (-1, 1), -3, 3, False, True),
    Shift("friction", "objects rub more or less on the table; 1 is twice", "doublings", (-1, 1), -3, 2, False, True),
    Shift(
        "distractor", "one more object, of a novel shape, aside of the task", "objects", (1,), 0, 1, True, True, True
    ),
)

SHIFTS: dict[str, Shift] = {shift.name: shift for shift in _ALL}
"""Every known shift by name."""


@dataclass(frozen=True)
class AppliedShift:
    """A shift at a strength: what becomes of a camera, of the light, of a scene.

    Args:
        name: in `SHIFTS`, or "" for none.
        strength: in the unit of the shift.

    Raises:
        ValueError: unknown name, or a strength outside the range of the shift.
    """

    name: str = ""
    strength: float = 0.0

    def __post_init__(self) -> None:
        """Check name and strength."""
        if not self.name and not self.strength:
            return
        if self.name not in SHIFTS:
            hint = did_you_mean(self.name, SHIFTS)
            raise ValueError(f"unknown shift {self.name!r}; known shifts: {', '.join(SHIFTS)}{hint}")
        shift, strength = SHIFTS[self.name], float(self.strength)
        if not (math.isfinite(strength) and shift.low <= strength <= shift.high):
            raise ValueError(
                f"shift {self.name!r} takes a strength from {shift.low:g} to {shift.high:g} ({shift.unit}), "
                f"got {self.strength!r}"
            )
        if shift.whole and strength != round(strength):
            raise ValueError(f"shift {self.name!r} takes whole numbers ({shift.unit}), got {self.strength!r}")
        object.__setattr__(self, "strength", strength)

    def __str__(self) -> str:
        """As `parse_shift` reads it."""
        return f"{self.name}={self.strength:g}" if self.name else "none"

    @property
    def changes_drawing(self) -> bool:
        """Whether camera or light differ."""
        return bool(self.strength) and self.name.startswith(("camera_", "light", "lamp"))

    def camera(self, camera: Camera) -> Camera:
        """The camera of the shifted world."""
        if not (self.strength and self.name.startswith("camera_")):
            return camera
        kind = self.name.removeprefix("camera_")
        if kind in ("yaw", "pitch"):
            away = _turned(np.subtract(camera.eye, camera.target), camera, self.strength, upward=kind == "pitch")
            return replace(camera, eye=_triple(np.add(camera.target, away)))
        ahead = _turned(np.subtract(camera.target, camera.eye), camera, self.strength, upward=kind == "tilt")
        return replace(camera, target=_triple(np.add(camera.eye, ahead)))

    def lighting(self) -> Lighting:
        """The light of the shifted world."""
        from visual_foresight.envs.renderer import Lighting  # needs MuJoCo; the list of shifts does not

        if self.name == "light":
            return Lighting(brightness=1.0 + self.strength)
        return Lighting(turn=self.strength if self.name == "lamp" else 0.0)

    def scene(self, scene: Scene, task: Task | None = None) -> Scene:
        """The scene in the shifted world; objects keep their places and numbers.

        Args:
            scene: of the unshifted world.
            task: a distractor keeps clear of its goal, and of the place from which its object is pushed there.

        Raises:
            ValueError: there is no room for the distractor.
        """
        if not self.strength or self.name not in ("colour", "mass", "friction", "distractor"):
            return scene
        if self.name == "distractor":
            return _with_distractor(scene, task)
        if self.name == "colour":
            return _recoloured(scene, self.strength)
        factor = 2.0**self.strength
        return replace(
            scene,
            objects=tuple(replace(item, **{self.name: getattr(item, self.name) * factor}) for item in scene.objects),
        )

    def reached(self, task: Task, position: np.ndarray, height: float) -> bool:
        """Whether an object's centre x, y is within the tolerance of the goal, in this world's 64 x 64 picture."""
        if not (self.strength and self.name.startswith("camera_")):
            return task.reached(position, height)
        from visual_foresight.envs.camera import PUSH_CAMERA
        from visual_foresight.envs.tasks import SUCCESS_PIXELS

        camera = self.camera(PUSH_CAMERA)
        here, goal = camera.project(np.array([[*position, height], [*task.goal_position, height]]))
        return math.dist(here, goal) <= SUCCESS_PIXELS


UNSHIFTED = AppliedShift()


def apply_shift(env: Any, name: str, strength: float) -> Any:
    """Changes the world of an environment; call `reset()` next. The shift before it, if any, is taken back.

    Args:
        env: `VisualForesight/Push-v0`, wrapped or not.
        name: in `SHIFTS`.
        strength: 0 is the unshifted world.

    Returns:
        The same environment.

    Raises:
        TypeError: the environment is no `PushEnv`.
        ValueError: unknown shift, strength out of range, or a renderer that cannot draw it.
    """
    unwrapped = getattr(env, "unwrapped", env)
    if not hasattr(unwrapped, "set_shift"):
        raise TypeError(f"a shift needs a PushEnv, got {type(unwrapped).__name__}")
    unwrapped.set_shift(AppliedShift(name, strength))
    return env


def make_shifted(name: str, strength: float, **options: Any) -> Any:
    """`gymnasium.make("VisualForesight/Push-v0", **options)` in a shifted world."""
    import gymnasium

    from visual_foresight.envs.registration import PUSH_ID, register

    register()
    return apply_shift(gymnasium.make(PUSH_ID, **options), name, strength)


def parse_shift(text: str) -> tuple[str, float]:
    """Name and strength of `"NAME=STRENGTH"`.

    Raises:
        ValueError: not of that form, unknown name, or a strength out of range.
    """
    name, equals, number = text.partition("=")
    try:
        shift = AppliedShift(name.strip(), float(number) if equals else 0.0)
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        raise ValueError(f"strength of shift {name!r} must be a number, got {number!r}; write NAME=STRENGTH") from error
    if not equals:
        raise ValueError(f"shift {text!r} lacks a strength; write {text}={SHIFTS[shift.name].strengths[-1]:g}")
    return shift.name, shift.strength


def choose_shifts(text: str) -> list[tuple[str, float]]:
    """Names and strengths that a text asks for.

    Args:
        text: parts between commas: `NAME=STRENGTH`, `NAME` (its usual strengths), or `all`.

    Raises:
        ValueError: unknown name or strength.
    """
    chosen: list[tuple[str, float]] = []
    for part in text.split(","):
        name = part.strip()
        if name.partition("=")[0].strip() == "all" and "=" in name:
            raise ValueError(f"shift {name!r}: all takes each shift at its usual strengths, and no strength of its own")
        if "=" in name:
            chosen.append(parse_shift(name))
        elif name == "all":
            chosen += [(shift.name, strength) for shift in _ALL for strength in shift.strengths]
        else:
            AppliedShift(name, 0.0 if name in SHIFTS else math.nan)  # refuses unknown names, the empty one too
            chosen += [(name, float(strength)) for strength in SHIFTS[name].strengths]
    return chosen


# ---- cameras --------------------------------------------------------------------------------------------------------


def _turned(vector: np.ndarray, camera: Camera, degrees: float, *, upward: bool) -> np.ndarray:
    """A vector `[3]` turned about the camera's right axis, or about the vertical."""
    axis = -camera.axes[0] if upward else np.array([0.0, 0.0, 1.0])
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along = (axis * vector).sum() * axis
    return along + cosine * (vector - along) + sine * np.cross(axis, vector)


def _triple(point: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in point)
    return x, y, z


# ---- scenes ---------------------------------------------------------------------------------------------------------


def _generator(scene: Scene, stream: int) -> np.random.Generator:
    """Randomness that belongs to the scene: the same scene is always shifted alike, and no other generator moves."""
    digest = hashlib.sha256(json.dumps(scene.to_json(), sort_keys=True).encode()).digest()
    return np.random.default_rng([stream, int.from_bytes(digest[:8], "little")])


def _recoloured(scene: Scene, share: float) -> Scene:
    rng = _generator(scene, _COLOUR_STREAM)
    return replace(scene, objects=tuple(_mixed(item, _random_colour(rng, item), share) for item in scene.objects))


def _random_colour(rng: np.random.Generator, item: SceneObject) -> np.ndarray:
    """A colour that keeps apart from the table's, and whose mixtures with the object's own do, too."""
    drawn = [np.array(colorsys.hsv_to_rgb(rng.random(), *rng.uniform(0.3, 1, 2))) for _ in range(40)]
    shares = np.linspace(0, 1, 9)[:, None]
    mixtures = (1 - shares) * np.asarray(item.colour) + shares * np.array(drawn)[:, None]  # [40, 9, 3]
    distance = np.sqrt(((mixtures - _TABLE) ** 2).sum(axis=-1)).min(axis=1)
    return drawn[int(np.argmax(distance > min(_FROM_TABLE, distance.max() - 1e-9)))]


def _mixed(item: SceneObject, colour: np.ndarray, share: float) -> SceneObject:
    return replace(item, colour=_triple((1 - share) * np.asarray(item.colour) + share * colour))


def _with_distractor(scene: Scene, task: Task | None) -> Scene:
    if len(scene.objects) >= MAX_OBJECTS:
        raise ValueError(f"no room for a distractor: the scene has {MAX_OBJECTS} objects already; use fewer")
    rng = _generator(scene, _DISTRACTOR_STREAM)
    for _ in range(50):
        larger = add_object(scene, rng, split="novel")
        if larger is not None and (task is None or task.reachable_in(larger)):
            return larger
    raise ValueError(f"no room for a distractor among {len(scene.objects)} objects; use fewer")
