"""Episodes of a run as data to train on: a file each, so that a run that goes on adds to them.

A file is named after the task's own seed, not its number, so files of several runs can lie in one folder.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visual_foresight.benchmark.methods import METHODS
from visual_foresight.formats import write_episodes

_NAME = re.compile(r"(none|\w+=-?[\d.]+)-\d+-\d+\.npz")  # shift, task's seed, planner's seed

if TYPE_CHECKING:
    from visual_foresight.benchmark.runner import Job
    from visual_foresight.envs.tasks import Task


def keep_recording(folder: Path, recorder: Any, job: "Job", task: "Task") -> None:
    """Write the episode that just ended.

    Args:
        folder: made if missing.
        recorder: the `EpisodeRecorder` that it ran in.
        job: which episode it was.
        task: what was asked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "policy": job.method,
        "shift": job.shift,
        "task_seed": task.seed,
        "planner_seed": job.planner_seed,
        "split": task.split,
        "success": bool(recorder.unwrapped.success),
    }
    write_episodes(recording_path(folder, job, task), [recorder.episode(about)])


def recording_path(folder: Path, job: "Job", task: "Task") -> Path:
    """Return the file of an episode."""
    return folder / f"{job.method}-{job.shift}-{task.seed}-{job.planner_seed}.npz"


def without_recording(folder: Path, jobs: "Sequence[Job]", tasks: Any) -> int:
    """Return how many of these episodes have no file."""
    return sum(not recording_path(folder, job, tasks[job.index]).is_file() for job in jobs)


def discard_recordings(folder: Path) -> None:
    """Delete what `keep_recording` wrote into a folder, and nothing else."""
    for method in METHODS:
        for path in folder.glob(f"{method}-*.npz"):
            if _NAME.fullmatch(path.name.removeprefix(f"{method}-")):
                path.unlink(missing_ok=True)
