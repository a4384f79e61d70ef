"""What `visual-foresight bench` measures: each function returns the times of one kind of work.

Every measurement warms up first (compilation, caches), then times whole repetitions, so that the spread between them
is seen. Rates are quoted beside the speed of a plain matrix product measured in the same run: absolute figures differ
between machines, shares of the machine's own peak much less.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from visual_foresight.cli import control


@dataclass(frozen=True)
class Measurement:
    """Times of one kind of work.

    Args:
        name: of the work.
        unit: of `work`, as in "frames"; a rate is then frames per second.
        work: done in one repetition, in units.
        seconds: of each repetition.
        note: sizes, for the reader.
        flops: floating point operations of one unit, where they are known.
    """

    name: str
    unit: str
    work: float
    seconds: tuple[float, ...]
    note: str = ""
    flops: float | None = None

    @property
    def rate(self) -> float:
        """Units per second, of the median repetition."""
        return self.work / float(np.median(self.seconds))

    def to_json(self, peak_flops: float | None = None) -> dict[str, Any]:
        """Return the figures, JSON-plain; with a peak also the share of it that was used, where that is known."""
        figures: dict[str, Any] = {
            "name": self.name,
            "unit": self.unit,
            "rate_per_second": self.rate,
            "milliseconds_median": 1e3 * float(np.median(self.seconds)),
            "milliseconds_p95": 1e3 * float(np.percentile(self.seconds, 95)),
            "work": self.work,
            "repeats": len(self.seconds),
            "note": self.note,
        }
        if peak_flops and self.flops:
            figures["share_of_peak"] = self.rate * self.flops / peak_flops
        return figures


def timed(function: Callable[[], Any], *, repeats: int, warmup: int) -> tuple[float, ...]:
    """Return the time [s] of each of `repeats` calls, after `warmup` calls that do not count."""
    for _ in range(warmup):
        function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return tuple(seconds)


def measure_matrix_product(*, repeats: int, warmup: int, size: int = 1024) -> Measurement:
    """Float32 matrix product on the backend: the peak that the other figures are compared with."""
    from keras import ops

    from visual_foresight.backend import compile_function

    left = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    right = left.T.copy()
    product = compile_function(lambda a, b: ops.sum(ops.matmul(a, b)))
    seconds = timed(lambda: float(product(left, right)), repeats=repeats, warmup=warmup)
    flops = 2.0 * size**3
    return Measurement("matrix product", "FLOP", flops, seconds, f"{size}x{size} float32", flops=1.0)


def measure_rollout(simulator: Any, *, repeats: int, warmup: int, candidates: int, horizon: int) -> Measurement:
    """Imagining: K candidates, T steps, with the probability map of one designated pixel."""
    config = simulator.predictor.config
    height, width = config.image_size
    rng = np.random.default_rng(0)
    start = simulator.start(
        rng.integers(0, 256, (config.context_frames, height, width, 3), dtype=np.uint8),
        np.zeros((config.context_frames - 1, config.action_size), np.float32),
        np.zeros((config.context_frames, config.state_size), np.float32),
        pixels=[(height / 2, width / 2)],
    )
    actions = rng.uniform(-1, 1, (candidates, horizon, config.action_size)).astype(np.float32)
    outputs = ("states", "pixel_distributions")
    seconds = timed(lambda: simulator.rollout(start, actions, outputs=outputs), repeats=repeats, warmup=warmup)
    note = f"{candidates} candidates x {horizon} steps, {height}x{width}, {config.backbone} {config.transformation}"
    return Measurement(
        "rollout", "frames", candidates * horizon, seconds, note, flops=count_step_flops(simulator.predictor)
    )


def measure_decision(
    environment: Any, simulator: Any, settings: control.ControlSettings, *, repeats: int, warmup: int
) -> Measurement:
    """One decision as in the demo: encode what is seen, search, choose."""
    task = control.choose_tasks(None, episodes=1, seed=settings.seed, split="train")[0]
    observation, info = environment.reset(options={"task": task})
    env = environment.unwrapped
    index, goal = task.object_index, control.goal_pixel(env, task)
    controller = control.make_controller(env, simulator, goal, index, settings, settings.seed)
    pixels = info["object_pixels"][index][None]

    def decide() -> None:
        controller.reset()
        controller.act(observation, pixels=pixels)

    seconds = timed(decide, repeats=repeats, warmup=warmup)
    note = f"{settings.planner}, {settings.iterations} x {settings.candidates} candidates, horizon {settings.horizon}"
    return Measurement("decision", "decisions", 1, seconds, note)


def measure_environment(environment: Any, *, repeats: int, warmup: int, steps: int = 50) -> list[Measurement]:
    """The real environment: physics alone, drawing alone, and both as `step` does them."""
    env = environment.unwrapped
    environment.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, *env.action_space.shape)).astype(np.float32)

    def step_all() -> None:
        environment.reset(seed=0)
        for action in actions:
            environment.step(action)

    def physics_all() -> None:
        for action in actions:
            env.physics.step(action.astype(np.float64))

    def draw_all() -> None:
        for _ in actions:
            env._renderer.render(env.physics)

    size = f"{env.camera.height}x{env.camera.width}"
    return [
        Measurement("physics", "steps", steps, timed(physics_all, repeats=repeats, warmup=warmup), "0.1 s each"),
        Measurement("drawing", "frames", steps, timed(draw_all, repeats=repeats, warmup=warmup), size),
        Measurement("environment", "steps", steps, timed(step_all, repeats=repeats, warmup=warmup), "step and frame"),
    ]


def measure_data(
    *, repeats: int, warmup: int, num_episodes: int = 64, length: int = 21, window: int = 10, batch_size: int = 32
) -> Measurement:
    """Training windows out of memory, as `train` takes them."""
    from visual_foresight.episode import Episode
    from visual_foresight.pipeline import WindowSource

    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (length, 64, 64, 3), dtype=np.uint8)
    actions, states = np.zeros((length - 1, 2), np.float32), np.zeros((length, 2), np.float32)
    episodes = [Episode(frames, actions, states) for _ in range(num_episodes)]
    source = WindowSource(episodes, sequence_length=window, batch_size=batch_size, seed=0)
    batches = 20

    def take() -> None:
        for index in range(batches):
            source.batch(index)

    note = f"windows of {window} frames, batches of {batch_size}"
    return Measurement("data", "windows", batches * batch_size, timed(take, repeats=repeats, warmup=warmup), note)


def count_step_flops(predictor: Any, batch: int = 8) -> float | None:
    """Return the floating point operations of one predicted frame, as TensorFlow counts its graph; None on JAX."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    config = predictor.config
    frame = np.zeros((batch, *config.image_size, 3), np.float32)
    state = np.zeros((batch, config.state_size), np.float32)
    action = np.zeros((batch, config.action_size), np.float32)

    def begin(frame: Any, state: Any) -> Any:
        return predictor.initial_carry(frame, state)

    def begin_and_step(frame: Any, state: Any, action: Any) -> Any:
        carry, prediction = predictor.step(predictor.initial_carry(frame, state), frame, action, state)
        return carry, prediction.frame

    return (_graph_flops(tf, begin_and_step, frame, state, action) - _graph_flops(tf, begin, frame, state)) / batch


def _graph_flops(tf: Any, function: Callable, *arguments: np.ndarray) -> float:
    graph = tf.function(function, autograph=False).get_concrete_function(*arguments).graph
    options: Mapping[str, Any] = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    found = tf.compat.v1.profiler.profile(graph, options={**options, "output": "none"})
    return float(found.total_float_ops)
