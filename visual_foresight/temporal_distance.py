"""How many control steps apart two frames are: a small network, its training, and its files.

The judge of the objective :class:`visual_foresight.planners.objectives.TemporalDistance`. Its labels cost nothing: any
two frames of a logged episode are as many steps apart as there are actions between them. It is trained on imagined
frames too, because in planning it never sees others; a judge of camera pictures alone misjudges blurred ones.

Letters: B pairs, N frames, T frames of an episode, H, W rows and columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from visual_foresight.backend import compile_function, device_kind
from visual_foresight.episode import Episode
from visual_foresight.frames import check_floats, to_float, to_uint8
from visual_foresight.planners.settings import require_count, require_number
from visual_foresight.predictor.checkpoint import weights_bytes, write_model_folder
from visual_foresight.predictor.description import sha256_of

__all__ = ["TemporalDistanceNetwork", "train_temporal_distance"]

_FORMAT = "visual-foresight temporal distance"
_CONFIG_FILE, _WEIGHTS_FILE = "config.json", "model.weights.h5"
_NUM_FEATURES = 64
_CHUNK = 256  # frames judged at once


class TemporalDistanceNetwork(keras.Model):
    """Steps from a frame to a goal frame: both through one encoder, then a small head that compares.

    Args:
        image_size: (H, W), as in the frames it is trained with.
        max_distance: longest distance it is taught [steps]; farther pairs are called this far.
        width: channels of the first convolution.
        seed: of the initial weights.

    Raises:
        ValueError: a size or distance that is not positive.
    """

    def __init__(self, image_size: tuple[int, int], *, max_distance: float = 30.0, width: int = 16, seed: int = 0):
        super().__init__(name="temporal_distance")
        if min(*image_size, width) < 1 or not max_distance > 0.0:
            raise ValueError(
                f"image_size, width and max_distance must be positive, got {image_size}, {width}, {max_distance}"
            )
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.max_distance, self.width = float(max_distance), int(width)
        seeds = iter(range(seed * 1000, seed * 1000 + 100))

        def glorot() -> Any:
            return keras.initializers.GlorotUniform(seed=next(seeds))

        widths = (width, 2 * width, 3 * width, 4 * width)
        self.encoder = keras.Sequential(
            [keras.Input((*self.image_size, 3))]
            + [
                layers.Conv2D(count, 3, strides=2, padding="same", activation="relu", kernel_initializer=glorot())
                for count in widths
            ]
            + [layers.Flatten(), layers.Dense(_NUM_FEATURES, kernel_initializer=glorot())]
        )
        self.head = keras.Sequential(
            [
                keras.Input((3 * _NUM_FEATURES,)),
                layers.Dense(_NUM_FEATURES, activation="relu", kernel_initializer=glorot()),
                layers.Dense(1, activation="softplus", kernel_initializer=glorot()),
            ]
        )
        self.built = True
        self._judge: Any = None

    def call(self, pair: tuple[Any, Any]) -> Any:
        """Frames [B, H, W, 3] and goals [B or 1, H, W, 3] in [0, 1] to steps [B]."""
        here, there = (self.encoder(frames - 0.5) for frames in pair)
        there = ops.broadcast_to(there, ops.shape(here))
        compared = ops.concatenate([here, there, ops.abs(here - there)], axis=-1)
        return self.head(compared)[:, 0] * (self.max_distance / 4.0)

    def distance(self, frames: Any, goal: Any) -> Any:
        """Steps [N] from frames [N, H, W, 3] to a goal [H, W, 3]; of arrays an array, else a tensor.

        Both uint8, or floating in [0, 1].

        Raises:
            ValueError: frames of another size than the network was made for, of another dtype or far outside [0, 1]
                (of frames, the first stands for all).
        """
        frames, goal = (np.asarray(each) if isinstance(each, (list, tuple)) else each for each in (frames, goal))
        shape = (*self.image_size, 3)
        if len(frames.shape) != 4 or tuple(frames.shape[1:]) != shape or tuple(goal.shape) != shape:
            raise ValueError(
                f"the temporal distance was trained on {self.image_size} frames: frames must be [N, H, W, 3] and the "
                f"goal [H, W, 3] of that size, got {tuple(frames.shape)} and {tuple(goal.shape)}"
            )
        frames, goal = (to_float(each) if str(each.dtype) == "uint8" else each for each in (frames, goal))
        for name, given in (("frames", frames[:1]), ("goal", goal)):
            if isinstance(given, np.ndarray):
                check_floats(name, given)
        if not isinstance(frames, np.ndarray):
            return self((frames, ops.convert_to_tensor(goal, "float32")[None]))
        if self._judge is None:
            self._judge = compile_function(lambda frames, goal: self((frames, goal)), model=self)
        if not len(frames):
            return np.zeros(0, np.float32)
        goal = np.asarray(goal, np.float32)[None]
        return np.concatenate([self._judge_chunk(piece, goal) for piece in _chunks(frames.astype(np.float32))])

    def _judge_chunk(self, frames: np.ndarray, goal: np.ndarray) -> np.ndarray:
        missing = (1 << (len(frames) - 1).bit_length()) - len(frames)  # few sizes, so few compilations
        padded = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
        return np.asarray(self._judge(padded, goal))[: len(frames)]

    def save(self, directory: str | Path) -> None:  # type: ignore[override]
        """Write a directory of ``config.json`` and ``model.weights.h5``, whole or not at all; replaces an earlier one.

        Raises:
            ValueError: the directory exists and holds something else.
            OSError: the disk is full or not writable; names the file.
        """
        weights = weights_bytes(self)
        description = {
            "format": _FORMAT,
            "image_size": list(self.image_size),
            "max_distance": self.max_distance,
            "width": self.width,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        }
        text = json.dumps(description, indent=2) + "\n"
        write_model_folder(directory, weights, text, kind="saved temporal distance", file_format=_FORMAT)

    @classmethod
    def load(cls, directory: str | Path) -> TemporalDistanceNetwork:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged, or something else.
        """
        config, weights = Path(directory) / _CONFIG_FILE, Path(directory) / _WEIGHTS_FILE
        for path in (config, weights):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing; a temporal distance is {_CONFIG_FILE} and {_WEIGHTS_FILE}")
        try:
            found = json.loads(config.read_text(encoding="utf-8"))
            if found["format"] != _FORMAT:
                raise ValueError(f"its format is {found['format']!r}, not {_FORMAT!r}")
            network = cls(tuple(found["image_size"]), max_distance=found["max_distance"], width=found["width"])
            expected = found["weights_sha256"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{config} describes no temporal distance: {error}") from error
        if sha256_of(weights) != expected:
            raise ValueError(f"{weights} is damaged, or belongs to another {_CONFIG_FILE}; copy both again")
        network.load_weights(weights)
        return network


def train_temporal_distance(
    episodes: Sequence[Episode],
    *,
    seed: int,
    simulator: Any = None,
    num_imagined: int = 200,
    imagined_share: float = 0.5,
    horizon: int = 15,
    max_distance: float = 30.0,
    num_steps: int = 2000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    width: int = 16,
) -> TemporalDistanceNetwork:
    """Teach a network how many steps lie between an earlier frame and a later one of the same episode.

    Args:
        episodes: with frames of one size; for imagined frames also actions (and states, if the predictor reads them).
        seed: of weights and pairs; the same seed gives the same network on the same machine.
        simulator: a ``LearnedSimulator`` that imagines what the logged actions lead to; None trains on camera frames.
        num_imagined: rollouts imagined, each from a random moment of a random episode.
        imagined_share: of the pairs of a batch, how many begin at an imagined frame.
        horizon: steps of each imagined rollout.
        max_distance: distances are cut to this [steps], at least 1.
        num_steps: of Adam, with a cosine schedule.
        batch_size: B.
        learning_rate: at the beginning.
        width: channels of the first convolution.

    Raises:
        ValueError: no episode of two frames, frames of different sizes, or a setting outside its range.
    """
    require_number("learning_rate", learning_rate, 0.0, open_low=True)
    require_number("max_distance", max_distance, 1.0)
    require_count("seed", seed, 0)
    usable = [episode for episode in episodes if episode.num_frames >= 2]
    sizes = {episode.frames.shape[1:3] for episode in usable}
    if len(sizes) != 1:
        raise ValueError(f"need episodes of two frames or more, all of one size; got {len(usable)} of sizes {sizes}")
    if not 0.0 <= imagined_share < 1.0 or min(num_steps, batch_size, num_imagined, horizon) < 1:
        raise ValueError("imagined_share must lie in [0, 1), and num_steps, batch_size, num_imagined, horizon above 0")
    clips = [_Clip(episode.frames, episode.frames, 0, 1) for episode in usable]
    imagined = [] if simulator is None else _imagine(usable, simulator, num_imagined, horizon, seed)
    pairs = _Pairs(clips, imagined, imagined_share if imagined else 0.0, max_distance, num_steps, batch_size, seed)
    network = TemporalDistanceNetwork(sizes.pop(), max_distance=max_distance, width=width, seed=seed)
    network.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, num_steps)),
        loss=keras.losses.Huber(delta=2.0),
        jit_compile=device_kind() != "cpu",
    )
    network.fit(pairs, epochs=1, shuffle=False, verbose=0)
    return network


@dataclass(frozen=True, eq=False)
class _Clip:
    """Frames to begin at, and the camera frames of the same episode to end at.

    ``begin[i]`` is the moment of ``end[first + i * every]``.
    """

    begin: np.ndarray  # [N, H, W, 3] uint8
    end: np.ndarray  # [T, H, W, 3] uint8
    first: int
    every: int

    def draw(self, rng: np.random.Generator, max_distance: float) -> tuple[np.ndarray, np.ndarray, float]:
        """A frame, a later one (or the same moment), and how many steps lie between."""
        index = int(rng.integers(len(self.begin)))
        moment = self.first + index * self.every
        last = min(len(self.end) - 1, moment + int(max_distance))
        goal = int(rng.integers(moment, last + 1))
        return self.begin[index], self.end[goal], float(goal - moment)


class _Pairs(keras.utils.PyDataset):
    """Batches of pairs; batch i depends on the seed and i alone."""

    def __init__(
        self,
        clips: Sequence[_Clip],
        imagined: Sequence[_Clip],
        imagined_share: float,
        max_distance: float,
        num_steps: int,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._kinds = (clips, imagined)
        self._share, self._max_distance = imagined_share, max_distance
        self._num_steps, self._batch_size, self._seed = num_steps, batch_size, seed

    def __len__(self) -> int:
        return self._num_steps

    def __getitem__(self, index: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        rng = np.random.default_rng([self._seed, index])
        drawn = [self._draw(rng) for _ in range(self._batch_size)]
        frames, goals, distances = zip(*drawn, strict=True)
        return (to_float(np.stack(frames)), to_float(np.stack(goals))), np.array(distances, np.float32)

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        clips = self._kinds[int(rng.random() < self._share)]
        return clips[int(rng.integers(len(clips)))].draw(rng, self._max_distance)


def _imagine(episodes: Sequence[Episode], simulator: Any, count: int, horizon: int, seed: int) -> list[_Clip]:
    """What the simulator sees of logged actions, each clip from a random moment; as often as its stride shows it."""
    every = int(getattr(simulator, "stride", 1))
    steps = max(horizon // every, 1) * every
    long = [episode for episode in episodes if episode.num_frames > steps and episode.actions is not None]
    if not long:
        raise ValueError(f"no episode has actions and more than {steps} frames to imagine; lower horizon")
    rng = np.random.default_rng([seed, 2**31])
    leaps = {"every": every} if every > 1 else {}
    clips = []
    for _ in range(count):
        episode = long[int(rng.integers(len(long)))]
        moment = int(rng.integers(episode.num_frames - steps))
        states = None if episode.states is None else episode.states[moment : moment + 1]
        start = simulator.start(episode.frames[moment : moment + 1], None, states)
        actions = np.asarray(episode.actions)[None, moment : moment + steps]
        frames = simulator.rollout(start, actions, outputs=("frames",), **leaps).frames
        clips.append(_Clip(to_uint8(np.asarray(frames[0], np.float32)), episode.frames, moment + every, every))
    return clips


def _chunks(frames: np.ndarray) -> list[np.ndarray]:
    return [frames[low : low + _CHUNK] for low in range(0, len(frames), _CHUNK)]
