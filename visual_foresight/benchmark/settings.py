"""How tasks are planned and executed, and the planner that settings name."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from visual_foresight.affordable import require_at_most

PLANNER_NAMES = {
    "cem": "cem",
    "icem": "icem",
    "mppi": "mppi",
    "random": "random_shooting",
    "gradient": "gradient_descent",
    "cem_gradient": "cem_gradient",
}

_MOST = {
    "candidates": (100_000, "imagining more takes minutes for each iteration of each decision"),
    "iterations": (1_000, "a search of more takes minutes for each decision"),
    "horizon": (1_000, "no prediction holds so long"),
    "steps": (100_000, "an episode keeps what it saw"),
    "stop_distance": (64, "no goal is farther, in pixels of 64 x 64"),
    "seed": (2**63 - 1, "it is a whole number of 64 bits"),
}
"""The largest numbers that are taken, and why."""

_USUAL_REPLAN_INTERVAL = 3
_MOST_WEIGHT = 1_000_000  # beyond it all else counts for nothing, and sums overflow


@dataclass(frozen=True)
class ControlSettings:
    """How tasks are planned and executed.

    Args:
        planner: a name in `PLANNER_NAMES`.
        horizon: steps that each plan looks ahead.
        candidates: action sequences that are imagined in each iteration.
        iterations: of the search in each decision.
        elites: the best candidates, to which the search is fitted.
        proposals: candidates of each decision that are scripted pushes, see `planners.ScriptedPusher`.
        action_repeat: steps for which a planned action is held.
        replan_interval: steps executed of each plan; None becomes 3, or the whole plan if it is shorter.
        switch_margin: a new plan must be cheaper by more than this share than going on with the last; see `MPC`.
        terminal_weight: weight of a plan's last step; the others have 1.
        spread_weight: 1 charges a map for its blur, 0 looks at its mean only; see `PixelDistance`.
        approach_weight: weight of the pusher's way to the place behind the object.
        stop_distance: the controller stands still this near to the goal [px].
        deadline_ms: time for one decision [ms], or None.
        steps: executed at most in an episode.
        seed: of the planner's randomness.
        rectify: where the environment's camera is not the one that the predictor knows, bring its pictures there.
    """

    planner: str = "cem"
    horizon: int = 9
    candidates: int = 100
    iterations: int = 3
    elites: int = 8
    proposals: int = 0
    action_repeat: int = 3
    replan_interval: int | None = None
    switch_margin: float = 0.0
    terminal_weight: float = 1.0
    spread_weight: float = 1.0
    approach_weight: float = 0.5
    stop_distance: float = 1.5
    deadline_ms: float | None = None
    steps: int = 30
    seed: int = 0
    rectify: bool = True

    def __post_init__(self) -> None:
        """A shorter plan than usual is executed whole by default."""
        if self.replan_interval is None:
            object.__setattr__(self, "replan_interval", max(1, min(_USUAL_REPLAN_INTERVAL, self.horizon)))

    @classmethod
    def of(cls, args: argparse.Namespace) -> "ControlSettings":
        """Take the settings from parsed arguments."""
        return cls(**{name: getattr(args, name) for name in cls.__dataclass_fields__})

    def table(self) -> dict[str, Any]:
        """Return the settings by name, JSON-plain."""
        return asdict(self)


def check_settings(settings: ControlSettings) -> None:
    """Refuse impossible settings before anything heavy is loaded.

    Raises:
        ValueError: names the option, its value and what it may be.
    """
    for name in ("horizon", "candidates", "iterations", "elites", "action_repeat", "replan_interval", "steps"):
        value = getattr(settings, name)
        if value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    for name, (most, why) in _MOST.items():
        require_at_most(f"--{name}", getattr(settings, name), most, why)
    if settings.elites > settings.candidates:
        raise ValueError(
            f"--elites {settings.elites} are the best of --candidates {settings.candidates}: pass fewer elites (8 if "
            "not given) or more candidates"
        )
    if not 0 <= settings.proposals < settings.candidates:
        raise ValueError(
            f"--proposals {settings.proposals} are some of --candidates {settings.candidates}, beside the last plan: "
            f"pass 0 to {settings.candidates - 1}, or more candidates"
        )
    if settings.replan_interval is not None and settings.replan_interval > settings.horizon:
        raise ValueError(
            f"--replan_interval {settings.replan_interval} exceeds --horizon {settings.horizon}: so many steps of a "
            "plan cannot be executed"
        )
    if settings.seed < 0:
        raise ValueError(f"--seed must not be negative, got {settings.seed}")
    if settings.deadline_ms is not None and not 0 < settings.deadline_ms < math.inf:
        raise ValueError(f"--deadline_ms must be positive and finite, got {settings.deadline_ms}")
    if not 0.0 < settings.terminal_weight <= _MOST_WEIGHT:
        raise ValueError(
            f"--terminal_weight must be positive and at most {_MOST_WEIGHT:,}, got {settings.terminal_weight}"
        )
    if not 0.0 <= settings.spread_weight <= 1.0:
        raise ValueError(f"--spread_weight must be within 0..1, got {settings.spread_weight}")
    for name in ("switch_margin", "approach_weight", "stop_distance"):
        if not 0.0 <= getattr(settings, name) < math.inf:
            raise ValueError(f"--{name} must be finite and not negative, got {getattr(settings, name)}")
    if settings.approach_weight > _MOST_WEIGHT:
        raise ValueError(f"--approach_weight must be at most {_MOST_WEIGHT:,}, got {settings.approach_weight}")
    make_planner(settings)


def check_gradients(settings: ControlSettings, methods: Sequence[str]) -> None:
    """Refuse a planner that descends gradients where something else than the learned model imagines.

    Raises:
        ValueError: names the planner and the methods that have no gradients.
    """
    without = [name for name in methods if name in ("true", "true-state", "copy")]
    if without and getattr(make_planner(settings), "needs_gradient", False):
        raise ValueError(
            f"--planner {settings.planner} descends the cost through the learned model; {', '.join(without)} has no "
            "gradients: choose cem, icem or mppi there"
        )


def make_planner(settings: ControlSettings) -> Any:
    """Return the planner that the settings name.

    Raises:
        ValueError: unknown planner, or settings that it refuses.
    """
    from visual_foresight.planners import PLANNERS

    if settings.planner not in PLANNER_NAMES:
        raise ValueError(f"unknown planner {settings.planner!r}; known planners: {', '.join(PLANNER_NAMES)}")
    planner: Any = PLANNERS[PLANNER_NAMES[settings.planner]]
    options: dict[str, Any] = {
        "horizon": settings.horizon,
        "num_candidates": settings.candidates,
        "num_iterations": settings.iterations,
        "num_elites": settings.elites,
        "action_repeat": settings.action_repeat,
    }
    return planner(**{name: value for name, value in options.items() if name in planner.__dataclass_fields__})
