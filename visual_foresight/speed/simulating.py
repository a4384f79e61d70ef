"""The real environment: physics alone, drawing alone, and both as `step` does them."""

from typing import Any

import numpy as np

from visual_foresight.speed.measurement import Measurement, timed


def measure_environment(environment: Any, *, repeats: int, warmup: int, steps: int = 50) -> list[Measurement]:
    """Measure the three."""
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
