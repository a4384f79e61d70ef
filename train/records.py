"""What a run writes while it runs: log.csv, TensorBoard events, predicted videos."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight import pictures, video_files
from visual_foresight.frames import to_uint8
from visual_foresight.output_files import append_whole
from visual_foresight.train.events import EventWriter

COLUMNS = (
    "iteration", "seconds", "learning_rate", "self_fed_steps", "num_ground_truth",
    "train_loss", "train_recon_cost", "train_psnr", "train_psnr_all", "train_copy_psnr", "train_follow_score",
    "val_loss", "val_recon_cost", "val_psnr", "val_psnr_all", "val_copy_psnr",
    "val_regret", "val_rank_correlation",
)  # fmt: skip
"""Columns of log.csv; those of the validation are empty in rows without one."""


def summarise(figures: Mapping[str, Any]) -> dict[str, float]:
    """One number for each figure of `TrainingModel.compute_metrics`, over the steps that were predicted.

    "recon_cost" (mean squared error), "psnr" and "copy_psnr" [dB] are means over steps; "psnr_all" is the original's
    sum over steps of the PSNR of the pooled error. "follow_score" [px] is there where points are followed.
    """
    steps = _steps(figures)
    present = ~np.isnan(steps["recon_cost"])
    summary = {
        "loss": float(figures["loss"]),
        "recon_cost": float(steps["recon_cost"][present].mean()),
        "psnr": float(steps["psnr"][present].mean()),
        "psnr_all": float(steps["psnr_pooled"][present].sum()),
        "copy_psnr": float(steps["copy_psnr"][present].mean()),
    }
    followed = steps["follow_score"][present]
    return summary if np.isnan(followed).any() else {**summary, "follow_score": float(followed.mean())}


def scalar_tags(prefix: str, figures: Mapping[str, Any]) -> dict[str, float]:
    """TensorBoard tags: the original's names (`train_recon_cost0`, `train_psnr0`, `train_psnr_all` ...), and ours.

    As in the original, `psnr{i}` is that of the error pooled over the batch; `psnr` and `copy_psnr` are means of each
    frame's own.
    """
    tags = {f"{prefix}_{name}": value for name, value in summarise(figures).items()}
    steps = _steps(figures)
    for name, row in (("recon_cost", "recon_cost"), ("psnr", "psnr_pooled"), ("state_cost", "state_cost")):
        for index, value in enumerate(steps[row]):
            if not math.isnan(value):
                tags[f"{prefix}_{name}{index}"] = float(value)
    return tags


def _steps(figures: Mapping[str, Any]) -> dict[str, np.ndarray]:
    from visual_foresight.train.model import FIGURES

    return dict(zip(FIGURES, np.asarray(figures["step_means"], np.float64), strict=True))


class CsvLog:
    """Rows of figures in a CSV file that can be read while it grows.

    Args:
        path: the file.
        iteration: rows after this one are dropped: a continued run writes them again.
    """

    def __init__(self, path: Path, iteration: int = 0) -> None:
        """Makes the file, or cuts it back to `iteration`."""
        rows = _rows_until(path, iteration) if iteration else []
        self._path = path
        video_files.write_bytes(path, _lines([_HEADER, *rows]))

    def row(self, values: Mapping[str, float]) -> None:
        """Appends one row, or nothing where the disk is full."""
        shown = {name: f"{value:.7g}" if isinstance(value, float) else value for name, value in values.items()}
        # Whoever removes it while a run goes on gets a new one from there, with its header.
        append_whole(self._path, _lines([shown] if self._path.exists() else [_HEADER, shown]))


_HEADER = dict(zip(COLUMNS, COLUMNS, strict=True))


def check_log(path: Path) -> None:
    """Refuse to replace a file that is no log of a run.

    Raises:
        ValueError: names it.
    """
    video_files.check_own_file(path, "train", lambda content: content.startswith(f"{COLUMNS[0]},"))


def _lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS).writerows(rows)
    return text.getvalue().encode()


def _rows_until(path: Path, iteration: int) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        # A kill may leave half a row at the end: it has no number in the first column, or misses some.
        rows = [row for row in csv.DictReader(file) if (row["iteration"] or "").isdigit() and None not in row.values()]
    return [{name: row.get(name, "") for name in COLUMNS} for row in rows if int(row["iteration"]) <= iteration]


def read_log(path: str | Path) -> list[dict[str, float]]:
    """Read log.csv: one dictionary a row, without the empty columns."""
    with open(path, newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def comparison_video(
    frames: np.ndarray, predicted: np.ndarray, context_frames: int, *, scale: int = 2
) -> list[np.ndarray]:
    """Truth above prediction, examples side by side, one picture for each frame.

    Args:
        frames: `[B, T, H, W, 3]` uint8 truth.
        predicted: `[B, T-1, H, W, 3]` float in [0, 1]; index t predicts frame t + 1.
        context_frames: frames that the predictor was given; in their pictures the truth stands below as well.
        scale: enlargement.
    """
    video = []
    for time in range(frames.shape[1]):
        given = time < context_frames
        below = frames[:, time] if given else to_uint8(np.nan_to_num(np.asarray(predicted[:, time - 1], np.float32)))
        columns = [
            pictures.above([pictures.upscale(real, scale), pictures.upscale(guess, scale)])
            for real, guess in zip(frames[:, time], below, strict=True)
        ]
        text = f"frame {time}: " + ("given" if given else "real above, predicted below")
        video.append(pictures.caption(pictures.beside(columns), text))
    return video


class RunRecords:
    """Everything that a run writes besides its checkpoints.

    Args:
        output_dir: holds `log.csv` and `videos/`.
        event_log_dir: for TensorBoard.
        iteration: where the run starts; later rows of an earlier attempt are superseded.
    """

    def __init__(
        self, output_dir: str | os.PathLike[str], event_log_dir: str | os.PathLike[str], iteration: int
    ) -> None:
        """Opens the files."""
        self.videos = Path(output_dir) / "videos"
        self._csv = CsvLog(Path(output_dir) / "log.csv", iteration)
        self._events = EventWriter(Path(event_log_dir), iteration)

    def figures(self, iteration: int, row: Mapping[str, float], tags: Mapping[str, float]) -> None:
        """Writes one row of the log and its scalars."""
        self._csv.row({"iteration": iteration, **row})
        self._events.scalars(iteration, tags)
        self._events.flush()

    def video(self, iteration: int, video: list[np.ndarray]) -> Path:
        """Writes a video as GIF into `videos/`, and the same GIF and a strip of its frames for TensorBoard."""
        path = video_files.write_gif(self.videos / f"iteration_{iteration:08d}.gif", video, frames_per_second=4)
        size = video[0].shape[:2]
        self._events.image(iteration, "val_predicted_video", path.read_bytes(), size)
        strip = pictures.beside(video)
        self._events.image(iteration, "val_predicted_frames", video_files.png_bytes(strip), strip.shape[:2])
        self._events.flush()
        return path

    def close(self) -> None:
        """Writes what is left to write."""
        self._events.close()
