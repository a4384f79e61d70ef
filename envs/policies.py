"""Ways to choose actions while collecting data: `uniform`, `smooth`, `scripted`, `close`, and mixtures of them.

A policy knows the scene, and the state and `info` of the last step. It draws from its own generator, never from the
environment's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from visual_foresight.envs.arm import STEP_METRES
from visual_foresight.envs.scene import TIP_LIMIT, TIP_RADIUS, Scene
from visual_foresight.wording import did_you_mean


class Policy(Protocol):
    """What a policy offers."""

    @property
    def name(self) -> str:
        """Name under which data sets record it."""

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Begins an episode in `scene`; all later randomness comes from `rng`."""

    def act(self, state: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        """The next action `[2]` float32 within [-1, 1], from the last tip position `[2]` [m] and the last `info`."""


class UniformPolicy:
    """Independent, evenly distributed actions: it seldom meets an object, and shows the free motion of the arm."""

    name = "uniform"

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """See `Policy.reset`."""
        self._rng = rng

    def act(self, state: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        """See `Policy.act`."""
        return self._rng.uniform(-1, 1, 2).astype(np.float32)


class SmoothPolicy:
    """Coloured noise: a first-order autoregressive walk, whose neighbouring actions resemble each other.

    Args:
        correlation: of an action with the one before.
        deviation: of each component in the long run.
    """

    name = "smooth"

    def __init__(self, correlation: float = 0.8, deviation: float = 0.65):
        """See the class."""
        self.correlation = correlation
        self.deviation = deviation

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """See `Policy.reset`."""
        self._rng = rng
        self._value = rng.normal(0, self.deviation, 2)

    def act(self, state: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        """See `Policy.act`."""
        fresh = self._rng.normal(0, self.deviation * math.sqrt(1 - self.correlation**2), 2)
        self._value = self.correlation * self._value + fresh
        return _clipped(self._value)


class ScriptedPolicy:
    """Goes around to one side of a random object and pushes through it, again and again.

    The finger cannot be lifted, so on its way it keeps clear of every object. Sides are drawn evenly among those it
    can reach, a part of the pushes is aimed off the middle (glancing), speeds are random, and noise is added to every
    action.

    Args:
        noise: deviation of the noise on each component.
        glancing: share of pushes that are aimed off the middle.
    """

    name = "scripted"
    _CLEARANCE = 0.010  # [m] kept between the finger and objects that it goes around

    def __init__(self, noise: float = 0.12, glancing: float = 0.4):
        """See the class."""
        self.noise = noise
        self.glancing = glancing

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """See `Policy.reset`."""
        self._rng = rng
        self._shapes = [item.shape for item in scene.objects]
        self._radii = np.array([shape.radius for shape in self._shapes])
        self._phase = "choose"
        self._steps_left = 0

    def act(self, state: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        """See `Policy.act`."""
        tip = np.asarray(state, np.float64)
        poses = np.asarray(info["object_positions"], np.float64)[: len(self._radii)]
        if self._phase != "choose" and self._steps_left <= 0:
            self._phase = "choose"
        if self._phase == "push" and self._along(tip) >= self._push_length:
            self._phase = "choose"
        if self._phase == "choose":
            self._choose(tip, poses)
        if self._phase == "approach" and math.dist(tip, self._beside) < 0.012:
            self._phase, self._steps_left = "push", 9
        self._steps_left -= 1
        if self._phase == "push":
            # Aim at a point on the line ahead: the finger returns to the line when noise moves it off.
            wish = self._beside + self._direction * (max(self._along(tip), 0.0) + 0.05) - tip
            velocity = wish / math.hypot(*wish) * self._speed
        else:
            wish = self._way_around(tip, poses[:, :2]) - tip
            velocity = wish / max(math.hypot(*wish), STEP_METRES)
        return _clipped(velocity + self._rng.normal(0, self.noise, 2))

    def _along(self, tip: np.ndarray) -> float:
        return float((tip - self._beside) @ self._direction)

    def _choose(self, tip: np.ndarray, poses: np.ndarray) -> None:
        """Draws an object and a side of it, the nearer the likelier, among those the finger can stand at."""
        rng, rows = self._rng, []
        for _ in range(24):
            index = int(rng.integers(len(poses)))
            centre, angle = poses[index, :2], rng.uniform(-math.pi, math.pi)
            direction = np.array([math.cos(angle), math.sin(angle)])
            gap = self._radii[index] + TIP_RADIUS + self._CLEARANCE + 0.004
            sideways = np.array([-direction[1], direction[0]]) * self._offset(
                index, angle + math.pi / 2 - poses[index, 2]
            )
            beside = centre - direction * gap + sideways
            away = np.hypot(*(poses[:, :2] - beside).T) - self._radii - TIP_RADIUS
            blocked = np.abs(beside).max() > TIP_LIMIT - 0.004 or np.delete(away, index).min(initial=1.0) <= 0.004
            at_wall = np.abs(centre + 0.06 * direction).max() > TIP_LIMIT - 0.03  # a push into a wall moves nothing
            cost = self._detour(tip, beside, centre, self._radii[index]) + 1.0 * blocked + 0.3 * at_wall
            rows.append((cost / 0.05 - rng.gumbel(), index, direction, np.clip(beside, -TIP_LIMIT, TIP_LIMIT), gap))
        _, index, self._direction, self._beside, gap = min(rows, key=lambda row: row[0])
        self._push_length = gap + rng.uniform(0.04, 0.16)
        self._speed = rng.uniform(0.5, 1.0)
        self._phase, self._steps_left = "approach", 11

    def _offset(self, index: int, angle: float) -> float:
        """Where to aim [m] along the direction at `angle` in the object's frame: near its middle, or at one flank."""
        low, high = self._shapes[index].extent(angle)
        middle, half = (low + high) / 2, (high - low) / 2
        if self._rng.random() < self.glancing:
            return middle + half * float(self._rng.choice((-1, 1)) * self._rng.uniform(0.3, 0.85))
        return middle + half * self._rng.uniform(-0.25, 0.25)

    def _detour(self, tip: np.ndarray, goal: np.ndarray, centre: np.ndarray, radius: float) -> float:
        """Length of the way to `goal` [m], roughly: the straight line, or part of the circle about the object."""
        start, end = tip - centre, goal - centre
        angle = abs(math.remainder(math.atan2(end[1], end[0]) - math.atan2(start[1], start[0]), 2 * math.pi))
        reach = min(math.hypot(*start), radius + TIP_RADIUS + self._CLEARANCE)
        return max(math.dist(tip, goal), angle * reach)

    def _way_around(self, tip: np.ndarray, centres: np.ndarray) -> np.ndarray:
        """The next point to head for: the place beside the object, or the edge of the first object in the way."""
        wish = self._beside - tip
        length = math.hypot(*wish)
        if length < 1e-6:
            return self._beside
        forward = wish / length
        blocking, blocking_at = None, math.inf
        for centre, radius in zip(centres, self._radii, strict=True):
            offset, keep = centre - tip, radius + TIP_RADIUS + self._CLEARANCE * 0.7
            ahead, across = float(offset @ forward), float(forward[0] * offset[1] - forward[1] * offset[0])
            if (
                0 < ahead < length + 0.5 * keep
                and abs(across) < keep
                and ahead < blocking_at
                and math.dist(self._beside, centre) > keep - 1e-9
            ):
                # Passing is needed only when the goal lies beyond the nearest approach.
                if ahead < length:
                    blocking, blocking_at = (offset, keep, across), ahead
        if blocking is None:
            return self._beside
        offset, keep, across = blocking
        distance = math.hypot(*offset)
        side = -1.0 if across > 0 else 1.0  # pass on the side where the goal is
        turn = math.asin(min(1.0, keep / distance)) + (0.35 if distance < keep else 0.0)
        cosine, sine = math.cos(side * turn), math.sin(side * turn)
        heading = np.array([cosine * offset[0] - sine * offset[1], sine * offset[0] + cosine * offset[1]]) / distance
        target = tip + heading * max(STEP_METRES, 0.7 * distance)
        if np.abs(target).max() > TIP_LIMIT:  # no way through between object and wall: go along the wall
            target = np.clip(target, -TIP_LIMIT, TIP_LIMIT)
        return target


class ClosePolicy:
    """Stays at one object and goes from place to place around it, on it and in its bays, straight and at any speed.

    A planner imagines such ways when it corrects a push: short contacts from any side, beside the middle, along a
    flank, and out of a bay again. Scripted pushes hardly ever show them.

    Args:
        noise: deviation of the noise on each component.
        margin: how far beyond the object's outline the places lie at most [m].
    """

    name = "close"
    _NEAR = 0.03  # [m] beyond the margin: from farther off the finger comes at full speed
    _LONGEST = 6  # steps on one way; an object that is pushed along takes its places with it

    def __init__(self, noise: float = 0.08, margin: float = 0.03):
        """See the class."""
        self.noise = noise
        self.margin = margin

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """See `Policy.reset`."""
        self._rng = rng
        self._radii = [item.shape.radius for item in scene.objects]
        self._index = int(rng.integers(len(self._radii)))
        self._steps_left = 0

    def act(self, state: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        """See `Policy.act`."""
        tip = np.asarray(state, np.float64)
        centre = np.asarray(info["object_positions"], np.float64)[self._index, :2]
        reach = self._radii[self._index] + TIP_RADIUS + self.margin
        if self._steps_left <= 0 or math.dist(tip, self._target) < 0.5 * STEP_METRES:
            self._choose(centre, reach)
        self._steps_left -= 1
        wish = self._target - tip
        far = math.dist(tip, centre) > reach + self._NEAR
        velocity = wish / max(math.hypot(*wish), STEP_METRES) * (1.0 if far else self._speed)
        return _clipped(velocity + self._rng.normal(0, self.noise, 2))

    def _choose(self, centre: np.ndarray, reach: float) -> None:
        """Draws a place, evenly over a disc about the object, and how fast to go there."""
        radius, angle = reach * math.sqrt(self._rng.random()), self._rng.uniform(-math.pi, math.pi)
        place = centre + radius * np.array([math.cos(angle), math.sin(angle)])
        self._target = np.clip(place, -TIP_LIMIT, TIP_LIMIT)
        self._speed = self._rng.uniform(0.3, 1.0)
        self._steps_left = self._LONGEST


class MixedPolicy:
    """Draws one policy for each episode.

    Args:
        weights: name of each policy and its weight; they need not sum to one.
    """

    def __init__(self, weights: Mapping[str, float]):
        """See the class."""
        self._names = tuple(weights)
        self._shares = np.array([weights[name] for name in self._names]) / sum(weights.values())
        self._chosen: Policy = POLICIES[self._names[0]]()

    @property
    def name(self) -> str:
        """Name of the policy of this episode."""
        return self._chosen.name

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """See `Policy.reset`."""
        self._chosen = POLICIES[self._names[int(rng.choice(len(self._names), p=self._shares))]]()
        self._chosen.reset(scene, rng)

    def act(self, state: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        """See `Policy.act`."""
        return self._chosen.act(state, info)


POLICIES: dict[str, type] = {
    policy.name: policy for policy in (UniformPolicy, SmoothPolicy, ScriptedPolicy, ClosePolicy)
}


def make_policy(text: str) -> Policy:
    """A policy by name, or a mixture such as `"scripted=0.6,smooth=0.3,uniform=0.1"`.

    Raises:
        ValueError: unknown name or a weight that is not a positive number.
    """
    return MixedPolicy(parse_policy(text))


def parse_policy(text: str) -> dict[str, float]:
    """Names and weights of a policy text; see `make_policy`."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if name not in POLICIES:
            hint = did_you_mean(name, POLICIES)
            raise ValueError(f"unknown policy {name!r} in {text!r}; known policies: {', '.join(POLICIES)}{hint}")
        if name in weights:
            raise ValueError(f"policy {name!r} appears twice in {text!r}")
        try:
            weights[name] = float(number) if equals else 1.0
        except ValueError as error:
            raise ValueError(
                f"weight of policy {name!r} must be a number, got {number!r}; write name=weight"
            ) from error
        if not (math.isfinite(weights[name]) and weights[name] > 0):
            raise ValueError(f"weight of policy {name!r} must be positive and finite, got {number!r}")
    return weights


def _clipped(action: np.ndarray) -> np.ndarray:
    return np.clip(action, -1, 1).astype(np.float32)
