"""What the commands `demo`, `plan` and `bench` share: their options, and the tasks that these name."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visual_foresight.affordable import require_at_most
from visual_foresight.benchmark.episode import Progress, run_task, tolerance_px
from visual_foresight.benchmark.methods import goal_pixel, make_controller, make_imagination, tip_homography
from visual_foresight.benchmark.settings import (
    PLANNER_NAMES,
    ControlSettings,
    check_gradients,
    check_settings,
    make_planner,
)
from visual_foresight.benchmark.simulators import DTYPES, SIMULATORS, make_simulator

if TYPE_CHECKING:
    from visual_foresight.envs.tasks import TaskSet

__all__ = [
    "DEFAULT_ENVIRONMENT",
    "DEFAULT_PRESET",
    "DTYPES",
    "PLANNER_NAMES",
    "SIMULATORS",
    "ControlSettings",
    "Progress",
    "add_control_arguments",
    "check_gradients",
    "check_settings",
    "choose_tasks",
    "describe_model",
    "goal_pixel",
    "load_tasks",
    "make_controller",
    "make_imagination",
    "make_planner",
    "make_simulator",
    "predictor_dtype",
    "run_task",
    "second_opinion",
    "tip_homography",
    "tolerance_px",
    "weights_digest",
]

DEFAULT_ENVIRONMENT = "VisualForesight/Push-v0"
DEFAULT_PRESET = "push_fast"
MOST_DRAWN = 100_000


def add_control_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that the commands share; their defaults are those of `ControlSettings`."""
    usual = ControlSettings()
    group = parser.add_argument_group("planning")
    group.add_argument("--planner", choices=PLANNER_NAMES, default=usual.planner, help="search for action sequences")
    group.add_argument("--horizon", type=int, default=usual.horizon, help="steps that a plan looks ahead, 1000 at most")
    group.add_argument(
        "--candidates", type=int, default=usual.candidates, help="sequences imagined per iteration, 100000 at most"
    )
    group.add_argument(
        "--iterations", type=int, default=usual.iterations, help="iterations of the search (random: one), 1000 at most"
    )
    group.add_argument("--elites", type=int, default=usual.elites, help="best candidates, to which cem or icem fits")
    group.add_argument(
        "--proposals",
        type=int,
        default=usual.proposals,
        help="of the candidates of each decision, how many are scripted pushes: around the object, and on to the goal",
    )
    group.add_argument("--action_repeat", type=int, default=usual.action_repeat, help="steps to hold an action for")
    group.add_argument(
        "--replan_interval", type=int, help="steps executed of a plan; 3, or all of a shorter one, if not given"
    )
    group.add_argument(
        "--switch_margin",
        type=float,
        default=usual.switch_margin,
        help="share of its cost by which a new plan must be cheaper to replace the last one, for example 0.1",
    )
    group.add_argument(
        "--terminal_weight", type=float, default=usual.terminal_weight, help="weight of a plan's last step"
    )
    group.add_argument(
        "--spread_weight", type=float, default=usual.spread_weight, help="how much the blur of a map counts, 0 to 1"
    )
    group.add_argument(
        "--approach_weight", type=float, default=usual.approach_weight, help="weight of going behind the object"
    )
    group.add_argument(
        "--stop_distance", type=float, default=usual.stop_distance, help="stand still this near to the goal [px]"
    )
    group.add_argument(
        "--no_rectify",
        dest="rectify",
        action="store_false",
        help="plan in the picture as it is where the camera is not the one that the predictor knows",
    )
    group.add_argument("--deadline_ms", type=float, default=usual.deadline_ms, help="time for one decision [ms]")
    group.add_argument(
        "--steps", type=int, default=usual.steps, help="steps executed at most in an episode, up to 100000"
    )
    group.add_argument("--seed", type=int, default=usual.seed, help="of the tasks that are drawn and of the planner")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--preset", "--model_dir", default=DEFAULT_PRESET, help="predictor: a shipped name, a folder, or hf://..."
    )
    model.add_argument(
        "--second_opinion",
        default="none",
        metavar="PRESET",
        help="another predictor, which judges the best quarter of the candidates, too, for example push_fast_2",
    )
    model.add_argument(
        "--disagreement_weight",
        type=float,
        default=0.0,
        metavar="K",
        help="deviations between the predictor's and the second opinion's cost that are added to their mean",
    )
    model.add_argument(
        "--simulator", choices=SIMULATORS, default="learned", help="'true' plans with the physics itself: an oracle"
    )
    model.add_argument("--precision", choices=DTYPES, default="float32", help="arithmetic of the predictor")


def second_opinion(args: argparse.Namespace) -> str | None:
    """Return the preset whose second opinion `--second_opinion` asks for, or None.

    Raises:
        ValueError: its disagreement is weighed, and there is none, or the weight is no finite number.
    """
    if not math.isfinite(args.disagreement_weight):
        raise ValueError(f"--disagreement_weight must be a finite number, got {args.disagreement_weight}")
    asked = args.second_opinion
    if asked == "none" and args.disagreement_weight:
        raise ValueError("--disagreement_weight weighs a second opinion, and there is none: name one, --second_opinion")
    return None if asked == "none" else str(asked)


def predictor_dtype(args: argparse.Namespace) -> str | None:
    """Return the Keras dtype policy that `--precision` names; None for float32, in which presets are saved."""
    return None if args.precision == "float32" else DTYPES[args.precision]


def load_tasks(tasks: str | None, *, episodes: int | None, seed: int, split: str) -> "TaskSet":
    """Return the whole set of tasks that the options name.

    Args:
        tasks: a task file, the name of a shipped set, or None to draw tasks from the seed.
        episodes: how many are drawn; of a set it must not be more than there are.
        seed: of drawn tasks.
        split: "train" or "novel" objects, of drawn tasks.

    Raises:
        FileNotFoundError: no such file, and no shipped set of that name.
        ValueError: not a task set, or fewer tasks than episodes.
    """
    from visual_foresight.envs.tasks import TaskSet, shipped_task_sets

    if episodes is not None and episodes < 1:
        raise ValueError(f"--episodes must be at least 1, got {episodes}")
    if tasks is None:
        require_at_most("--episodes", episodes or 1, MOST_DRAWN, "each is a task that is drawn first")
        return TaskSet.sample(episodes or 1, seed, split)
    found = TaskSet.shipped(tasks) if tasks in shipped_task_sets() else TaskSet.load(Path(tasks))
    if episodes is not None and episodes > len(found):
        raise ValueError(f"task set {found.name} holds {len(found)} tasks, {episodes} were asked for")
    return found


def choose_tasks(tasks: str | None, *, episodes: int | None, seed: int, split: str) -> "TaskSet":
    """Return the tasks that the options ask for, as `load_tasks`, cut to the number of episodes."""
    from visual_foresight.envs.tasks import TaskSet

    found = load_tasks(tasks, episodes=episodes, seed=seed, split=split)
    return found if episodes is None else TaskSet(found.name, found.tasks[:episodes])


def describe_model(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a result of the learned model depends on beside the settings."""
    described = {
        "preset": str(args.preset),
        "weights_sha256": weights_digest(args.preset),
        "precision": args.precision,
    }
    second = second_opinion(args)
    if second is not None:
        described |= {"second_opinion": second, "second_weights_sha256": weights_digest(second)}
    if args.disagreement_weight:
        described["disagreement_weight"] = args.disagreement_weight
    return described


def weights_digest(preset: str) -> str:
    """Return the SHA-256 of a predictor's weights, as its config records and its loading checked it."""
    from visual_foresight.predictor.presets import describe_preset

    return describe_preset(preset)["weights_sha256"]
