"""From a folder of episodes (or episodes in memory) to the windows that train and those that validate."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.affordable import require_memory
from visual_foresight.episode import Episode
from visual_foresight.formats import ReadOptions, read_shard
from visual_foresight.lookalikes import Lookalikes
from visual_foresight.pipeline import WindowSource, split_episodes
from visual_foresight.statistics import Statistics
from visual_foresight.train.config import TrainingConfig
from visual_foresight.train.places import find_training_shards
from visual_foresight.train.streaming import StreamedWindows

_RECORDER_NOTES = (
    "environment",
    "environment_version",
    "mujoco_version",
    "camera",
    "renderer",
    "metres_per_step",
    "control_hz",
    "state_names",
)
"""What the recorder says about robot and camera, kept with the predictor: it is only good for the same ones."""

_NO_LIMIT = 2**62
"""Bytes. Reading has kept to `cache_gb` already, and episodes that were passed in are in memory anyway."""

_BYTES_PER_PIXEL = 64
"""The least that a training step keeps of a pixel of each frame: truth, prediction, masks, what they mix; float32."""

_DEFAULT_SIZE = 5
"""Sizes of action and state where the data has none: the original's, so that its network has the original's shapes."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a run trains on and validates on.

    Args:
        train: windows that train, in memory or streamed.
        validation: windows that validate; the same batches are used at every validation.
        statistics: of the training episodes.
        labels: where each training episode comes from: file and record, or its place in a list; empty when streamed.
        facts: JSON-plain counts and descriptions, kept with the predictor.
    """

    train: WindowSource | StreamedWindows
    validation: WindowSource
    statistics: Statistics
    labels: Sequence[str]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Changes when the data does: a resumed run must see what the stopped one saw."""
        digest = hashlib.sha256(json.dumps(self.statistics.to_json()).encode())
        for source in (self.train, self.validation):
            if isinstance(source, StreamedWindows):
                digest.update(source.identity.encode())
                continue
            digest.update(f"{source.num_episodes},{source.num_windows},".encode())
            digest.update(source.batch(0)["frames"].tobytes())
        return digest.hexdigest()

    def episodes_of_batch(self, index: int) -> list[str]:
        """The labels of the episodes in training batch `index`, each once."""
        if isinstance(self.train, StreamedWindows):
            return ["streamed, so not known"]
        episodes, _ = self.train.draws(index)
        return [self.labels[episode] for episode in dict.fromkeys(int(each) for each in episodes)]


@dataclass
class _Loaded:
    """Episodes read so far, with where each came from.

    `short` and `faults` count what was passed over; `overflowed` says that the memory allowed for frames was full.
    """

    episodes: list[Episode] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    short: int = 0
    faults: int = 0
    num_bytes: int = 0
    overflowed: bool = False


def check_memory(config: TrainingConfig) -> None:
    """Refuse batches that cannot fit, before the data are read.

    Raises:
        ValueError: says how much they need, and what there is.
    """
    height, width = config.image_size
    pixels = config.batch_size * config.sequence_length * height * width
    what = f"the frames of batch_size={config.batch_size} x sequence_length={config.sequence_length}"
    require_memory(what, pixels * _BYTES_PER_PIXEL, "lower --batch_size, or --sequence_length or --image_size")


def load_data(config: TrainingConfig) -> TrainingData:
    """Read the episodes at `config.data_dir` and split them.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: a record cannot be read, nothing is left to train on or to validate on, or data that is split by
            episode does not fit the memory that `cache_gb` allows; each says what to change.
        ImportError: data that does not fit is streamed, which needs TensorFlow.
    """
    name, places = find_training_shards(config.data_dir)
    if config.split_by == "episode":
        loaded = _read(config, name, [shard for shards in places.values() for shard in shards], config.limit_episodes)
        facts = _facts(config, name, loaded)
        if loaded.overflowed:
            raise ValueError(
                f"the frames of {config.data_dir} need more than cache_gb={config.cache_gb:g} GiB of memory: raise "
                "--cache_gb, pass --limit_episodes or a smaller --image_size, or stream from disk with --split_by=file"
            )
        train, validation = split_episodes(
            list(zip(loaded.episodes, loaded.labels, strict=True)), config.train_val_split, config.seed
        )
        _require_both(len(train), len(validation), "episodes", config)
        return _assemble(config, train, validation, facts)
    train_files: list[Path] = []
    validation_files: list[Path] = []
    for place, shards in places.items():
        num_train = math.floor(config.train_val_split * len(shards))  # the original's split
        _require_both(num_train, len(shards) - num_train, f"files in {place}", config)
        train_files += shards[:num_train]
        validation_files += shards[num_train:]
    limit = config.limit_episodes
    train_limit = max(1, math.floor(config.train_val_split * limit)) if limit else 0
    loaded = _read(config, name, train_files, train_limit)
    # Validation looks at the same few batches every time: more episodes than windows in them would never be seen.
    enough = config.validation_batches * config.batch_size
    held_out = _read(config, name, validation_files, max(1, min(limit - train_limit, enough)) if limit else enough)
    for part, files in ((loaded, train_files), (held_out, validation_files)):
        if not part.episodes:
            raise ValueError(
                f"no episode of at least sequence_length={config.sequence_length} frames in {_files(files)} "
                f"{_remedy(part)}"
            )
    facts = _facts(config, name, loaded)
    train, validation = (list(zip(part.episodes, part.labels, strict=True)) for part in (loaded, held_out))
    if not loaded.overflowed:
        return _assemble(config, train, validation, facts)
    # The episodes that did fit are a sample: they give the statistics, then make room.
    notes = {**facts, "streamed_files": len(train_files), "statistics_of": "the episodes that fit"}
    sample = _assemble(config, train, validation, notes)
    sizes = len(sample.statistics.action_mean), len(sample.statistics.state_mean)
    skip_bad = config.skip_bad or bool(loaded.short)
    stream = StreamedWindows(
        config, name, train_files, sizes=sizes, skip_bad=skip_bad, lookalikes=sample.train.lookalikes
    )
    return replace(sample, train=stream, labels=())


def data_from_episodes(
    config: TrainingConfig, episodes: Iterable[Episode], validation_episodes: Iterable[Episode] | None = None
) -> TrainingData:
    """Split episodes that are in memory, unless those that validate are given; `config.data_dir` is not read.

    Raises:
        ValueError: nothing is left to train on or to validate on, or episodes do not agree in their sizes.
    """
    labelled = [(episode, f"episode {index}") for index, episode in enumerate(episodes)]
    if config.limit_episodes:
        labelled = labelled[: config.limit_episodes]
    if validation_episodes is not None:
        validation = [(episode, f"validation episode {index}") for index, episode in enumerate(validation_episodes)]
        train = labelled
    elif not labelled:
        raise ValueError("there is no episode to train on")
    else:
        train, validation = split_episodes(labelled, config.train_val_split, config.seed)
    _require_both(len(train), len(validation), "episodes", config)
    return _assemble(config, train, validation, {"format": "episodes in memory"})


def _read(config: TrainingConfig, name: str, shards: Sequence[Path], limit: int) -> _Loaded:
    loaded, several = _Loaded(), len({shard.parent for shard in shards}) > 1
    frames = config.sequence_length if config.window == "first" else None
    options = ReadOptions(config.preprocess, config.image_size, config.use_state, frames)
    for shard, index, record in _records(name, shards, options):
        if not isinstance(record, Episode):
            if not config.skip_bad:
                raise ValueError(f"{record} (--skip_bad=1 passes over such records)")
            loaded.faults += 1
            continue
        if record.num_frames < config.sequence_length:
            loaded.short += 1
            continue
        loaded.num_bytes += record.frames.nbytes
        if loaded.num_bytes > config.cache_gb * 2**30 and loaded.episodes:
            loaded.overflowed = True
            break
        loaded.episodes.append(record)
        place = f"{shard.parent.name}/{shard.name}" if several else shard.name
        loaded.labels.append(f"{place}, record {index}")
        if limit and len(loaded.episodes) == limit:
            break
    return loaded


def _records(name: str, shards: Sequence[Path], options: ReadOptions) -> Iterator[tuple[Path, int, Any]]:
    for shard in shards:
        for index, record in enumerate(read_shard(name, shard, options)):
            yield shard, index, record


def _assemble(
    config: TrainingConfig,
    train: list[tuple[Episode, str]],
    validation: list[tuple[Episode, str]],
    facts: Mapping[str, Any],
) -> TrainingData:
    _check_sizes(config, train + validation)
    statistics = _statistics(config, [episode for episode, _ in train])
    labels = tuple(label for _, label in train)
    first = train[0][0]
    options: dict[str, Any] = {
        "sequence_length": config.sequence_length,
        "batch_size": config.batch_size,
        "start": config.window,
        "use_state": config.use_state,
        "action_size": len(statistics.action_mean),
        "state_size": len(statistics.state_mean),
        "stride": config.stride,
        "memory_budget": _NO_LIMIT,
    }
    varied: dict[str, Any] = {"shorten": config.shorten, "colour_jitter": config.colour_jitter}
    facts = {
        **facts,
        "train_episodes": len(train),
        "validation_episodes": len(validation),
        "absent": ["states"] if config.use_state and train[0][0].states is None else [],
        "train_frames": sum(episode.num_frames for episode, _ in train),
        "recorded_with": {name: first.metadata[name] for name in _RECORDER_NOTES if name in first.metadata},
        **_action_limits(first, train),
    }
    if config.follow_weight:
        varied["lookalikes"] = Lookalikes.of((episode for episode, _ in train), config.seed)
        varied |= {"num_points": config.follow_points, "context": config.context_frames}
    held_out = WindowSource(_drained(validation), seed=config.seed + 1, **options)
    source = WindowSource(_drained(train), seed=config.seed, **options, **varied)
    return TrainingData(source, held_out, statistics, labels, facts)


def _check_sizes(config: TrainingConfig, labelled: list[tuple[Episode, str]]) -> None:
    """Refuse episodes of two robots, and frames of another size than the network's, where nobody resizes them."""
    first, first_label = labelled[0]
    for episode, label in labelled:
        for kind in ("action", "state") if config.use_state else ():
            sizes = [getattr(one, f"{kind}_size") for one in (episode, first)]
            if None not in sizes and sizes[0] != sizes[1]:
                raise ValueError(
                    f"{label}: its {kind} size is {sizes[0]}, that of {first_label} is {sizes[1]}: a predictor learns "
                    "one robot; train on episodes of one size"
                )
        found = tuple(episode.frames.shape[1:3])
        if found != tuple(config.image_size):
            height, width = config.image_size
            own = f"--image_size={found[0]}x{found[1]}, or " if not (found[0] % 8 or found[1] % 8) else ""
            raise ValueError(
                f"{label}: frames are {found[0]}x{found[1]}, --image_size is {height}x{width}: pass {own}"
                "--preprocess=antialias, which resizes"
            )


def _drained(labelled: list[tuple[Episode, str]]) -> Iterator[Episode]:
    """Hands episodes over and forgets them, so that their frames are not held twice."""
    labelled.reverse()
    while labelled:
        yield labelled.pop()[0]


def _statistics(config: TrainingConfig, episodes: list[Episode]) -> Statistics:
    if not config.use_state:
        return Statistics.identity(_DEFAULT_SIZE, _DEFAULT_SIZE)
    measured = Statistics.of(episodes)
    if not len(measured.action_mean):
        raise ValueError("the episodes have no actions: pass --use_state=0 to train on images alone")
    if not len(measured.state_mean):  # a robot without sensors: one constant number stands for its state
        return Statistics(
            measured.action_mean, measured.action_deviation, np.zeros(1), np.ones(1), num_frames=measured.num_frames
        )
    return measured


def _action_limits(first: Episode, train: list[tuple[Episode, str]]) -> dict[str, Any]:
    """Limits of the action from the recorder's own notes, else the extremes that occur."""
    known = {
        name: first.metadata[name] for name in ("action_names", "action_low", "action_high") if name in first.metadata
    }
    if first.actions is None or "action_low" in known:
        return known
    low = np.min([episode.actions.min(axis=0) for episode, _ in train if episode.actions is not None], axis=0)
    high = np.max([episode.actions.max(axis=0) for episode, _ in train if episode.actions is not None], axis=0)
    return {
        **known,
        "action_low": low.tolist(),
        "action_high": high.tolist(),
        "action_limits_from": "extremes of the data",
    }


def _facts(config: TrainingConfig, name: str, loaded: _Loaded) -> dict[str, Any]:
    if not loaded.episodes:
        raise ValueError(
            f"no episode of at least sequence_length={config.sequence_length} frames in {config.data_dir} "
            f"{_remedy(loaded)}"
        )
    return {"format": name, "too_short": loaded.short, "unreadable": loaded.faults}


def _remedy(loaded: _Loaded) -> str:
    """What is there instead of episodes, and what to do."""
    if loaded.faults and not loaded.short:
        return f"({loaded.faults} damaged records): mend the data, `visual-foresight data validate` names each fault"
    damaged = f", {loaded.faults} damaged records" if loaded.faults else ""
    return f"({loaded.short} shorter ones{damaged}): pass a smaller --sequence_length"


def _require_both(num_train: int, num_validation: int, what: str, config: TrainingConfig) -> None:
    if num_train and num_validation:
        return
    remedy = (
        "pass --split_by=episode" if what.startswith("files") else "give more episodes, or another --train_val_split"
    )
    raise ValueError(
        f"train_val_split={config.train_val_split:g} of {num_train + num_validation} {what} leaves {num_train} to "
        f"train on and {num_validation} to validate on: {remedy}"
    )


def _files(files: Sequence[Path]) -> str:
    return files[0].name if len(files) == 1 else f"{files[0].name} ... {files[-1].name}"
