"""Candidates that a push needs and noise seldom draws: around the object to its far side, and through it to the goal.

Letters: N candidates, H control steps, A action size, M corners of a way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from visual_foresight.planners.bounds import ActionBounds
from visual_foresight.planners.context import Context
from visual_foresight.planners.objectives.homography import Homography
from visual_foresight.planners.objectives.maps import checked_pixels
from visual_foresight.planners.plan import ProposalFn
from visual_foresight.planners.settings import require_count, require_number

_ARC_POINTS = 12
_OTHER_SIDE = 0.25  # of the ways, those that go around the object on its longer side
_SPEEDS = (0.7, 1.0)  # of the largest step
_LENGTHS = (0.6, 1.1)  # of the way to the goal, pushed


class ScriptedPusher:
    """Draws pushes of one object towards its goal from where the pusher is; a ``make_proposals`` of controllers.

    A pusher that cannot be lifted corrects a push from the object's other side, and only a long detour with a turn at
    the right moment leads there; of 100 random sequences perhaps none. Each of these candidates goes on one side around
    a disc about the object to a place behind it, as seen from the goal, and straight on; direction, distance, side,
    speed and length differ at random. Nothing is decided by them: the simulator judges them among all others, and the
    search is fitted to those that prove good.

    Args:
        tip_pixels: the map from the pusher's position, two entries of a state, to its pixel.
        goal: [2] as (row, col), where the object is to go.
        step_size: how far an action of 1 moves the pusher, in the unit of its position. The first two entries of an
            action are taken to move the two of the position along the same axes; further ones stay as near 0 as the
            Box lets them.
        num_proposals: N.
        offset: how far behind the object's pixel the place lies at least [px].
        clearance: least radius of the disc to walk around [px], at most ``offset``.
        spread: deviation of the direction of a push from that to the goal [degrees].
        index: which of the designated pixels is the object's.

    Raises:
        TypeError: ``tip_pixels`` is no :class:`Homography`.
        ValueError: a goal of another shape, a map that cannot be turned round, or a setting outside its range.
    """

    def __init__(
        self,
        tip_pixels: Homography,
        goal: Sequence[float] | np.ndarray,
        *,
        step_size: float,
        num_proposals: int = 16,
        offset: float = 5.5,
        clearance: float = 4.5,
        spread: float = 20.0,
        index: int = 0,
    ) -> None:
        """Check and store the settings."""
        self.goal = checked_pixels("goal", goal)
        if len(self.goal) != 1:
            raise ValueError(f"ScriptedPusher pushes one pixel to one goal [2], got {len(self.goal)} goals")
        require_number("step_size", step_size, 0.0, open_low=True)
        require_count("num_proposals", num_proposals)
        require_number("offset", offset, 0.0, open_low=True)
        require_number("clearance", clearance, 0.0, offset)
        require_number("spread", spread, 0.0, 180.0)
        require_count("index", index, 0)
        self.tip_pixels, self.step_size, self.num_proposals = tip_pixels, float(step_size), int(num_proposals)
        self.offset, self.clearance, self.index = float(offset), float(clearance), int(index)
        self.spread = float(np.deg2rad(spread))
        self._places = _turned_round(tip_pixels)

    def __call__(self, context: Context) -> ProposalFn:
        """What draws the candidates of one decision.

        Args:
            context: of the decision, with designated pixels and robot states.

        Raises:
            ValueError: the context has no states, or no such pixel.
        """
        if context.states is None:
            raise ValueError("ScriptedPusher needs to know where the pusher is: observations have no 'state'")
        count = 0 if context.pixels is None else len(context.pixels)
        if context.pixels is None or self.index >= count:
            raise ValueError(f"ScriptedPusher has index {self.index}, but {count} designated pixels are given to act")
        state = np.array(context.states[-1], np.float64)
        if len(context.decided):
            state[list(self.tip_pixels.indices)] += self.step_size * context.decided[:, :2].sum(axis=0)
        tip = np.asarray(self.tip_pixels(state), np.float64)
        target = np.asarray(context.pixels[self.index], np.float64)

        def draw(rng: np.random.Generator, action_space: spaces.Box, horizon: int) -> np.ndarray:
            ways = [self._draw_way(rng, tip, target) for _ in range(self.num_proposals)]
            speeds = rng.uniform(*_SPEEDS, size=self.num_proposals)
            moves = np.stack([self._moves(way, speed, horizon) for way, speed in zip(ways, speeds, strict=True)])
            return _filled_up(moves, action_space)

        return draw

    def _draw_way(self, rng: np.random.Generator, tip: np.ndarray, target: np.ndarray) -> np.ndarray:
        """[M, 2] corners (row, col) of one way, the first where the tip is."""
        wish = self.goal[0] - target
        length = float(np.linalg.norm(wish))
        heading = np.arctan2(wish[1], wish[0]) + rng.normal(0.0, self.spread)
        direction = np.array([np.cos(heading), np.sin(heading)])
        radius = self.clearance * rng.uniform(1.0, 1.4)
        behind = -direction * max(radius, self.offset * rng.uniform(1.0, 1.2))
        start = tip - target
        shorter = 1.0 if start[0] * behind[1] - start[1] * behind[0] >= 0 else -1.0
        side = -shorter if rng.random() < _OTHER_SIDE else shorter
        around = way_points(start, behind, radius, side) + target
        return np.concatenate([around, [around[-1] + direction * length * rng.uniform(*_LENGTHS)]])

    def _moves(self, way: np.ndarray, speed: float, horizon: int) -> np.ndarray:
        """[H, 2] actions that follow a way in equal steps and stand still at its end."""
        corners = self._places.project(way)
        lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
        at = np.minimum(np.arange(horizon + 1) * speed * self.step_size, lengths[-1])
        places = np.stack([np.interp(at, lengths, corners[:, axis]) for axis in (0, 1)], axis=1)
        return np.diff(places, axis=0) / self.step_size


def _turned_round(tip_pixels: Homography) -> Homography:
    if not isinstance(tip_pixels, Homography):
        raise TypeError(
            f"tip_pixels must be a Homography (Homography.fit(places, pixels)), which can be turned round; got "
            f"{type(tip_pixels).__name__}"
        )
    try:
        return Homography(np.linalg.inv(tip_pixels.matrix))
    except np.linalg.LinAlgError as error:
        raise ValueError("tip_pixels maps the plane to a line: no pixel has one place") from error


def way_points(start: np.ndarray, end: np.ndarray, radius: float, side: float) -> np.ndarray:
    """[M, 2] corners of the shortest way that passes a disc around the origin on one side.

    Two tangents and an arc between them; the straight line where it lies on that side of the disc already. A point
    inside the disc is brought to its rim first.

    Args:
        start: [2].
        end: [2].
        radius: of the disc.
        side: 1: the angle about the origin grows along the way; -1: it falls.
    """
    angles = [np.arctan2(point[1], point[0]) for point in (start, end)]
    lengths = [max(float(np.linalg.norm(point)), radius) for point in (start, end)]
    touching = [np.arccos(radius / length) if length > 0 else 0.0 for length in lengths]
    turn = float((side * (angles[1] - angles[0])) % (2 * np.pi))
    arc = turn - touching[0] - touching[1]
    if arc <= 0.0:
        return np.stack([start, end])
    along = angles[0] + side * (touching[0] + np.linspace(0.0, arc, _ARC_POINTS))
    rim = radius * np.stack([np.cos(along), np.sin(along)], axis=1)
    return np.concatenate([start[None], rim, end[None]])


def _filled_up(moves: np.ndarray, action_space: spaces.Box) -> np.ndarray:
    """[N, H, A] float32 inside the Box, from the first two entries [N, H, 2].

    Raises:
        ValueError: actions have fewer than two.
    """
    bounds = ActionBounds.of(action_space)
    if bounds.action_size < 2:
        raise ValueError(f"ScriptedPusher moves a pusher in a plane, actions have size {bounds.action_size}")
    actions = np.broadcast_to(bounds.still, (*moves.shape[:2], bounds.action_size)).copy()
    actions[..., :2] = moves
    return bounds.clip(actions)
