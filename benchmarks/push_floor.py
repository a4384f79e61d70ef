"""How far the same push ends apart when what no picture shows is drawn anew: the floor under any predictor's error.

Scenes are pushed about by a policy. At every third step the next actions are rolled out in the physics from the same
state, once as the scene is and several times with mass and friction of every object drawn anew. Reported is the mean
distance of an object's end from the mean over these worlds, by how far it moved.

    python benchmarks/push_floor.py --split novel --episodes 100 --output floor.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.envs import TrueSimulator
from visual_foresight.envs.policies import make_policy
from visual_foresight.envs.push import PushEnv
from visual_foresight.envs.scene import FRICTION, MASS, SPLITS, Scene
from visual_foresight.envs.true_simulator import TrueStart
from visual_foresight.report import versions
from visual_foresight.video_files import write_text

NUM_STEPS, STARTS, REPORTED = 21, range(0, 13, 3), (3, 6, 9)
BINS = {"2-5 px": (2.0, 5.0), "> 5 px": (5.0, math.inf)}


def other_matter(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with mass and friction of every object drawn anew."""
    low, high = np.log(MASS)
    objects = [
        replace(item, mass=float(np.exp(rng.uniform(low, high))), friction=float(rng.uniform(*FRICTION)))
        for item in scene.objects
    ]
    return replace(scene, objects=tuple(objects))


def spreads(
    env: PushEnv, simulator: TrueSimulator, seed: int, policy: str, worlds: int
) -> list[tuple[int, float, float]]:
    """Rows (steps, distance moved, mean distance from the mean end) of one episode's objects [px]."""
    rng = np.random.default_rng([seed, 1])
    acting = make_policy(policy)
    observation, info = env.reset(seed=seed)
    acting.reset(env.scene, np.random.default_rng([seed, 2]))
    states, pixels, actions = [], [], []
    for _ in range(NUM_STEPS):
        states.append(env.physics.get_state())
        pixels.append(np.array(info["object_pixels"]))
        actions.append(acting.act(observation["state"], info))
        observation, _, _, _, info = env.step(actions[-1])
    rows = []
    chosen = tuple(range(len(env.scene.objects)))
    for start in STARTS:
        ahead = np.array(actions[start : start + REPORTED[-1]], np.float32)[None]
        scenes = [env.scene, *(other_matter(env.scene, rng) for _ in range(worlds))]
        ends = np.array(
            [
                simulator.rollout(TrueStart(scene, states[start], chosen), ahead, ("pixels",)).pixels[0]
                for scene in scenes
            ]
        )  # [worlds + 1, T, P, 2]
        for steps in REPORTED:
            end = ends[:, steps - 1]
            apart = np.linalg.norm(end[1:] - end[1:].mean(axis=0), axis=-1).mean(axis=0)  # [P]
            moved = np.linalg.norm(end[0] - pixels[start][: len(chosen)], axis=-1)
            rows += [(steps, float(far), float(spread)) for far, spread in zip(moved, apart, strict=True)]
    return rows


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=SPLITS, default="novel")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--policy", default="close=1")
    parser.add_argument("--worlds", type=int, default=8, help="draws of mass and friction")
    parser.add_argument("--seed", type=int, default=8_000_000_000, help="of the first scene")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    env = PushEnv(split=args.split)
    simulator = TrueSimulator(env)
    rows = np.array(
        [row for n in range(args.episodes) for row in spreads(env, simulator, args.seed + n, args.policy, args.worlds)]
    )
    simulator.close()
    table: dict[str, Any] = {}
    for steps in REPORTED:
        for name, (low, high) in BINS.items():
            inside = rows[(rows[:, 0] == steps) & (rows[:, 1] >= low) & (rows[:, 1] < high)]
            floor = round(float(inside[:, 2].mean()), 3) if len(inside) else None
            table[f"{steps} steps, {name}"] = {"count": len(inside), "floor_px": floor}
            print(f"{steps} steps, {name:7s} {len(inside):5d}  {floor} px")
    settings = {name: getattr(args, name) for name in ("split", "episodes", "policy", "worlds", "seed")}
    report = {"date": datetime.date.today().isoformat(), "settings": settings, "table": table, "versions": versions()}
    if args.output:
        write_text(args.output, json.dumps(report, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
