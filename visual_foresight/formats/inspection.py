"""Looking at a data set: what it holds (`summarise`) and what is wrong with it (`find_faults`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from visual_foresight.episode import Episode
from visual_foresight.formats import Fault, ReadOptions, find_shards, read_shard
from visual_foresight.given_arrays import check_magnitude
from visual_foresight.statistics import Moments, Statistics

__all__ = ["Misfit", "Summary", "find_faults", "summarise"]

PathLike = str | os.PathLike[str]


class Misfit(Fault):
    """An episode that can be read, but is too short or of another size than the first."""


@dataclass
class Summary:
    """What a data set holds; sizes map each value found to the number of episodes that have it.

    `constant` lists the dimensions of "action" and "state" that never change; `statistics` gives them the deviation 1.
    """

    path: str
    format: str
    num_files: int
    num_bytes: int
    num_episodes: int = 0
    num_frames: int = 0
    shortest: int = 0
    longest: int = 0
    image_sizes: dict[str, int] = field(default_factory=dict)
    action_sizes: dict[str, int] = field(default_factory=dict)
    state_sizes: dict[str, int] = field(default_factory=dict)
    extras: dict[str, str] = field(default_factory=dict)
    metadata: list[str] = field(default_factory=list)
    statistics: dict[str, Any] | None = None
    constant: dict[str, list[int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def summarise(
    path: PathLike,
    *,
    format: str | None = None,
    options: ReadOptions | None = None,
    max_episodes: int | None = None,
    skip_bad: bool = False,
    on_episode: Callable[[Episode], None] | None = None,
) -> Summary:
    """Read a data set, one episode in memory at a time, and return what it holds.

    Args:
        path: A file or folder.
        format: Name of the format; None recognises it.
        options: How to read; the stored size unless told.
        max_episodes: Stop after so many.
        skip_bad: List damaged records under `faults` instead of raising.
        on_episode: Called with each episode.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: A record is damaged and `skip_bad` is not set, or there is no episode.
    """
    name, shards = find_shards(path, format=format)
    num_bytes = sum(file.stat().st_size for shard in shards for file in _files_of(shard))
    if max_episodes is not None and max_episodes < 1:
        raise ValueError(f"max_episodes must be at least 1, got {max_episodes}")
    summary = Summary(os.fspath(path), name, len(shards), num_bytes)
    statistics = _StatisticsWhileAlike()
    for _, record in _records(name, shards, options):
        if isinstance(record, Fault):
            if not skip_bad:
                raise ValueError(f"{record} (pass over such records with --skip_bad)")
            summary.faults.append(str(record))
            continue
        _count(summary, record)
        statistics.add(record)
        if on_episode is not None:
            on_episode(record)
        if max_episodes is not None and summary.num_episodes >= max_episodes:
            break
    if not summary.num_episodes:
        raise ValueError(f"{path} holds no episode that can be read ({len(summary.faults)} damaged records)")
    summary.statistics, summary.constant = statistics.result(), statistics.constant()
    return summary


class _StatisticsWhileAlike:
    """Statistics of episodes, or None where their sizes differ: a mean over different robots says nothing."""

    def __init__(self) -> None:
        self._moments = {"action": Moments("action"), "state": Moments("state")}
        self._sizes: set[tuple[int | None, int | None]] = set()
        self._num_frames = 0

    def add(self, episode: Episode) -> None:
        self._sizes.add((episode.action_size, episode.state_size))
        self._num_frames += episode.num_frames
        if len(self._sizes) == 1:
            self._moments["action"].add(episode.actions)
            self._moments["state"].add(episode.states)

    def result(self) -> dict[str, Any] | None:
        if len(self._sizes) != 1:
            return None
        return Statistics(
            *self._moments["action"].result(), *self._moments["state"].result(), self._num_frames
        ).to_json()

    def constant(self) -> dict[str, list[int]]:
        if len(self._sizes) != 1:
            return {}
        return {kind: np.flatnonzero(moments.constant()).tolist() for kind, moments in self._moments.items()}


def find_faults(
    path: PathLike,
    *,
    format: str | None = None,
    options: ReadOptions | None = None,
    sequence_length: int | None = None,
    on_episode: Callable[[Episode], None] | None = None,
) -> Iterator[Fault]:
    """Read every record of a data set and yield what is wrong.

    That is what cannot be read, and as a `Misfit` an episode shorter than `sequence_length`, of other sizes than the
    first one (a predictor takes one size), or with actions or states so large that training would refuse them.
    `on_episode` is called with each episode that is in order.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: The format is unknown or not recognised, or `sequence_length` is below 1.
    """
    if sequence_length is not None and sequence_length < 1:
        raise ValueError(f"sequence_length must be at least 1 frame, got {sequence_length}")
    name, shards = find_shards(path, format=format)
    first: tuple[Any, ...] | None = None
    for index, record in _records(name, shards, options):
        if isinstance(record, Fault):
            yield record
            continue
        file, number = index
        sizes = (record.image_size, record.action_size, record.state_size)
        first = first or sizes
        message = _difference(sizes, first) or _absurdity(record)
        if message is None and sequence_length is not None and record.num_frames < sequence_length:
            message = f"has {record.num_frames} frames, fewer than the sequence length {sequence_length}"
        if message is not None:
            yield Misfit(file, number, message)
        elif on_episode is not None:
            on_episode(record)


def _difference(sizes: tuple[Any, ...], first: tuple[Any, ...]) -> str | None:
    for name, size, expected in zip(("image", "action", "state"), sizes, first, strict=True):
        if size != expected:
            return f"has {name} size {size}, the first episode has {expected}"
    return None


def _absurdity(episode: Episode) -> str | None:
    for name, rows in (("actions", episode.actions), ("states", episode.states)):
        try:
            if rows is not None:
                check_magnitude(name, rows)
        except ValueError as error:
            return f"its {error}"
    return None


def _records(name: str, shards: list[Any], options: ReadOptions | None) -> Iterator[tuple[Any, Episode | Fault]]:
    options = options or ReadOptions(preprocess="none")
    for shard in shards:
        for number, record in enumerate(read_shard(name, shard, options)):
            yield (shard, number), record


def _count(summary: Summary, episode: Episode) -> None:
    height, width = episode.image_size
    found = (
        (summary.image_sizes, f"{height}x{width}"),
        (summary.action_sizes, str(episode.action_size)),
        (summary.state_sizes, str(episode.state_size)),
    )
    for counts, size in found:
        counts[size] = counts.get(size, 0) + 1
    length = episode.num_frames
    summary.shortest = length if not summary.num_episodes else min(summary.shortest, length)
    summary.longest = max(summary.longest, length)
    summary.num_episodes += 1
    summary.num_frames += length
    for name, value in episode.extras.items():
        summary.extras.setdefault(name, f"{value.dtype} {list(np.shape(value))}")
    summary.metadata = sorted({*summary.metadata, *episode.metadata})


def _files_of(shard: Any) -> list[Any]:
    return [shard] if shard.is_file() else [file for file in shard.rglob("*") if file.is_file()]
