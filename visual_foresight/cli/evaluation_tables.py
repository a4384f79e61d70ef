"""The report of `visual-foresight evaluate` as tables, every figure with its 95 % interval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_BIN_WORDS = {"still": "< 2 px", "small": "2-5 px", "large": "> 5 px", "moved": ">= 2 px"}
_STEPS_BESIDE = (5, 10, 15)


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
        f"{report['episodes']} episodes, {_frames(report['context_frames'])} given, "
        f"{len(report['steps'])} predicted; mean [95 % bootstrap interval over episodes]"
    )
    if report["stride"] > 1:
        yield f"the predictor leaps {report['stride']} steps in a call; steps between are shorter leaps"
    yield ""
    yield f"{'step':>5}{'PSNR [dB]':>22}{'copy':>8}{'moving region':>22}{'copy':>8}{'SSIM':>22}{'copy':>8}" + (
        f"{'LPIPS':>22}{'copy':>8}" if "lpips" in report["mean"] else ""
    )
    rows = [(str(index), row) for index, row in enumerate(report["steps"], start=1)] + [("mean", report["mean"])]
    for name, row in rows:
        yield f"{name:>5}" + "".join(
            f"{_cell(row[figure], digits)}{_number(row[f'copy_{figure}'], digits)}"
            for figure, digits in (("psnr", 2), ("moving_psnr", 2), ("ssim", 3), ("lpips", 3))
            if figure in row
        )


def _beside_lines(report: dict[str, Any]) -> Iterator[str]:
    """The predictor less each other one, at the steps that are reported elsewhere, and over all."""
    if not report["comparisons"]:
        return
    yield ""
    yield f"{report['model']} less others, on the same windows"
    yield f"{'steps':>5}{'PSNR [dB]':>22}{'moving region':>22}{'SSIM':>22}  other"
    for name, other in report["comparisons"].items():
        chosen = [(str(step), other["steps"][step - 1]) for step in _STEPS_BESIDE if step <= len(other["steps"])]
        for step, row in [*chosen, ("mean", other["mean"])]:
            cells = "".join(
                _cell(row[f"{figure}_difference"], digits)
                for figure, digits in (("psnr", 2), ("moving_psnr", 2), ("ssim", 3))
            )
            yield f"{step:>5}{cells}  {name}"


def _pixel_lines(name: str, pixels: dict[str, Any]) -> Iterator[str]:
    if not pixels:
        return
    yield ""
    yield f"error of designated pixels [px]: expected distance of the map, distance of its mean and its mode: {name}"
    yield f"{'steps':>5}  {'moved':<8}{'seen':<9}{'expected':>22}{'mean':>8}{'mode':>8}{'no motion':>11}{'n':>6}"
    for horizon, bins in pixels.items():
        for motion, places in bins.items():
            shown = [seen for seen in places if seen != "any" or len(places) > 2]  # else it repeats the only other
            for seen in shown:
                row = places[seen]
                others = "".join(_number(row[figure], 2) for figure in ("mean", "mode"))
                yield (
                    f"{horizon:>5}  {_BIN_WORDS[motion]:<8}{seen:<9}{_cell(row['expected'], 2)}{others}"
                    f"{_number(row['no_motion'], 2):>11}{row['expected']['count']:>6}"
                )


def _bank_lines(bank: dict[str, Any]) -> Iterator[str]:
    first = next(iter(bank["predictors"].values()))
    top = first["top"]
    yield (
        f"bank {bank['name']} ({first['bank']}): {first['scenes']} scenes x {first['sequences']} sequences; "
        "mean [95 % bootstrap interval over scenes]"
    )
    yield "regret: true distance to the goal of the sequence liked best, less that of the truly best one"
    yield ""
    yield f"{'steps':>5}{'rank correlation':>22}{'regret [px]':>22}{f'of the best of {top}':>22}  predictor"
    for horizon, row in first["horizons"].items():
        for name, figures in bank["predictors"].items():
            own = figures["horizons"][horizon]
            cells = "".join(_cell(own[figure], 2) for figure in ("rank_correlation", "regret", "top_regret"))
            yield f"{horizon:>5}{cells}  {name}"
        copy = "".join(_cell(row[figure], 2) for figure in ("copy_regret", "copy_top_regret"))
        yield f"{horizon:>5}{'-':>22}{copy}  copy-last-frame (chooses at random)"


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _cell(interval: dict[str, Any], digits: int) -> str:
    if interval["mean"] is None:
        return f"{'-':>22}"
    text = f"{interval['mean']:.{digits}f} [{interval['low']:.{digits}f}, {interval['high']:.{digits}f}]"
    return f"{text:>22}"


def _number(interval: dict[str, Any], digits: int) -> str:
    return f"{'-':>8}" if interval["mean"] is None else f"{interval['mean']:>8.{digits}f}"
