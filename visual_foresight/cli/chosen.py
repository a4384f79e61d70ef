"""What a `plan` command runs: which tasks, in which worlds, by which methods, with how many seeds."""

import argparse
import re
from collections.abc import Sequence
from typing import Any

from visual_foresight.benchmark.methods import PLANNING_METHODS
from visual_foresight.cli import control
from visual_foresight.cli.unread import MODEL, refuse_unread

FIRST_LOOK = "push-seen-v1"
SEEDS_OF_A_SET = 3  # what the benchmark asks for; a first look, at some tasks, is for a quick answer


def chosen_methods(args: argparse.Namespace, settings: control.ControlSettings) -> list[str]:
    """Return the methods to run, each once.

    Raises:
        ValueError: other options contradict them, or would be read by none of them.
    """
    methods = list(dict.fromkeys(args.method or [args.simulator]))
    if args.simulator == "true" and "true" not in methods:
        raise ValueError(f"--simulator true is --method true, but --method names {', '.join(methods)}: give one")
    if methods == ["learned"]:
        refuse_unread(args, ("baseline_seeds",), "no method but 'learned' runs")
    if "learned" not in methods:
        refuse_unread(args, MODEL, f"--method {' '.join(methods)} imagines nothing with a predictor")
    control.check_gradients(settings, methods)
    if args.calibrate and not set(methods) & set(PLANNING_METHODS):
        raise ValueError(
            f"--calibrate compares costs of plans, and {', '.join(methods)} has none: add one of "
            f"{', '.join(PLANNING_METHODS)} to --method"
        )
    return methods


def planner_seeds(args: argparse.Namespace) -> int:
    """Return how often each task is run."""
    if args.planner_seeds is not None:
        return args.planner_seeds
    some = args.tasks is None or args.episodes is not None or args.tasks.isdigit()
    return 1 if some else SEEDS_OF_A_SET


def chosen_seeds(args: argparse.Namespace, methods: Sequence[str]) -> dict[str, range]:
    """Return the planner seeds of each method."""
    most = planner_seeds(args)
    counts = {method: most if method == "learned" else args.baseline_seeds or most for method in methods}
    return {method: range(args.seed, args.seed + count) for method, count in counts.items()}


def chosen_tasks(args: argparse.Namespace) -> tuple[Any, int]:
    """Return the whole task set and how many of its first tasks to run."""
    name, episodes = args.tasks, args.episodes
    if name is not None and re.fullmatch(r"[-+]?[0-9.]+", name):
        if not name.isdigit() or int(name) < 1:
            raise ValueError(f"--tasks as a number says how many tasks to run, at least 1; got {name}")
        if episodes is not None:
            raise ValueError(f"--tasks {name} says how many tasks to run, and so does --episodes {episodes}; give one")
        name, episodes = FIRST_LOOK, int(name)
    if name is not None and args.split is not None:
        raise ValueError(f"--split {args.split} is of tasks that are drawn; --tasks {args.tasks} has its own objects")
    tasks = control.load_tasks(name, episodes=episodes, seed=args.seed, split=args.split or "train")
    return tasks, len(tasks) if episodes is None else episodes


def chosen_shifts(text: str | None) -> list[str]:
    """Return the worlds to run in, the usual one first.

    Raises:
        ValueError: an unknown shift, or a strength outside its range.
    """
    from visual_foresight.benchmark.runner import NO_SHIFT

    if text is None:
        return [NO_SHIFT]
    from visual_foresight.envs.shifts import AppliedShift, choose_shifts

    named = [str(AppliedShift(name, strength)) for name, strength in choose_shifts(text)]
    return list(dict.fromkeys([NO_SHIFT, *named]))
