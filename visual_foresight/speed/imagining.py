"""Rollouts and decisions: frames that a predictor imagines, the time of a decision, and what of it is network."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from visual_foresight.benchmark.settings import ControlSettings
from visual_foresight.speed import limits
from visual_foresight.speed.measurement import Measurement, timed, timed_together

PUBLISHED = {"candidates": 200, "iterations": 3, "horizon": 15}
"""The budget at which visual planners are published: 200 x 3 x 15 control steps."""

MAPS = ("states", "pixel_distributions")
# Calls of a rollout whose operations are counted: a first one, a last one, and one of those between, which are alike.
_COUNTED = 3


def measure_rollout(
    simulator: Any, *, repeats: int, warmup: int, candidates: int, horizon: int, name: str = "rollout"
) -> Measurement:
    """Imagining: K candidates, T control steps, with the probability map of one designated pixel."""
    stride = getattr(simulator, "stride", 1)
    horizon = -(-horizon // stride) * stride
    start = scene(simulator)
    actions = _actions(simulator, candidates, horizon)
    seconds = timed(lambda: imagine(simulator, start, actions), repeats=repeats, warmup=warmup)
    frames = candidates * horizon // stride
    facts = {"frames_per_second": frames / float(np.median(seconds)), "control_steps_per_frame": stride}
    note = f"{candidates} candidates x {horizon} control steps, {_describe(simulator)}"
    predictor = simulator.predictor
    cost = count_rollout_flops(predictor, horizon // stride)
    return Measurement(
        name, "control steps", candidates * horizon, seconds, note, _limit(predictor), cost and cost / horizon, facts
    )


def measure_against_seed(
    simulator: Any, *, repeats: int, warmup: int, batch_sizes: tuple[int, ...] = (32, 64), horizon: int = 15
) -> list[Measurement]:
    """Rollouts of a predictor and of the float32 seed network of the same image size, taken in turns."""
    from visual_foresight.simulator import LearnedSimulator

    seed = LearnedSimulator(seed_predictor(simulator.predictor.config))
    stride = getattr(simulator, "stride", 1)
    horizon = -(-horizon // stride) * stride
    both = {"fast": simulator, "seed": seed}
    measured = []
    for batch in batch_sizes:
        work = {name: _rollout_of(each, batch, horizon) for name, each in both.items()}
        times = timed_together(list(work.values()), repeats=repeats, warmup=warmup)
        medians = [float(np.median(each)) for each in times]
        facts = {
            "seed_milliseconds": 1e3 * medians[1],
            "control_steps_ratio": medians[1] / medians[0],
            "frames_ratio": medians[1] / medians[0] / stride,
        }
        for name, seconds, known in zip(both, times, (facts, {}), strict=True):
            note = f"{batch} candidates x {horizon} control steps, {_describe(both[name])}"
            cost = count_rollout_flops(both[name].predictor, horizon // getattr(both[name], "stride", 1))
            per_step = cost and cost / horizon
            title = f"{'rollout' if name == 'fast' else 'seed rollout'}, batch {batch}"
            measured.append(
                Measurement(
                    title,
                    "control steps",
                    batch * horizon,
                    seconds,
                    note,
                    _limit(both[name].predictor),
                    per_step,
                    known,
                )
            )
    return measured


def _rollout_of(simulator: Any, batch: int, horizon: int) -> Any:
    start, actions = scene(simulator), _actions(simulator, batch, horizon)
    return lambda: imagine(simulator, start, actions)


def measure_seed_precision(*, repeats: int, warmup: int, batch_size: int = 32, length: int = 10) -> list[Measurement]:
    """The seed network's inference in float32 and in bfloat16, in turns, and how far their frames are apart."""
    from visual_foresight.predictor.config import PredictorConfig

    config = PredictorConfig()
    exact = seed_predictor(config)
    rounded = seed_predictor(config, dtype="mixed_bfloat16")
    rounded.set_weights(exact.get_weights())
    rng = np.random.default_rng(0)
    inputs = (
        rng.random((batch_size, length, *config.image_size, 3), np.float32),
        rng.normal(size=(batch_size, length - 1, config.action_size)).astype(np.float32),
        rng.normal(size=(batch_size, length, config.state_size)).astype(np.float32),
    )
    frames = [each.predict_frames(*inputs).frames for each in (exact, rounded)]
    error = float(np.mean((np.clip(frames[0], 0, 1) - np.clip(frames[1], 0, 1)) ** 2))
    times = timed_together(
        [lambda each=each: each.predict_frames(*inputs) for each in (exact, rounded)],  # type: ignore[misc]
        repeats=repeats,
        warmup=warmup,
    )
    speedup = float(np.median(times[0]) / np.median(times[1]))
    facts = {"speedup": speedup, "psnr_between_db": -10 * np.log10(max(error, 1e-12)), "weights": "random"}
    note, work = f"batch {batch_size}, {length} frames", batch_size * (length - 1)
    cost = count_step_flops(exact)
    return [
        Measurement("seed float32", "frames", work, times[0], note, limits.CONVOLUTION, cost),
        Measurement("seed bfloat16", "frames", work, times[1], note, limits.CONVOLUTION_BFLOAT16, cost, facts),
    ]


def measure_published_decision(
    simulator: Any,
    *,
    repeats: int,
    warmup: int,
    budget: Mapping[str, int] = PUBLISHED,
    name: str = "decision, published",
) -> Measurement:
    """A decision of CEM at the published budget: context encoding, designated-pixel cost, all iterations.

    Once more the same candidates are only rolled out, in turns with the decisions: the share of the network.
    """
    from visual_foresight.planners.objectives import PixelDistance

    height, width = simulator.predictor.config.image_size
    objective = PixelDistance(np.array([height / 4, width / 4]))
    planner, space = _published_planner(simulator, budget)
    seen: list[np.ndarray] = []

    def decide() -> None:
        from visual_foresight.planners.simulation import cost_function

        cost = cost_function(simulator, scene(simulator), objective)

        def noted(candidates: np.ndarray) -> np.ndarray:
            seen.append(np.array(candidates))
            return cost(candidates)

        # Not noted once the candidates are known: a search that goes to an accelerator whole goes there whole.
        planner.plan(cost if complete else noted, space, rng=np.random.default_rng(0))

    complete = False
    decide()
    complete = True
    imagine_one = _imagining_of(simulator, objective)

    def imagine_all() -> None:
        for candidates in seen:
            imagine_one(candidates)

    decisions, rollouts = timed_together([decide, imagine_all], repeats=repeats, warmup=warmup)
    # Paired: a disturbance of the machine that lasts hits neighbours alike.
    share = float(np.median(np.array(rollouts) / np.array(decisions)))
    facts = {"rollouts_milliseconds": 1e3 * float(np.median(rollouts)), "network_share": share}
    note = " x ".join(str(budget[name]) for name in ("candidates", "iterations", "horizon")) + " control steps"
    note = f"{note}, {_describe(simulator)}"
    bound = _decision_limit(simulator, planner.counts, budget["horizon"])
    return Measurement(name, "decisions", 1, decisions, note, *bound, facts)


def _imagining_of(simulator: Any, objective: Any) -> Callable[[np.ndarray], Any]:
    """The part of a cost function that rolls out; maps stay on the device where costs are computed there."""
    start = scene(simulator)
    on_device = getattr(simulator.cost_function(start, objective), "imagine", None)
    if on_device is None:
        return lambda candidates: imagine(simulator, start, candidates, ("pixel_distributions",))

    def wait(candidates: np.ndarray) -> None:
        for value in on_device(candidates).values():
            getattr(value, "block_until_ready", lambda: None)()

    return wait


def _published_planner(simulator: Any, budget: Mapping[str, int]) -> tuple[Any, Any]:
    from gymnasium import spaces

    from visual_foresight.planners import CEM

    planner = CEM(
        horizon=budget["horizon"],
        num_candidates=budget["candidates"],
        num_iterations=budget["iterations"],
        num_elites=max(1, budget["candidates"] // 20),
        action_repeat=min(5, budget["horizon"]),
    )
    return planner, spaces.Box(-1.0, 1.0, (simulator.predictor.config.action_size,), np.float32)


def measure_decision(
    environment: Any, simulator: Any, settings: ControlSettings, *, repeats: int, warmup: int
) -> Measurement:
    """One decision of the controller, as `plan` makes it: context, search with all iterations, costs."""
    from visual_foresight.cli import control

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
    bound = _decision_limit(simulator, controller.planner.counts, settings.horizon)
    return Measurement("decision", "decisions", 1, seconds, note, *bound)


# ---- parts -------------------------------------------------------------------------------------------------------


def seed_predictor(config: Any, dtype: str | None = None) -> Any:
    """Return the original CDNA network at full width with random weights, for the image and robot of a config."""
    from visual_foresight.predictor.config import PredictorConfig
    from visual_foresight.predictor.predictor import VideoPredictor

    sizes = {name: getattr(config, name) for name in ("image_height", "image_width", "action_size", "state_size")}
    return VideoPredictor(PredictorConfig(**sizes), dtype=dtype)


def scene(simulator: Any) -> Any:
    """Return the start of a scene of noise with one designated pixel: arithmetic does not depend on what is seen."""
    config = simulator.predictor.config
    height, width = config.image_size
    return simulator.start(
        np.random.default_rng(0).integers(0, 256, (config.context_frames, height, width, 3), dtype=np.uint8),
        np.zeros((config.context_frames - 1, config.action_size), np.float32),
        np.zeros((config.context_frames, config.state_size), np.float32),
        pixels=[(height / 2, width / 2)],
    )


def imagine(simulator: Any, start: Any, actions: np.ndarray, outputs: tuple[str, ...] = MAPS) -> Any:
    """Roll candidates out as planners ask for it: maps at the ends of leaps."""
    from visual_foresight.planners.simulation import rollout_at_stride

    return rollout_at_stride(simulator, start, actions, outputs)


def _actions(simulator: Any, candidates: int, horizon: int) -> np.ndarray:
    size = simulator.predictor.config.action_size
    return np.random.default_rng(0).uniform(-1, 1, (candidates, horizon, size)).astype(np.float32)


def _describe(simulator: Any) -> str:
    config = simulator.predictor.config
    leap = f", leaps of {config.stride}" if config.stride > 1 else ""
    return f"{config.image_height}x{config.image_width}, {config.backbone} {config.transformation}{leap}"


def _limit(predictor: Any) -> str:
    rounded = "bfloat16" in predictor.backbone.dtype_policy.name
    if predictor.config.backbone == "seed":
        return limits.CONVOLUTION_BFLOAT16 if rounded else limits.CONVOLUTION
    return limits.SMALL_CONVOLUTION_BFLOAT16 if rounded else limits.SMALL_CONVOLUTION


def _decision_limit(simulator: Any, counts: Sequence[int], horizon: int) -> tuple[str | None, float | None]:
    """What bounds a decision, and how many operations its rollouts are: of the second opinion, too, if there is one."""
    members, share = getattr(simulator, "simulators", (simulator,)), getattr(simulator, "share", 1.0)
    predictors: list[Any] = [getattr(getattr(one, "simulator", one), "predictor", None) for one in members]
    if None in predictors:
        return None, None
    total = 0.0
    for index, predictor in enumerate(predictors):
        judged = sum(math.ceil(share * count) if index else count for count in counts)
        operations = count_rollout_flops(predictor, -(-horizon // predictor.config.stride))
        if operations is None:
            return None, None
        total += operations * judged
    return _limit(predictors[0]), total


def count_step_flops(predictor: Any, batch: int = 8) -> float | None:
    """Return the floating point operations of one predicted frame, see `counting`."""
    from visual_foresight.speed.counting import count_flops

    config = predictor.config
    frame = np.zeros((batch, *config.image_size, 3), np.float32)
    state = np.zeros((batch, config.state_size), np.float32)
    leap = (config.stride,) if config.stride > 1 else ()
    action = np.zeros((batch, *leap, config.action_size), np.float32)

    def begin(frame: Any, state: Any) -> Any:
        return predictor.initial_carry(frame, state)

    def begin_and_step(frame: Any, state: Any, action: Any) -> Any:
        carry, prediction = predictor.step(predictor.initial_carry(frame, state), frame, action, state)
        return carry, prediction.frame

    both, first = count_flops(begin_and_step, frame, state, action), count_flops(begin, frame, state)
    return None if not both or first is None else (both - first) / batch


def count_rollout_flops(predictor: Any, calls: int, candidates: int = 64) -> float | None:
    """Return the floating point operations of one candidate's rollout as planners ask for it, see `counting`.

    That is less than so many predicted frames where drafts are made in their place, or what all candidates share.

    Args:
        predictor: of the frames that are imagined.
        calls: of the network, one behind the other.
        candidates: imagined together from one scene; what they share is divided among them.
    """
    from visual_foresight.speed.counting import count_flops
    from visual_foresight.unrolling import make_roll

    if calls > _COUNTED:  # more may be a loop, of which a graph shows one round
        most, before = (count_rollout_flops(predictor, number, candidates) for number in (_COUNTED, _COUNTED - 1))
        return None if most is None or before is None else most + (calls - _COUNTED) * (most - before)
    config = predictor.config
    frame, state = np.zeros((1, *config.image_size, 3), np.float32), np.zeros((1, config.state_size), np.float32)
    maps = np.zeros((1, *config.image_size, 1), np.float32)
    plan = np.zeros((calls, candidates, config.stride * config.action_size + 1), np.float32)
    roll = make_roll(predictor, MAPS[1:], whole_leaps=True, draft=True)

    def begin(frame: Any, state: Any, maps: Any) -> Any:
        return predictor.initial_carry(frame, state, maps)

    def begin_and_roll(frame: Any, state: Any, maps: Any, plan: Any) -> Any:
        return roll(predictor.initial_carry(frame, state, maps), frame, state, plan, maps)

    both, first = count_flops(begin_and_roll, frame, state, maps, plan), count_flops(begin, frame, state, maps)
    return None if not both or first is None else (both - first) / candidates
