"""Measures one accelerator with Keras on JAX: agreement, limits, decisions, rollouts, training, and where time goes.

From the root of the repository, without TensorFlow:

    KERAS_BACKEND=jax python benchmarks/accelerator.py --output DIR [--quick] [--parts decisions training]

Each part stands alone: what fails is noted and the rest goes on. A figure is printed as soon as it is known, and
DIR/accelerator.json is written after each part. `--quick` takes tiny sizes, to see that everything runs.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
from agreement import against_golden, beside_cpu
from kernel_times import profile

ROOT = Path(__file__).resolve().parents[1]
BUDGET = {"candidates": 200, "iterations": 3, "horizon": 15}
DEFAULT_BUDGET = {"candidates": 100, "iterations": 3, "horizon": 9}
POLICIES = {"float32": None, "bfloat16": "mixed_bfloat16"}
PRESETS = ("push_fast_1", "push_fast")


class Notes:
    """The results, written after each part.

    Args:
        folder: where they go.
        quick: whether sizes are tiny.
    """

    def __init__(self, folder: Path, quick: bool) -> None:
        """Begin with nothing known."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.quick = folder, quick
        self.results: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "quick": quick}

    def note(self, part: str, name: str, value: Any) -> None:
        """Keep a figure and print it."""
        self.results.setdefault(part, {})[name] = value
        print(f"{part} | {name}: {json.dumps(value)}", flush=True)

    def attempt(self, part: str, name: str, function: Callable[[], Any]) -> Any:
        """Note what a function returns, or its error; the file is written either way."""
        began = time.perf_counter()
        try:
            self.note(part, name, function())
        except Exception as error:  # one failure must not lose the rest of a visit
            traceback.print_exc()
            self.note(part, name, {"error": f"{type(error).__name__}: {error}"[:500]})
        self.results.setdefault("seconds", {})[f"{part} {name}"] = round(time.perf_counter() - began, 2)
        text = json.dumps(self.results, separators=(",", ":"))
        (self.folder / "accelerator.json").write_text(text + "\n")

    @property
    def peak(self) -> float | None:
        """Measured bfloat16 matrix products [FLOP/s], if they were."""
        found = self.results.get("limits", {}).get("matrix product bfloat16", {})
        return found.get("teraflops", 0.0) * 1e12 or None


def milliseconds(function: Callable[[], Any], repeats: int, warmup: int = 3) -> dict[str, float]:
    """Median and 95th percentile of calls that wait for their results."""
    from visual_foresight.speed.measurement import timed

    seconds = timed(function, repeats=repeats, warmup=warmup)
    return {
        "p50_ms": round(1e3 * float(np.median(seconds)), 3),
        "p95_ms": round(1e3 * float(np.percentile(seconds, 95)), 3),
        "repeats": repeats,
    }


@functools.cache
def simulator(name: str, precision: str) -> Any:
    """`seed` with random weights (arithmetic does not depend on them), or a shipped preset."""
    from visual_foresight.predictor import PredictorConfig, VideoPredictor
    from visual_foresight.simulator import LearnedSimulator

    dtype = POLICIES[precision]
    if name == "seed":
        predictor = VideoPredictor(PredictorConfig(), dtype=dtype)
    else:
        predictor = VideoPredictor.from_preset(name, dtype=dtype)
    # More memory than the default: 300 futures in one call.
    made = LearnedSimulator(predictor, memory_budget_mb=4096.0)
    made.costs_on_device = True
    return made


# ---- limits ------------------------------------------------------------------------------------------------------


def limits(notes: Notes) -> None:
    """Matrix products 8192 wide, copying memory of the device, and the convolution of the first ConvLSTM."""
    import jax
    import jax.numpy as jnp

    side, batch = (256, 4) if notes.quick else (8192, 1024)
    repeats, chain = (2, 2) if notes.quick else (10, 10)

    def rate(step: Callable, start: Any, work: float) -> dict[str, float]:
        """Of a chain of calls inside one program, so that starting it does not count."""
        compiled = jax.jit(lambda value: jax.lax.fori_loop(0, chain, lambda _, each: step(each), value))
        found = milliseconds(lambda: compiled(start).block_until_ready(), repeats)
        return {**found, "per_second": work * chain / (1e-3 * found["p50_ms"])}

    def product(dtype: Any) -> dict[str, float]:
        # Random numbers: even ones would be multiplied faster. Scaled so that products of products stay finite.
        matrix = (jax.random.normal(jax.random.key(0), (side, side)) / side**0.5).astype(dtype)
        found = rate(lambda value: (value @ matrix).astype(dtype), matrix, 2.0 * side**3)
        return {**found, "teraflops": round(found["per_second"] / 1e12, 1), "side": side}

    def convolution() -> dict[str, float]:
        images = jax.random.normal(jax.random.key(0), (batch, 32, 32, 128), jnp.bfloat16)
        kernel = 0.02 * jax.random.normal(jax.random.key(1), (5, 5, 128, 128), jnp.bfloat16)
        names = ("NHWC", "HWIO", "NHWC")
        step = functools.partial(
            jax.lax.conv_general_dilated, rhs=kernel, window_strides=(1, 1), padding="SAME", dimension_numbers=names
        )
        found = rate(lambda value: step(lhs=value), images, 2.0 * batch * 32 * 32 * 128 * 128 * 25)
        return {**found, "teraflops": round(found["per_second"] / 1e12, 1), "batch": batch}

    def copying() -> dict[str, float]:
        block = jnp.ones((2**16 if notes.quick else 2**28,), jnp.float32)
        found = rate(lambda value: value + 1.0, block, 2.0 * block.nbytes)
        return {**found, "gigabytes_read_and_written": round(found["per_second"] / 1e9, 1)}

    notes.attempt("limits", "matrix product bfloat16", lambda: product(jnp.bfloat16))
    notes.attempt("limits", "matrix product float32 (default precision)", lambda: product(jnp.float32))
    notes.attempt("limits", "convolution 5x5 of 128 channels bfloat16", convolution)
    notes.attempt("limits", "memory", copying)


# ---- decisions and rollouts --------------------------------------------------------------------------------------


def make_decision(name: str, precision: str, budget: dict[str, int]) -> Callable[[], Any]:
    """A decision of CEM on a designated pixel, context encoding included, as `bench --only published`."""
    from visual_foresight.planners.objectives import PixelDistance
    from visual_foresight.planners.simulation import cost_function
    from visual_foresight.speed import imagining

    chosen = simulator(name, precision)
    height, width = chosen.predictor.config.image_size
    objective = PixelDistance(np.array([height / 4, width / 4]))
    planner, space = imagining._published_planner(chosen, budget)

    def decide() -> Any:
        cost = cost_function(chosen, imagining.scene(chosen), objective)
        return planner.plan(cost, space, rng=np.random.default_rng(0))

    return decide


def decisions(notes: Notes) -> None:
    """Times of published decisions in bfloat16: those with a target."""
    time_decisions(notes, "published", BUDGET, [(name, "bfloat16") for name in ("seed", *PRESETS)])


def further_decisions(notes: Notes) -> None:
    """Times of the others."""
    time_decisions(notes, "published", BUDGET, [(name, "float32") for name in PRESETS])
    cases = [(name, precision) for name in PRESETS for precision in reversed(POLICIES)]
    time_decisions(notes, "default", DEFAULT_BUDGET, cases)


def time_decisions(notes: Notes, title: str, whole: dict[str, int], cases: list[tuple[str, str]]) -> None:
    """Note the times of decisions of (predictor, precision)."""
    repeats = 2 if notes.quick else 50
    budget = {"candidates": 8, "iterations": 2, "horizon": 6} if notes.quick else whole
    for name, precision in cases:

        def measure(name: str = name, precision: str = precision) -> dict[str, float]:
            return {**milliseconds(make_decision(name, precision, budget), repeats, warmup=5), **budget}

        notes.attempt("decisions", f"{title}, {name} {precision}", measure)


def decision_parts(notes: Notes) -> None:
    """Which part of a published decision takes how long: encoding, imagining, judging, the planner itself."""
    from visual_foresight.planners.objectives import PixelDistance
    from visual_foresight.speed import imagining

    repeats, count = (2, 8) if notes.quick else (20, 200)

    def measure(name: str, precision: str) -> dict[str, float]:
        import jax

        chosen = simulator(name, precision)
        start, objective = imagining.scene(chosen), PixelDistance([16.0, 16.0])
        actions = imagining._actions(chosen, count, 15)
        cost = chosen.cost_function(start, objective)
        chosen.cost_function(start, objective)  # seen twice: compiled
        return {
            "encoding_ms": milliseconds(lambda: imagining.scene(chosen), repeats)["p50_ms"],
            "imagining_ms": milliseconds(lambda: jax.block_until_ready(cost.imagine(actions)), repeats)["p50_ms"],
            "costs_ms": milliseconds(lambda: cost(actions), repeats)["p50_ms"],
        }

    for name in ("seed", *PRESETS):
        notes.attempt("decision parts", f"{name} bfloat16", functools.partial(measure, name, "bfloat16"))


def rollouts(notes: Notes) -> None:
    """Frames per second of maps only, left on the device."""
    import jax

    from visual_foresight.speed import imagining

    for name in ("seed", *PRESETS):
        for batch in (4,) if notes.quick else (32, 64, 200):

            def measure(name: str = name, batch: int = batch) -> dict[str, float]:
                chosen = simulator(name, "bfloat16")
                start, actions = imagining.scene(chosen).on_device(), imagining._actions(chosen, batch, 15)
                wanted = ("pixel_distributions",)
                found = milliseconds(
                    lambda: jax.block_until_ready(chosen.futures(start, actions, wanted)), 2 if notes.quick else 20
                )
                frames = batch * 15 / chosen.stride
                rate = frames / (1e-3 * found["p50_ms"])
                cost = imagining.count_rollout_flops(chosen.predictor, 15 // chosen.stride) or 0.0
                done = 1e3 * batch * cost / found["p50_ms"]
                return {**found, "frames_per_second": round(rate), "teraflops": round(done / 1e12, 2)}

            notes.attempt("rollouts", f"{name} bfloat16, batch {batch}", measure)


# ---- training ----------------------------------------------------------------------------------------------------


def training(notes: Notes) -> None:
    """The seed network's training step, many in a row on the device, at the size that has a target."""
    time_training(notes, [("bfloat16", 32)])


def further_training(notes: Notes) -> None:
    """The same at other sizes."""
    time_training(notes, [("float32", 32), ("bfloat16", 128), ("bfloat16", 8)])


def time_training(notes: Notes, cases: list[tuple[str, int]]) -> None:
    """Note the times of training steps of (precision, batch)."""
    from visual_foresight.speed.imagining import count_step_flops
    from visual_foresight.speed.training import make_model

    length = 3 if notes.quick else 10
    for precision, batch in [("bfloat16", 2)] if notes.quick else cases:

        def measure(precision: str = precision, batch: int = batch) -> dict[str, Any]:
            model, batch_of_noise = make_model({}, POLICIES[precision] or "float32", batch, length)
            found = steps_in_a_row(model, batch_of_noise, 2 if notes.quick else 20)
            rate = batch * (length - 1) / (1e-3 * found["p50_ms"])
            counted = count_step_flops(model.predictor)
            flops = None if counted is None else 3.0 * counted * rate
            return {
                **found,
                "frames_per_second": round(rate),
                "teraflops": flops and round(flops / 1e12, 2),
                "share_of_matrix_product_bfloat16": round(flops / notes.peak, 4) if flops and notes.peak else None,
            }

        notes.attempt("training", f"seed {precision}, batch {batch}", measure)


def steps_in_a_row(model: Any, batch: dict[str, np.ndarray], count: int) -> dict[str, float]:
    """Milliseconds of one of `count` steps that are waited for together, as `fit` waits for none."""
    import jax

    model.optimizer.build(model.trainable_variables)
    # Weights are copied: those of the model would be gone after a step that overwrites its arguments.
    state = tuple(jax.tree.map(lambda each: each + 0, part) for part in jax_state(model))
    step, data = jax.jit(model.train_step, donate_argnums=0), (jax.device_put(batch),)

    def run() -> None:
        nonlocal state
        for _ in range(count):
            logs, state = step(state, data)
        jax.block_until_ready((logs, state))

    found = milliseconds(run, 5, warmup=1)
    return {name: value / count if name.endswith("_ms") else value for name, value in found.items()}


def jax_state(model: Any) -> list[list[Any]]:
    """Values of all variables, in the order in which Keras's step takes them."""
    groups = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    return [[variable.value for variable in group] for group in (*groups, model.metrics_variables)]


# ---- agreement ---------------------------------------------------------------------------------------------------


def agreement(notes: Notes) -> None:
    """Golden frames of the original network in three precisions, and a preset on the CPU and on the accelerator."""
    for precision, products in (("float32", "highest"), ("float32", "default"), ("bfloat16", "default")):
        title, policy = f"{precision}, products {products}", POLICIES[precision]
        notes.attempt("agreement", f"golden cdna, {title}", functools.partial(against_golden, policy, products))
        notes.attempt(
            "agreement", f"push_fast to float32 on cpu, {title}", functools.partial(beside_cpu, policy, products)
        )


# ---- profiles ----------------------------------------------------------------------------------------------------


def profiles(notes: Notes) -> None:
    """Kernels of one training step and of two decisions, from the profiler's trace."""
    from visual_foresight.speed.training import make_step

    budget = {"candidates": 8, "iterations": 2, "horizon": 6} if notes.quick else BUDGET
    batch, length = (2, 3) if notes.quick else (32, 10)
    works: dict[str, Callable[[], Callable]] = {
        "seed training": lambda: make_step({}, "mixed_bfloat16", batch, length)[0],
        "seed decision": lambda: make_decision("seed", "bfloat16", budget),
        "push_fast decision": lambda: make_decision("push_fast", "bfloat16", budget),
    }
    for name, make in works.items():
        notes.attempt(
            "profiles", name, lambda name=name, make=make: profile(make(), notes.folder / name.replace(" ", "_"))
        )


PARTS: dict[str, Callable[[Notes], None]] = {
    "limits": limits,
    "decisions": decisions,
    "training": training,
    "agreement": agreement,
    "decision_parts": decision_parts,
    "further_decisions": further_decisions,
    "further_training": further_training,
    "profiles": profiles,
    "rollouts": rollouts,
}
"""In the order in which they run: what a visit must not lose comes first."""


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for accelerator.json and the traces")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--unrolled", type=int, help="longest rollout [calls] that is written out instead of a loop")
    arguments = parser.parse_args()
    import jax

    from visual_foresight import backend, unrolling
    from visual_foresight.speed import imagining

    if backend.backend_name() != "jax":
        parser.error("this needs Keras on JAX: set KERAS_BACKEND=jax")
    if arguments.unrolled is not None:
        if arguments.unrolled < imagining._COUNTED:
            parser.error(f"--unrolled must be at least {imagining._COUNTED}: of a loop one round is counted")
        unrolling._UNROLLED = arguments.unrolled
    notes = Notes(arguments.output, arguments.quick)
    notes.note("machine", "device", [str(jax.devices()[0].device_kind), jax.__version__])
    notes.note("machine", "flags", {"XLA_FLAGS": os.environ.get("XLA_FLAGS", ""), "unrolled": unrolling._UNROLLED})
    for part in arguments.parts:
        PARTS[part](notes)


if __name__ == "__main__":
    main()
