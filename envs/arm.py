"""The pusher: a thin vertical finger under a thin, steep forearm that hangs from a carriage outside the picture.

The carriage translates and never turns, so the whole arm is one rigid picture that shifts with the tip (the easiest
motion for a model that predicts by moving pixels), and it covers a strip of about 2.5 pixels only. Just the finger
touches objects.
"""

from __future__ import annotations

from visual_foresight.envs.scene import TIP_RADIUS

STEP_METRES = 0.03  # [m] displacement for an action of 1
CONTROL_HZ = 10
TIP_HEIGHT = 0.075  # [m] length of the bright tip
WRIST_HEIGHT = 0.095  # [m] where the vertical rod ends and the forearm begins
FOREARM = (0.0, 0.60, 0.10)  # [m] from the wrist to the far end of the forearm, beyond the edge of every picture
ROD_RADIUS = 0.0080  # [m]
FOREARM_RADIUS = 0.0065  # [m]; what it hides grows with its width: 0.0075 hides 2.8 % of the centre points, this 2.4 %

_TIP_COLOUR = "1.00 0.20 0.68 1"
_ROD_COLOUR = "0.22 0.23 0.26 1"
_FOREARM_COLOUR = "0.86 0.87 0.89 1"
_MASS = 0.5  # [kg]
# A push of 2 N costs 2 % of the speed. A change of more than _FORCE_LIMIT / gain, 0.04 m/s, meets the limit, and then
# the speed may swing by 0.06 m/s around the commanded one until the next action, because the limit takes it 0.12 m/s
# further in one time step of 4 ms: a step may end 2.5 mm beside its 30. A gain of 250 would not swing; it waits for the
# next ENVIRONMENT_VERSION, for recordings, tasks and shipped predictors are of this physics.
_VELOCITY_GAIN = 400.0  # [N s/m]
_FORCE_LIMIT = 15.0  # [N]


def arm_body_xml(limit: float) -> str:
    """MJCF body of the arm. Geoms of group 2 are seen, the one of group 3 touches objects.

    Args:
        limit: how far the tip goes from the middle of the bin along x and along y [m].
    """
    wrist, (fx, fy, fz) = WRIST_HEIGHT, FOREARM
    joints = "".join(
        f'<joint name="tip_{name}" type="slide" axis="{axis}" range="{-limit} {limit}" limited="true" '
        f'solreflimit="0.008 1" actuatorfrcrange="{-_FORCE_LIMIT} {_FORCE_LIMIT}" actuatorfrclimited="true"/>'
        for name, axis in (("x", "1 0 0"), ("y", "0 1 0"))
    )
    return f"""<body name="arm">{joints}
  <inertial pos="0 0 0.05" mass="{_MASS}" diaginertia="0.001 0.001 0.001"/>
  <geom name="finger" class="touch" type="capsule" size="{TIP_RADIUS}" fromto="0 0 {TIP_RADIUS + 0.002} 0 0 0.08"/>
  <body name="arm_look">
  <geom name="tip" class="arm" type="cylinder" size="{TIP_RADIUS}" fromto="0 0 0.002 0 0 {TIP_HEIGHT}"
    rgba="{_TIP_COLOUR}"/>
  <geom name="rod" class="arm" type="capsule" size="{ROD_RADIUS}" fromto="0 0 {TIP_HEIGHT} 0 0 {wrist}"
    rgba="{_ROD_COLOUR}"/>
  <geom name="wrist" class="arm" type="sphere" size="{ROD_RADIUS * 1.15}" pos="0 0 {wrist}" rgba="{_ROD_COLOUR}"/>
  <geom name="forearm" class="forearm" type="capsule" size="{FOREARM_RADIUS}"
    fromto="0 0 {wrist} {fx} {fy} {wrist + fz}" rgba="{_FOREARM_COLOUR}"/>
  </body>
</body>"""


def arm_actuator_xml() -> str:
    """MJCF actuators: a control is the speed of the tip along x or y [m/s].

    Speeds need no feedback to turn an action into controls, and a blocked finger stores nothing that it must first
    unwind, as it would with position targets.
    """
    return "".join(f'<velocity name="tip_{axis}" joint="tip_{axis}" kv="{_VELOCITY_GAIN}"/>' for axis in ("x", "y"))
