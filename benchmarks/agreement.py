"""Whether an accelerator agrees with golden frames of the original network, and with the CPU beside it; on JAX."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def against_golden(policy: str | None, products: str) -> dict[str, float]:
    """Frames of the original CDNA network against its golden ones.

    Args:
        policy: dtype policy, None for float32.
        products: precision of products of matrices, as JAX names it.
    """
    import jax

    sys.path.insert(0, str(ROOT / "tests" / "predictor"))
    import golden_recipe

    with jax.default_matmul_precision(products):
        predictor = golden_recipe.make_predictor("cdna", dtype=policy)
        frames = predictor.predict_frames(**golden_recipe.read_inputs()).frames
    return difference(np.moveaxis(frames, 1, 0), golden_recipe.read_values("cdna")["gen_images"])


def beside_cpu(policy: str | None, products: str) -> dict[str, float]:
    """Frames of `push_fast` on the accelerator against those in float32 on the CPU."""
    import jax

    frames = []
    for device in (jax.devices("cpu")[0], jax.devices()[0]):
        with jax.default_device(device), jax.default_matmul_precision(products):
            frames.append(_preset_frames(None if device.platform == "cpu" else policy))
    return difference(frames[1], frames[0])


def _preset_frames(policy: str | None) -> np.ndarray:
    """Frames of `push_fast` in coarse noise."""
    from visual_foresight.predictor import VideoPredictor
    from visual_foresight.simulator import LearnedSimulator

    chosen = LearnedSimulator(VideoPredictor.from_preset("push_fast", dtype=policy))
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    start = chosen.start(smooth, None, np.zeros((1, 2), np.float32), pixels=[(32.0, 32.0)])
    actions = rng.uniform(-1, 1, (4, 15, 2)).astype(np.float32)
    return chosen.rollout(start, actions, every=chosen.stride).frames


def difference(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Largest difference, and PSNR of the clipped frames [dB]."""
    error = np.mean((np.clip(found, 0, 1) - np.clip(expected, 0, 1)) ** 2)
    psnr = -10 * np.log10(max(float(error), 1e-14))
    return {"largest_difference": float(np.abs(found - expected).max()), "psnr_db": round(psnr, 2)}
