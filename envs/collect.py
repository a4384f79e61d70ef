"""Collects episodes on all cores: one pure function from a range of seeds to a shard, complete or absent.

Episode i depends on the settings, the seed and i alone, so the data do not depend on the number of workers, on the
order in which shards are finished, or on whether the run was stopped and resumed.
"""

from __future__ import annotations

import json
import math
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.affordable import require_at_most
from visual_foresight.envs.collection_report import merge_counts, report_of
from visual_foresight.envs.collection_size import check_room
from visual_foresight.envs.policies import Policy, make_policy, parse_policy
from visual_foresight.envs.push import PushEnv
from visual_foresight.envs.recorder import EpisodeRecorder, environment_metadata
from visual_foresight.envs.scene import BIN_HALF_SIZE, check_num_objects, check_split
from visual_foresight.episode import Episode
from visual_foresight.formats import ShardWriter, writable_format
from visual_foresight.video_files import write_text
from visual_foresight.worker_processes import MOST_WORKERS, follow_parent, results_of, worker_pool

MANIFEST = "collection.json"
MANIFEST_VERSION = 1
MOVED_METRES = 0.02  # an object counts as moved beyond this ...
MOVED_STEPS = 15  # ... within so many steps


@dataclass(frozen=True)
class CollectSettings:
    """What decides the data of a collection.

    Args:
        episodes: number of them.
        steps: actions of an episode; it has one frame more.
        policy: a policy's name or a mixture by weight, such as `"scripted=0.6,smooth=0.3,uniform=0.1"`.
        split: `"train"`, `"novel"`, `"varied"` or `"jointed"` objects.
        num_objects: smallest and largest number of objects.
        seed: of everything.
        shard_size: episodes of one file.
        format: `"npz"` or `"push"`.
        image_size: rows and columns of the frames, or one number for both.
        encoding: how the format stores frames; None takes its first (see `write_episodes`).

    Raises:
        ValueError: a value is unknown or out of range.
    """

    episodes: int
    steps: int = 20
    policy: str = "scripted=0.6,smooth=0.3,uniform=0.1"
    split: str = "train"
    num_objects: tuple[int, int] = (1, 3)
    seed: int = 0
    shard_size: int = 100
    format: str = "npz"
    image_size: int | tuple[int, int] = 64
    encoding: str | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("episodes", "steps", "shard_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        parse_policy(self.policy)
        check_split(self.split)
        encodings = writable_format(self.format).encodings
        if self.encoding is not None and self.encoding not in encodings:
            raise ValueError(
                f"format {self.format!r} stores frames as one of {', '.join(encodings)}, got encoding {self.encoding!r}"
            )
        object.__setattr__(self, "num_objects", check_num_objects(self.num_objects))

    @property
    def num_shards(self) -> int:
        """Number of files."""
        return math.ceil(self.episodes / self.shard_size)

    def indices(self, shard: int) -> range:
        """Numbers of the episodes of one file."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.episodes))

    def file_name(self, shard: int) -> str:
        """Name of one file."""
        return f"episodes-{shard:05d}{writable_format(self.format).suffix}"


def make_environment(settings: CollectSettings) -> PushEnv:
    """The environment that a collection runs in; one serves for all its episodes."""
    return PushEnv(image_size=settings.image_size, split=settings.split, num_objects=settings.num_objects)


def run_episode(env: PushEnv, policy: Policy, settings: CollectSettings, index: int) -> Episode:
    """Runs episode `index` of a collection: a pure function of the settings and the index.

    Args:
        env: from `make_environment(settings)`; its own state does not matter.
        policy: from `make_policy(settings.policy)`; its own state does not matter.
        settings: of the collection.
        index: of the episode.
    """
    env_seed, policy_seed = np.random.SeedSequence([settings.seed, index]).spawn(2)
    scene_seed = int(env_seed.generate_state(1, np.uint64)[0] >> np.uint64(1))
    recorder = EpisodeRecorder(env)
    observation, info = recorder.reset(seed=scene_seed)
    policy.reset(env.scene, np.random.default_rng(policy_seed))
    for _ in range(settings.steps):
        observation, _, _, _, info = recorder.step(policy.act(observation["state"], info))
    about = {"seed": scene_seed, "collection_seed": settings.seed, "index": index, "policy": policy.name}
    return recorder.episode({**about, "split": settings.split})


def collect_shard(
    settings: CollectSettings, directory: str, shard: int, on_episode: Callable[[], None] | None = None
) -> dict[str, dict[str, int]]:
    """Runs the episodes of one shard and writes its file, complete or not at all.

    Args:
        settings: of the collection.
        directory: where the file goes.
        shard: its number.
        on_episode: called after each episode.

    Returns:
        Counts for each policy; see `merge_counts`.
    """
    env, policy = make_environment(settings), make_policy(settings.policy)
    counts: dict[str, dict[str, int]] = {}
    path = Path(directory) / settings.file_name(shard)
    with ShardWriter(path, format=settings.format, encoding=settings.encoding) as writer:
        for index in settings.indices(shard):
            episode = run_episode(env, policy, settings, index)
            writer.add(episode)
            merge_counts(counts, {policy.name: _count(episode)})
            if on_episode is not None:
                on_episode()
    return counts


def _count(episode: Episode) -> dict[str, int]:
    present = episode.extras["object_present"]
    positions = episode.extras["object_positions"][..., :2]
    shift = np.linalg.norm(positions[: MOVED_STEPS + 1] - positions[0], axis=-1)
    return {
        "episodes": 1,
        "frames": episode.num_frames,
        "moved": int(shift.max() > MOVED_METRES),
        "hidden": int(episode.extras["object_hidden"].sum()),
        "objects": int(present.sum()),
        "escaped": int((np.abs(positions) > BIN_HALF_SIZE).any()),
    }


# One per worker process: a counter in shared memory from which the parent draws its progress bar.
_progress: Any = None


def _start_worker(progress: Any) -> None:
    global _progress
    _progress = progress
    follow_parent()


def _advance() -> None:
    with _progress.get_lock():
        _progress.value += 1


def _work(settings: CollectSettings, directory: str, shard: int) -> dict[str, dict[str, int]]:
    return collect_shard(settings, directory, shard, _advance)


def collect_episodes(
    directory: str | os.PathLike[str],
    settings: CollectSettings,
    *,
    workers: int | None = None,
    resume: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Collects episodes into a directory of shards with a manifest, `collection.json`.

    Args:
        directory: made if missing; must not hold another collection.
        settings: what to collect.
        workers: processes; None means one for each core that this process may use.
        resume: continue a stopped collection of the same settings; files that are complete are kept, those of another
            size than they were written with are made anew. More episodes than before make it longer, and the last file
            is made anew if it is not full.
        on_progress: called now and then with the number of new episodes since the last call.

    Returns:
        A report: counts by policy, shares, rate [episodes/s], share of busy cores.

    Raises:
        ValueError: the directory holds a collection and `resume` is off, or one of other settings or versions, or of
            more episodes; or there is no room for the episodes.
    """
    directory = Path(directory)
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    require_at_most("workers", workers, MOST_WORKERS, "each has an environment of its own")
    check_room(directory, settings)
    manifest = _open_manifest(directory, settings, resume)
    manifest["shards"] = {
        shard: counts
        for shard, counts in manifest["shards"].items()
        if _is_whole(directory / settings.file_name(int(shard)), manifest["bytes"].get(shard))
        and _is_full(counts, settings.indices(int(shard)))
    }
    finished = set(manifest["shards"])
    _write_manifest(directory, manifest)
    missing = [shard for shard in range(settings.num_shards) if str(shard) not in finished]
    if on_progress is not None:
        on_progress(sum(len(settings.indices(int(shard))) for shard in finished))
    started, busy_before = time.perf_counter(), _cpu_seconds()
    try:
        for shard, counts in _run(settings, str(directory), missing, min(workers, max(1, len(missing))), on_progress):
            manifest["shards"][str(shard)] = counts
            manifest["bytes"][str(shard)] = (directory / settings.file_name(shard)).stat().st_size
            _write_manifest(directory, manifest)
    except BaseException:  # an interrupt ends the workers in the middle of their files
        _remove_partial(directory)
        raise
    seconds, busy = time.perf_counter() - started, _cpu_seconds() - busy_before
    new = sum(len(settings.indices(shard)) for shard in missing)
    return report_of(manifest, directory, new, seconds, busy / (seconds * workers) if new else 0.0, workers)


def _run(
    settings: CollectSettings,
    directory: str,
    shards: list[int],
    workers: int,
    on_progress: Callable[[int], None] | None,
) -> Iterator[tuple[int, dict[str, dict[str, int]]]]:
    """Yields each shard's number and counts as soon as it is finished."""
    if not shards:
        return
    context = get_context("spawn")
    counter, shown = context.Value("l", 0), 0
    with worker_pool(workers, context, _start_worker, (counter,)) as pool:
        for finished in results_of(pool, partial(_work, settings, directory), shards):
            if on_progress is not None and counter.value > shown:
                on_progress(counter.value - shown)
                shown = counter.value
            if finished is not None:
                yield finished


def _cpu_seconds() -> float:
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _open_manifest(directory: Path, settings: CollectSettings, resume: bool) -> dict[str, Any]:
    wanted = _identity(settings)
    path = directory / MANIFEST
    if not path.exists():
        if directory.is_dir() and any(directory.glob("episodes-*")):
            raise ValueError(f"{directory} holds episodes but no {MANIFEST}; choose an empty directory")
        return {**wanted, "shards": {}, "bytes": {}}
    if not resume:
        raise ValueError(
            f"{directory} holds a collection already; continue it with --resume or choose another directory"
        )
    try:
        manifest = json.loads(path.read_text())
        differing = [name for name in wanted if manifest[name] != wanted[name] and name != "settings"]
        found, asked = manifest["settings"], wanted["settings"]
        differing += [
            f"settings.{name} ({found.get(name)!r}, now {asked[name]!r})"
            for name in asked
            if found.get(name) != asked[name] and name != "episodes"
        ]
        more = found["episodes"] > settings.episodes
        manifest["shards"] = dict(manifest["shards"])
        manifest["bytes"] = dict(manifest.get("bytes", {}))  # not there before 2026-11-28
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); collect into another directory") from error
    if differing:
        raise ValueError(
            f"{directory} was collected with other values of {', '.join(differing)}; a collection is never mixed: "
            "resume it with its own settings or choose another directory"
        )
    if more:
        raise ValueError(
            f"{directory} is a collection of {found['episodes']} episodes, more than {settings.episodes}: --resume "
            "makes a collection longer, never shorter"
        )
    manifest["settings"] = wanted["settings"]
    _remove_partial(directory)
    return manifest


def _remove_partial(directory: Path) -> None:
    for leftover in directory.glob(".episodes-*.partial"):
        leftover.unlink(missing_ok=True)


def _is_whole(path: Path, size: int | None) -> bool:
    """Whether a file is there, as long as it was when it was written."""
    return path.is_file() and (size is None or path.stat().st_size == size)


def _is_full(counts: Mapping[str, Mapping[str, int]], indices: range) -> bool:
    """Whether a file has all its episodes; one that was the last of a shorter collection may not."""
    return sum(each["episodes"] for each in counts.values()) == len(indices)


def _identity(settings: CollectSettings) -> dict[str, Any]:
    about = environment_metadata(make_environment(settings))
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}
    about["settings"] = plain
    return {"collection_version": MANIFEST_VERSION, **about}


def _write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    ordered = {
        name: dict(sorted(manifest[name].items(), key=lambda item: int(item[0]))) for name in ("shards", "bytes")
    }
    write_text(directory / MANIFEST, json.dumps({**manifest, **ordered}, indent=1))
