"""Banks of action sequences labelled by the true simulator: does a predictor rank futures as the world would?

A planner asks nothing else of a predictor. Pictures can be good where ranks are bad (PSNR counts the table), so this is
what a checkpoint that plans should be chosen by.

Letters: S scenes, C frames of context, K sequences, T control steps, A action size, D state size, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight import metrics
from visual_foresight.pixel_accuracy import HORIZONS, interval
from visual_foresight.video_files import complete_or_absent

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor
    from visual_foresight.simulator import LearnedSimulator

__all__ = ["BANK_FORMAT", "Bank", "bank_regret", "shipped_banks"]

BANK_FORMAT = 1
_ARRAYS = ("frames", "context_actions", "states", "actions", "pixels", "goals", "positions")
_SHIPPED = Path(__file__).parent / "banks"


@dataclass(frozen=True, eq=False)
class Bank:
    """Scenes, action sequences, and what the true simulator says of them.

    Args:
        frames: [S, C, H, W, 3] uint8, the last one is now.
        context_actions: [S, C-1, A] float32, between the frames.
        states: [S, C, D] float32.
        actions: [S, K, T, A] float32, the sequences, from now on.
        pixels: [S, 2] float32 (row, col), the designated pixel in the last frame.
        goals: [S, 2] float32, where it should go.
        positions: [S, K, T, 2] float32, where it goes in truth, after each control step.
        protocol: JSON-plain: how the bank was made.

    Raises:
        ValueError: shapes that disagree, or numbers that are not finite.
    """

    frames: np.ndarray
    context_actions: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    pixels: np.ndarray
    goals: np.ndarray
    positions: np.ndarray
    protocol: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check all shapes against those of frames and actions."""
        if self.frames.ndim != 5 or self.actions.ndim != 4 or self.frames.dtype != np.uint8:
            raise ValueError(
                f"a bank needs frames [S, C, H, W, 3] uint8 and actions [S, K, T, A], got {self.frames.shape} "
                f"{self.frames.dtype} and {self.actions.shape}"
            )
        scenes, context = self.frames.shape[:2]
        shapes = {
            "context_actions": (scenes, context - 1, self.actions.shape[3]),
            "states": (scenes, context, self.states.shape[-1]),
            "actions": (scenes, *self.actions.shape[1:]),
            "pixels": (scenes, 2),
            "goals": (scenes, 2),
            "positions": (*self.actions.shape[:3], 2),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"a bank's {name} must be finite and {list(shape)}, got {list(array.shape)}")

    @property
    def num_scenes(self) -> int:
        """S."""
        return len(self.actions)

    @property
    def num_sequences(self) -> int:
        """K."""
        return self.actions.shape[1]

    @property
    def horizon(self) -> int:
        """T."""
        return self.actions.shape[2]

    @property
    def sha256(self) -> str:
        """Hash of every array and of the protocol."""
        digest = hashlib.sha256(json.dumps(dict(self.protocol), sort_keys=True).encode())
        for name in _ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()

    def true_costs(self, step: int) -> np.ndarray:
        """Distance [S, K] of the designated pixel to its goal after so many control steps [px]."""
        return np.linalg.norm(self.positions[:, :, step - 1].astype(np.float64) - self.goals[:, None], axis=-1)

    def require_match(self, predictor: VideoPredictor) -> None:
        """Raises ValueError unless the predictor sees actions, and its image, action and state sizes are the bank's."""
        from visual_foresight.predictor.checkpoint import IMAGES_ALONE, require_match

        config = predictor.config
        if not config.use_state:
            raise ValueError(f"a bank ranks action sequences, and the predictor {IMAGES_ALONE}")
        sizes = {"action_size": self.actions.shape[3], "state_size": self.states.shape[2]}
        require_match(config, image_size=self.frames.shape[2:4], what="the bank", **sizes)

    def smaller(self, num_scenes: int | None = None, num_sequences: int | None = None) -> Bank:
        """The first scenes, and sequences spread evenly over each scene's; None keeps all.

        Raises:
            ValueError: less than one scene or two sequences, or more than there are.
        """
        scenes = self.num_scenes if num_scenes is None else num_scenes
        count = self.num_sequences if num_sequences is None else num_sequences
        if scenes > self.num_scenes or count > self.num_sequences:
            raise ValueError(
                f"the bank holds {self.num_scenes} scenes with {self.num_sequences} sequences each; "
                f"{scenes} and {count} were asked for"
            )
        if scenes < 1 or count < 2:
            raise ValueError(f"a bank keeps at least 1 scene and 2 sequences, got {num_scenes} and {num_sequences}")
        chosen = np.linspace(0, self.num_sequences - 1, count).round().astype(int)
        arrays: dict[str, Any] = {name: getattr(self, name)[:scenes] for name in _ARRAYS}
        for name in ("actions", "positions"):
            arrays[name] = arrays[name][:, chosen]
        return replace(self, **arrays, protocol={**self.protocol, "kept": [scenes, count]})

    @staticmethod
    def check_name(path: str | os.PathLike) -> None:
        """Raises ValueError unless a file of this name can hold a bank."""
        if Path(path).suffix != ".npz":
            raise ValueError(f"a bank is an .npz file, got the name {os.fspath(path)!r}")

    def save(self, path: str | os.PathLike) -> None:
        """Writes the bank as `.npz`, complete or not at all.

        Raises:
            ValueError: the name does not end in `.npz`.
        """
        self.check_name(path)
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        notes = {"bank_format": BANK_FORMAT, "protocol": dict(self.protocol), "sha256": self.sha256}
        with complete_or_absent(path) as temporary:
            np.savez_compressed(temporary, notes=np.array(json.dumps(notes)), **arrays)

    @classmethod
    def load(cls, source: str | os.PathLike) -> Bank:
        """Reads a bank: a file, or the name of a shipped one.

        Raises:
            FileNotFoundError: there is no such file, and no shipped bank of that name.
            ValueError: not a bank, another format, or damaged.
        """
        known = shipped_banks()
        path = _SHIPPED / f"{source}.npz" if str(source) in known else Path(source)
        if not path.is_file():
            raise FileNotFoundError(
                f"no bank at {path}; shipped banks: {', '.join(known) or 'none'}; "
                "make one with `visual-foresight evaluate --make_bank FILE`"
            )
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                notes = json.loads(str(file["notes"]))
                arrays = {name: file[name] for name in _ARRAYS}
        except KeyError as error:
            raise ValueError(
                f"{path} is no bank but another kind of file, perhaps of episodes; make a bank with --make_bank"
            ) from error
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is no bank, or truncated or damaged; make it anew with --make_bank") from error
        if not isinstance(notes, dict) or notes.get("bank_format") != BANK_FORMAT:
            raise ValueError(f"{path}: not a bank of format {BANK_FORMAT}; make it anew with --make_bank")
        made = cls(**arrays, protocol=notes["protocol"])
        if made.sha256 != notes.get("sha256"):
            raise ValueError(f"{path}: its content does not have the sha256 that it claims; it was changed or damaged")
        return made


def shipped_banks() -> list[str]:
    """Names of the banks that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.npz"))


def bank_regret(
    predictor: VideoPredictor,
    bank: Bank,
    *,
    simulator: LearnedSimulator | None = None,
    top: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """How well a predictor ranks the bank's sequences, in the figures a planner would care for.

    The predicted cost of a sequence is the expected distance of the predicted map to the goal, as in
    `planners.objectives.PixelDistance`; the true cost is the true distance. Both at one moment, 5, 10 and 15 control
    steps ahead. A predictor that leaps is asked for the ends of its leaps only, so 15 steps cost it 15 / J calls.

    Args:
        predictor: with the bank's image, action and state sizes.
        bank: `bank.smaller(...)` for a quick look.
        simulator: around this predictor; give the same one at every call, and it is compiled once.
        top: k of the top-k regret.
        seed: of the bootstrap.

    Returns:
        JSON-plain. "bank" (start of its hash), "scenes", "sequences", "stride", "top"; "horizons": for each number of
        control steps, with 95 % bootstrap intervals over scenes {"mean", "low", "high", "count"}:
        "rank_correlation" (Spearman; scenes where nothing ever moved have none), "regret" and "top_regret" [px] (true
        cost of the sequence that the predictor likes best, or of the best of its `top` favourites, less that of the
        truly best), "copy_regret" and "copy_top_regret" [px] (what they are for copy-last-frame, which cannot tell the
        sequences apart: the mean over a random choice), "best_cost" and "mean_cost" [px] (true, for scale);
        "rank_correlation", "regret", "top_regret": the plain means at the last horizon.

    Raises:
        ValueError: the predictor sees images alone, its sizes are not the bank's, what it predicts is not finite,
            `top` exceeds the sequences, or the simulator is around another predictor.
    """
    from visual_foresight.simulator import LearnedSimulator

    bank.require_match(predictor)
    if not 1 <= top <= bank.num_sequences:
        raise ValueError(f"top must be between 1 and the {bank.num_sequences} sequences of the bank, got {top}")
    if simulator is not None and simulator.predictor is not predictor:
        raise ValueError("the simulator is around another predictor than the one to be judged; pass its own, or none")
    simulator = simulator or LearnedSimulator(predictor)
    steps = [step for step in HORIZONS if step <= bank.horizon] or [bank.horizon]
    predicted = np.stack([_predicted_costs(simulator, bank, scene, steps) for scene in range(bank.num_scenes)])
    horizons = {
        str(step): _figures(predicted[:, :, index], bank.true_costs(step), top, seed)
        for index, step in enumerate(steps)
    }
    last = horizons[str(steps[-1])]
    return {
        "bank": bank.sha256[:12],
        "scenes": bank.num_scenes,
        "sequences": bank.num_sequences,
        "stride": predictor.config.stride,
        "top": top,
        "horizons": horizons,
        **{name: last[name]["mean"] for name in ("rank_correlation", "regret", "top_regret")},
    }


def _predicted_costs(simulator: LearnedSimulator, bank: Bank, scene: int, steps: list[int]) -> np.ndarray:
    """Expected distances [K, len(steps)] of the predicted maps to the goal [px]."""
    config = simulator.predictor.config
    count = min(config.context_frames, bank.frames.shape[1])
    known = {"actions": bank.context_actions, "states": bank.states}
    context = {name: array[scene, array.shape[1] - count + (name == "actions") :] for name, array in known.items()}
    start = simulator.start(bank.frames[scene, -count:], **context, pixels=bank.pixels[scene][None])
    actions = bank.actions[scene, :, : steps[-1]]
    rows, columns = (np.arange(size) for size in config.image_size)
    row, column = bank.goals[scene]
    distance = np.hypot(rows[:, None] - row, columns - column)
    costs = np.empty((len(actions), len(steps)))
    for every, indices in _ways(config.stride, steps).items():
        asked = [steps[index] for index in indices]
        maps = _maps(simulator, start, actions[:, : asked[-1]], every)
        maps = maps[:, [step // every - 1 for step in asked]]  # [K, len(asked), H, W]
        sums = np.einsum("ktij,ij->kt", maps, distance)
        costs[:, indices] = sums / np.maximum(maps.sum(axis=(2, 3)), 1e-12)
    if not np.isfinite(costs).all():
        raise ValueError(f"what the predictor foretells in scene {scene} of the bank is not finite: {metrics.DIVERGED}")
    return costs


def _ways(stride: int, steps: list[int]) -> dict[int, list[int]]:
    """Indices of the steps that are ends of leaps, under the stride, and of the others, under 1."""
    ways: dict[int, list[int]] = {}
    for index, step in enumerate(steps):
        ways.setdefault(stride if step % stride == 0 else 1, []).append(index)
    return ways


def _maps(simulator: LearnedSimulator, start: Any, actions: np.ndarray, every: int) -> np.ndarray:
    """[K, T/every, H, W]: where leaps are whole, as planners ask: as drafts, if there are such."""
    options: dict[str, Any] = {"every": every} if every > 1 else {}
    if getattr(simulator, "drafts", False) and every == simulator.stride:
        options["draft"] = True
    return np.asarray(simulator.rollout(start, actions, ("pixel_distributions",), **options).pixel_distributions)[
        :, :, 0
    ]


def _figures(predicted: np.ndarray, true: np.ndarray, top: int, seed: int) -> dict[str, Any]:
    """Figures of costs [S, K], with intervals over scenes."""
    pairs = list(zip(predicted, true, strict=True))
    values = {
        "rank_correlation": [metrics.rank_correlation(ours, truth) for ours, truth in pairs],
        "regret": [metrics.top_k_regret(ours, truth) for ours, truth in pairs],
        "top_regret": [metrics.top_k_regret(ours, truth, top) for ours, truth in pairs],
        "copy_regret": [metrics.random_regret(truth) for truth in true],
        "copy_top_regret": [metrics.random_regret(truth, top) for truth in true],
        "best_cost": true.min(axis=1),
        "mean_cost": true.mean(axis=1),
    }
    return {name: interval(np.asarray(items, np.float64), seed) for name, items in values.items()}
