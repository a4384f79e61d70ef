"""Runs episodes, in this process or in several: what comes out does not depend on how many, nor on the order.

An episode depends on the method, the shift, the task and the planner seed alone. Workers are new processes (spawn),
each of which loads a model once and computes with its share of the cores, so that they do not fight for them.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.benchmark import gallery
from visual_foresight.benchmark.episode import run_task
from visual_foresight.benchmark.judging import judge_plan
from visual_foresight.benchmark.methods import PLANNING_METHODS, Imagination, make_imagination, make_pilot
from visual_foresight.benchmark.recordings import keep_recording
from visual_foresight.benchmark.rows import KEY, episode_row
from visual_foresight.benchmark.settings import ControlSettings
from visual_foresight.benchmark.simulators import num_rehearsals
from visual_foresight.worker_processes import follow_parent, results_of, worker_pool

NO_SHIFT = "none"
_PLANNER_STREAM = 0xB5


@dataclass(frozen=True, order=True)
class Job:
    """One episode to run.

    Args:
        method: a name in `METHODS`.
        shift: "none" or "NAME=STRENGTH".
        index: of the task in its set.
        planner_seed: of the planner.
    """

    method: str
    shift: str
    index: int
    planner_seed: int

    @property
    def key(self) -> tuple:
        """As `row_key` of the row that it gives."""
        return astuple(self)


@dataclass(frozen=True)
class Work:
    """What all episodes of a run share.

    Args:
        environment_id: of the real environment.
        tasks: the whole `TaskSet`.
        settings: how to plan.
        preset: of the learned simulator.
        dtype: Keras dtype policy of the predictor, or None.
        folder: where pictures of episodes go; None: no pictures are made.
        calibrate: whether the costs of candidates are compared with what they lead to, at every decision.
        num_threads: of one process; None: all cores.
        second: preset of the predictor whose second opinion is asked, or None.
        penalty: how much both opinions' disagreement costs.
        recordings: folder where every episode is kept as data to train on; None: nowhere.
    """

    environment_id: str
    tasks: Any
    settings: ControlSettings
    preset: str
    dtype: str | None = None
    folder: str | None = None
    calibrate: bool = False
    num_threads: int | None = None
    second: str | None = None
    penalty: float = 0.0
    recordings: str | None = None


class Workplace:
    """One process's environment and models, made when first needed.

    Args:
        work: what is to be run.
    """

    def __init__(self, work: Work) -> None:
        import gymnasium

        import visual_foresight  # noqa: F401  registers the environments

        self.work = work
        self.environment: Any = gymnasium.make(work.environment_id)
        if work.recordings is not None:
            from visual_foresight.envs import EpisodeRecorder

            self.environment = EpisodeRecorder(self.environment)
        self._imaginations: dict[str, Imagination] = {}
        self._shift = NO_SHIFT

    def run(self, job: Job) -> dict[str, Any]:
        """Run one episode and return its row; one with "skipped" where the shifted world has no room for the task."""
        self._enter(job.shift)
        try:
            return self._run(job)
        except ValueError as error:
            if job.shift == NO_SHIFT or "no room for a distractor" not in str(error):
                raise
            return {**dict(zip(KEY, job.key, strict=True)), "skipped": str(error)}

    def _run(self, job: Job) -> dict[str, Any]:
        task, settings = self.work.tasks[job.index], self.work.settings
        imagination = self._imagination(job.method, task)
        judgements: list[dict[str, Any]] = []

        def judge(controller: Any) -> None:
            judgements.append(judge_plan(self.environment, controller, task, settings, len(judgements)))

        outputs = ("pixels",) if self.work.folder is None else ("frames", "pixels")
        record = run_task(
            self.environment,
            imagination,
            task,
            settings,
            name=f"{self.work.tasks.name} #{job.index}",
            rng=planner_generator(job.planner_seed, task.seed),
            outputs=outputs,
            whole_budget=True,
            on_decision=judge if self.work.calibrate else None,
        )
        row = episode_row(
            record,
            task,
            method=job.method,
            index=job.index,
            planner_seed=job.planner_seed,
            shift=job.shift,
            deadline_ms=settings.deadline_ms,
        )
        if self.work.folder is not None:
            gallery.keep_pictures(Path(self.work.folder), record, row)
        if self.work.recordings is not None:
            keep_recording(Path(self.work.recordings), self.environment, job, task)
        return {**row, "judgements": judgements} if judgements else row

    def close(self) -> None:
        """Free the environment."""
        self.environment.close()

    def _enter(self, shift: str) -> None:
        if shift == self._shift:
            return
        from visual_foresight.envs.shifts import apply_shift, parse_shift

        apply_shift(self.environment, *(("", 0.0) if shift == NO_SHIFT else parse_shift(shift)))
        self._shift = shift

    def _imagination(self, method: str, task: Any) -> Imagination:
        if method not in self._imaginations:
            work = self.work
            made = make_imagination(
                method,
                self.environment,
                work.preset,
                dtype=work.dtype,
                num_threads=work.num_threads,
                second=work.second,
                penalty=work.penalty,
            )
            self._imaginations[method] = made
            if method in PLANNING_METHODS:
                self._rehearse(made, task)
        return self._imaginations[method]

    def _rehearse(self, imagination: Imagination, task: Any) -> None:
        """Make a decision that does not count, or a few: compiling is no part of the time of a decision."""
        observation, info = self.environment.reset(options={"task": task})
        settings = replace(self.work.settings, deadline_ms=None)
        pilot = make_pilot(self.environment.unwrapped, imagination, task, settings, 0)
        for _ in range(num_rehearsals(imagination.simulator)):
            pilot.reset()
            pilot.act(observation, pixels=info["object_pixels"][task.object_index][None])


def planner_generator(planner_seed: int, task_seed: int) -> np.random.Generator:
    """Return the planner's randomness in one episode."""
    return np.random.default_rng([_PLANNER_STREAM, planner_seed, task_seed])


def run_jobs(work: Work, jobs: Sequence[Job], *, workers: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the row of each job as it is finished.

    Args:
        work: what they share.
        jobs: in any order.
        workers: processes; 1 runs in this one, with `work.num_threads` where that can still be chosen.

    Raises:
        ValueError: `workers` below 1.
    """
    if workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}")
    if not jobs:
        return
    if workers == 1:
        place = Workplace(work)
        try:
            for job in jobs:
                yield place.run(job)
        finally:
            place.close()
        return
    threads = work.num_threads or max(1, len(os.sched_getaffinity(0)) // workers)
    work = replace(work, num_threads=threads)
    count = min(workers, len(jobs))
    with worker_pool(count, get_context("spawn"), _start_worker, (work,)) as pool:
        for finished in results_of(pool, _run_in_worker, jobs):
            if finished is not None:
                yield finished[1]


_workplace: Workplace | None = None  # of a worker process


def _start_worker(work: Work) -> None:
    global _workplace
    follow_parent()
    limit_threads(work.num_threads or 1)
    _workplace = Workplace(work)


def _run_in_worker(job: Job) -> dict[str, Any]:
    if _workplace is None:
        raise RuntimeError("the worker process was not started by run_jobs")
    return _workplace.run(job)


def limit_threads(count: int) -> None:
    """Let every library of this process compute with so many threads; must come before they are loaded."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[name] = str(count)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
