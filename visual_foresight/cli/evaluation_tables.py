"""The report of `visual-foresight evaluate` as tables, every figure with its 95 % interval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from visual_foresight.wording import aligned, counted

_BIN_WORDS = {"still": "< 2 px", "small": "2-5 px", "large": "> 5 px", "moved": ">= 2 px"}
_STEPS_BESIDE = (5, 10, 15)
_FRAME_FIGURES = (
    ("psnr", "PSNR [dB]", 2),
    ("moving_psnr", "moving region", 2),
    ("ssim", "SSIM", 3),
    ("lpips", "LPIPS", 3),
)


def as_text(report: dict[str, Any]) -> str:
    """Tables of whatever the report holds."""
    lines: list[str] = []
    if "steps" in report:
        lines += [*_frame_lines(report), *_beside_lines(report), *_pixel_lines(report["model"], report["pixels"])]
        for name, other in report["comparisons"].items():
            lines += _pixel_lines(name, other["pixels"])
    if "bank" in report:
        lines += ([""] if lines else []) + list(_bank_lines(report["bank"]))
    return "\n".join(lines)


def _frame_lines(report: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{counted(report['episodes'], 'episode')}, {counted(report['context_frames'], 'frame')} given, "
        f"{len(report['steps'])} predicted; mean [95 % bootstrap interval over episodes]"
    )
    if report["stride"] > 1:
        yield f"the predictor leaps {report['stride']} steps in a call; steps between are shorter leaps"
    yield ""
    figures = [one for one in _FRAME_FIGURES if one[0] in report["mean"]]
    table = [["step", *(cell for _, title, _ in figures for cell in (title, "copy"))]]
    for name, row in [*((str(index), row) for index, row in enumerate(report["steps"], 1)), ("mean", report["mean"])]:
        cells = [(_cell(row[key], digits), _number(row[f"copy_{key}"], digits)) for key, _, digits in figures]
        table.append([name, *(cell for pair in cells for cell in pair)])
    yield aligned(table, left=())


def _beside_lines(report: dict[str, Any]) -> Iterator[str]:
    """The predictor less each other one, at the steps that are reported elsewhere, and over all."""
    if not report["comparisons"]:
        return
    yield ""
    yield f"{report['model']} less others, on the same windows"
    figures = _FRAME_FIGURES[:3]
    table = [["steps", *(title for _, title, _ in figures), "other"]]
    for name, other in report["comparisons"].items():
        chosen = [(str(step), other["steps"][step - 1]) for step in _STEPS_BESIDE if step <= len(other["steps"])]
        for step, row in [*chosen, ("mean", other["mean"])]:
            table.append([step, *(_cell(row[f"{key}_difference"], digits) for key, _, digits in figures), name])
    yield aligned(table, left=(4,))


def _pixel_lines(name: str, pixels: dict[str, Any]) -> Iterator[str]:
    if not pixels:
        return
    yield ""
    yield f"error of designated pixels [px]: expected distance of the map, distance of its mean and its mode: {name}"
    yield "whole: expected distance where the map begins in one whole pixel, and not between four"
    yield "n: episodes with such a pixel; means and intervals are over them, and one alone has no interval"
    table = [["steps", "moved", "seen", "expected", "whole", "mean", "mode", "no motion", "n"]]
    for horizon, bins in pixels.items():
        for motion, places in bins.items():
            shown = [seen for seen in places if seen != "any" or len(places) > 2]  # else it repeats the only other
            for seen in shown:
                row = places[seen]
                others = [_number(row[figure], 2) for figure in ("mean", "mode", "no_motion")]
                cells = [_cell(row["expected"], 2), _cell(row["whole"], 2), *others, str(row["expected"]["count"])]
                table.append([horizon, _BIN_WORDS[motion], seen, *cells])
    yield aligned(table, left=(1, 2))


def _bank_lines(bank: dict[str, Any]) -> Iterator[str]:
    first = next(iter(bank["predictors"].values()))
    yield (
        f"bank {bank['name']} ({first['bank']}): {counted(first['scenes'], 'scene')} x "
        f"{counted(first['sequences'], 'sequence')}; mean [95 % bootstrap interval over scenes]"
    )
    yield "regret: true distance to the goal of the sequence liked best, less that of the truly best one"
    yield ""
    table = [["steps", "rank correlation", "regret [px]", f"of the best of {first['top']}", "predictor"]]
    for horizon, row in first["horizons"].items():
        for name, figures in bank["predictors"].items():
            own = figures["horizons"][horizon]
            table.append(
                [horizon, *(_cell(own[figure], 2) for figure in ("rank_correlation", "regret", "top_regret")), name]
            )
        copy = [_cell(row[figure], 2) for figure in ("copy_regret", "copy_top_regret")]
        table.append([horizon, "-", *copy, "copy-last-frame (chooses at random)"])
    yield aligned(table, left=(4,))


def _cell(interval: dict[str, Any], digits: int) -> str:
    """A mean with its interval; one item alone has none."""
    text = _number(interval, digits)
    if interval["mean"] is None or interval["count"] < 2:
        return text
    return f"{text} [{interval['low']:.{digits}f}, {interval['high']:.{digits}f}]"


def _number(interval: dict[str, Any], digits: int) -> str:
    return "-" if interval["mean"] is None else f"{interval['mean']:.{digits}f}"
