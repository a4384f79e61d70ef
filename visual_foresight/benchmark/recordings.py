"""Episodes of a run as data to train on: a file each, so that a run that goes on adds to them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from visual_foresight.benchmark.methods import METHODS
from visual_foresight.formats import write_episodes

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
    name = f"{job.method}-{job.shift}-{job.index:05d}-{job.planner_seed}.npz"
    write_episodes(folder / name, [recorder.episode(about)])


def discard_recordings(folder: Path) -> None:
    """Delete what `keep_recording` wrote into a folder, and nothing else."""
    for method in METHODS:
        for path in folder.glob(f"{method}-*-[0-9][0-9][0-9][0-9][0-9]-*.npz"):
            path.unlink(missing_ok=True)
