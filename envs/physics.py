"""MuJoCo model of a scene and the few operations on it that the rest needs.

Objects move on x, y, z and yaw: they cannot tilt. Each stands on one contact at its centre of mass whose elliptic
friction cone has a sliding and a turning part, the ellipsoidal limit surface of planar pushing (Goyal, Ruina &
Papadopoulos 1991; Howe & Cutkosky 1996). Besides being the standard model of dry friction under a flat object, it
needs one contact where meshing the foot print needs a dozen. The walls are half spaces: nothing gets out.
"""

from __future__ import annotations

import math
from functools import lru_cache

import mujoco
import numpy as np

from visual_foresight.envs.arm import CONTROL_HZ, STEP_METRES, arm_actuator_xml, arm_body_xml
from visual_foresight.envs.camera import PUSH_CAMERA
from visual_foresight.envs.scene import BIN_HALF_SIZE, MAX_OBJECTS, TIP_LIMIT, Scene, SceneObject

TIMESTEP = 0.004  # [s]
NUM_SUBSTEPS = round(1 / (CONTROL_HZ * TIMESTEP))
WALL_HEIGHT = 0.022  # [m]
WALL_THICKNESS = 0.030  # [m]
TOUCH_METRES = 0.001  # [m]

# The parts of mjSTATE_INTEGRATION that ever change here. The solver's warm start is one of them: without it,
# trajectories that start alike drift apart.
_STATE_SPEC = int(
    mujoco.mjtState.mjSTATE_TIME
    | mujoco.mjtState.mjSTATE_QPOS
    | mujoco.mjtState.mjSTATE_QVEL
    | mujoco.mjtState.mjSTATE_CTRL
    | mujoco.mjtState.mjSTATE_WARMSTART
)
FULL_STATE_SPEC = int(mujoco.mjtState.mjSTATE_FULLPHYSICS)  # what mujoco.rollout starts from and returns
STATE_SIZE = (
    9 + 12 * MAX_OBJECTS
)  # padded to the size of the fullest scene, so that states of all scenes can be stacked
STATIC_GROUP, OBJECT_GROUP, ARM_GROUP, CONTACT_GROUP, FOREARM_GROUP = range(5)  # CONTACT_GROUP is never drawn

_FOOT_RADIUS = 0.003  # [m]


def _numbers(*values: float) -> str:
    return " ".join(repr(float(value)) for value in values)  # repr keeps every bit: equal scenes give equal models


def _area(kind: str, half_size: tuple[float, float]) -> float:
    return 4 * half_size[0] * half_size[1] if kind == "box" else math.pi * half_size[0] ** 2


def _object_xml(index: int, item: SceneObject) -> str:
    half = item.height / 2
    total = sum(_area(part.kind, part.half_size) for part in item.shape.primitives)
    geoms = []
    for part in item.shape.primitives:
        size = (*part.half_size, half) if part.kind == "box" else (part.half_size[0], half)
        geoms.append(
            f'<geom class="object" type="{part.kind}" size="{_numbers(*size)}" pos="{_numbers(*part.position, half)}" '
            f'euler="0 0 {_numbers(part.yaw)}" mass="{_numbers(item.mass * _area(part.kind, part.half_size) / total)}" '
            f'rgba="{_numbers(*item.colour, 1)}"/>'
        )
    turning = item.friction * item.shape.friction_radius
    geoms.append(
        f'<geom class="foot" pos="{_numbers(*item.shape.centre_of_mass, _FOOT_RADIUS)}" '
        f'friction="{_numbers(item.friction, turning, 0)}"/>'
    )
    joints = "".join(f'<joint type="slide" axis="{axis}"/>' for axis in ("1 0 0", "0 1 0", "0 0 1"))
    return f'<body name="object{index}">{joints}<joint type="hinge" axis="0 0 1"/>{"".join(geoms)}</body>'


def _walls_xml() -> str:
    reach, half = BIN_HALF_SIZE + WALL_THICKNESS / 2, WALL_THICKNESS / 2
    parts = []
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        size = (half, BIN_HALF_SIZE) if x else (BIN_HALF_SIZE + WALL_THICKNESS, half)
        parts.append(
            f'<geom class="seen" type="box" size="{_numbers(*size, WALL_HEIGHT / 2)}" '
            f'pos="{_numbers(x * reach, y * reach, WALL_HEIGHT / 2)}" rgba="0.30 0.34 0.40 1"/>'
            f'<geom class="wall" pos="{_numbers(x * BIN_HALF_SIZE, y * BIN_HALF_SIZE, 0)}" zaxis="{-x} {-y} 0"/>'
        )
    return "".join(parts)


def scene_xml(scene: Scene) -> str:
    """MJCF text of a scene."""
    objects = "".join(_object_xml(index, item) for index, item in enumerate(scene.objects))
    # Default iteration limits of the solver on purpose: capping them makes objects fly off.
    return f"""<mujoco model="push">
<compiler angle="radian"/>
<option timestep="{TIMESTEP}" integrator="implicitfast" cone="elliptic" impratio="5"/>
<default>
  <geom condim="3" solref="0.008 1" solimp="0.95 0.99 0.001" friction="0.3 0 0"/>
  <default class="seen"><geom group="{STATIC_GROUP}" contype="0" conaffinity="0"/></default>
  <default class="floor"><geom group="{STATIC_GROUP}" contype="0" conaffinity="4" type="plane"
    size="0 0 0.1"/></default>
  <default class="wall"><geom group="{CONTACT_GROUP}" contype="0" conaffinity="1" type="plane"
    size="0 0 1" friction="0.2 0 0"/></default>
  <default class="object"><geom group="{OBJECT_GROUP}" contype="1" conaffinity="3"/></default>
  <default class="foot"><geom group="{CONTACT_GROUP}" contype="4" conaffinity="0" type="sphere"
    size="{_FOOT_RADIUS}" mass="0" condim="4" priority="1"/></default>
  <default class="arm"><geom group="{ARM_GROUP}" contype="0" conaffinity="0" mass="0"/></default>
  <default class="forearm"><geom group="{FOREARM_GROUP}" contype="0" conaffinity="0" mass="0"/></default>
  <default class="touch"><geom group="{CONTACT_GROUP}" contype="2" conaffinity="0" mass="0"/></default>
</default>
<worldbody>
  <camera name="view" pos="{_numbers(*PUSH_CAMERA.eye)}" xyaxes="{_numbers(*PUSH_CAMERA.axes[0], *PUSH_CAMERA.axes[1])}"
    fovy="{PUSH_CAMERA.field_of_view}"/>
  <light pos="-0.45 -0.45 1.6" dir="0.27 0.27 -1" castshadow="true" diffuse="0.7 0.7 0.7"/>
  <geom name="floor" class="floor" rgba="0.7 0.6 0.5 1"/>
  {_walls_xml()}
  {arm_body_xml(TIP_LIMIT)}
  {objects}
</worldbody>
<actuator>{arm_actuator_xml()}</actuator>
</mujoco>"""


@lru_cache(maxsize=8)
def _compiled(text: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(text)


class Physics:
    """One scene in motion.

    Args:
        scene: its objects and the start of the finger.
    """

    def __init__(self, scene: Scene):
        """See the class."""
        self.scene = scene
        self.model = _compiled(scene_xml(scene))
        self.data = mujoco.MjData(self.model)
        self.num_objects = len(scene.objects)
        self.heights = np.array([item.height for item in scene.objects])
        self._finger = self.model.geom("finger").id
        self._object_geoms = [int(geom) for geom in np.flatnonzero(self.model.geom_group == OBJECT_GROUP)]
        self.state_size = mujoco.mj_stateSize(self.model, _STATE_SPEC)

    def start(self) -> None:
        """Puts everything in its starting place, at rest."""
        mujoco.mj_resetData(self.model, self.data)
        position = self.data.qpos
        position[:2] = self.scene.tip_position
        for index, item in enumerate(self.scene.objects):
            position[2 + 4 * index : 6 + 4 * index] = (*item.position, 0.0, item.yaw)
        mujoco.mj_step(self.model, self.data, NUM_SUBSTEPS)  # the feet settle into the table by micrometres
        self.data.time = 0.0
        self.refresh()

    def step(self, action: np.ndarray) -> None:
        """Advances one control step; `action` `[2]` is already within [-1, 1]."""
        self.data.ctrl[:] = controls(action)
        mujoco.mj_step(self.model, self.data, NUM_SUBSTEPS)
        self.refresh()

    def refresh(self) -> None:
        """Recomputes poses and contacts from positions; the next step does not notice."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_collision(self.model, self.data)

    def get_state(self) -> np.ndarray:
        """State `[STATE_SIZE]` float64: time, positions, speeds, controls, warm start, then zeros up to the size."""
        state = np.zeros(STATE_SIZE)
        mujoco.mj_getState(self.model, self.data, state[: self.state_size], _STATE_SPEC)
        return state

    def set_state(self, state: np.ndarray) -> None:
        """Restores what `get_state` gave, to the last bit.

        Raises:
            ValueError: wrong length, a number that is not finite, or the state of a scene with more objects.
        """
        state = np.asarray(state, dtype=np.float64)
        if state.shape != (STATE_SIZE,):
            raise ValueError(
                f"a simulator state has shape ({STATE_SIZE},), got {state.shape}; "
                "take it from save_state() or an episode"
            )
        if not np.all(np.isfinite(state)):
            raise ValueError("a simulator state must be finite; record it again with save_state()")
        if np.any(state[self.state_size :]):
            raise ValueError(
                f"this simulator state belongs to a scene with more than {self.num_objects} objects; "
                "restore it with its own scene"
            )
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, np.ascontiguousarray(state[: self.state_size]), _STATE_SPEC)
        self.refresh()

    @property
    def tip_position(self) -> np.ndarray:
        """x, y of the finger `[2]` [m]."""
        return self.data.qpos[:2].copy()

    def object_poses(self) -> np.ndarray:
        """x, y [m] and yaw [rad, within -pi..pi] of each object `[M, 3]`."""
        return poses_of(self.data.qpos)

    def contact(self) -> bool:
        """Whether the finger touches an object: whether less than 1 mm lies between them.

        Solver contacts would flicker, because at any one moment of a steady push there can be micrometres of air.
        """
        near = (
            mujoco.mj_geomDistance(self.model, self.data, self._finger, geom, 2 * TOUCH_METRES, None)
            for geom in self._object_geoms
        )
        return any(distance < TOUCH_METRES for distance in near)

    def arm_hides(self, eye: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Whether the arm stands between the eye `[3]` and each of the points `[P, 3]`; `[P]` bool."""
        groups = np.zeros(6, np.uint8)
        groups[[ARM_GROUP, FOREARM_GROUP]] = 1
        geom = np.zeros(1, np.int32)
        # A ray's length is 1 at its point, so a hit below 1 lies in front of it.
        hits = [mujoco.mj_ray(self.model, self.data, eye, point - eye, groups, 1, -1, geom) for point in points]
        return np.array([0 <= hit < 1 - 1e-6 for hit in hits], dtype=bool)


def controls(actions: np.ndarray) -> np.ndarray:
    """Speeds of the tip [m/s] for actions in [-1, 1]; any shape."""
    return np.asarray(actions, dtype=np.float64) * (STEP_METRES * CONTROL_HZ)


def poses_of(positions: np.ndarray) -> np.ndarray:
    """x, y, yaw `[..., M, 3]` of the objects from MuJoCo's positions `[..., 2 + 4 M]`."""
    rest = positions[..., 2:].reshape(*positions.shape[:-1], -1, 4)
    poses = rest[..., [0, 1, 3]].copy()
    poses[..., 2] = np.mod(poses[..., 2] + math.pi, 2 * math.pi) - math.pi
    return poses
