"""How far foretold robot states are off, and how much of that any model of the robot alone must be.

For `VisualForesight/Push-v0`: beside a predictor's states stand those of the physics with no objects, which is the best
that a model of the robot can do that looks at no picture. What is left of its error is what objects do to the finger.

    python benchmarks/robot_error.py --model_dir push_fast --data_dir data/val_seen --output robot.json
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import itertools
import json
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from visual_foresight import VideoPredictor, read_episodes
from visual_foresight.backend import compile_function
from visual_foresight.envs.physics import NUM_SUBSTEPS, controls, scene_xml
from visual_foresight.envs.scene import Scene
from visual_foresight.episode import Episode
from visual_foresight.report import versions
from visual_foresight.video_files import write_text

START, STEPS = 1, 14
SHOWN = (1, 3, 6, 9, 14)


def foretold(predictor: VideoPredictor, episodes: list[Episode]) -> np.ndarray:
    """[N, STEPS, 2] states [m] by the predictor, leap after leap, from the true actions."""
    stride = predictor.config.stride
    path_of = compile_function(predictor.robot_path, model=predictor)
    actions = np.stack([episode.actions[START : START + STEPS] for episode in episodes]).astype(np.float32)
    actions = np.pad(actions, ((0, 0), (0, -STEPS % stride), (0, 0)))
    state, paths = np.stack([episode.states[START] for episode in episodes]).astype(np.float32), []
    for step in range(0, STEPS, stride):
        paths.append(np.asarray(path_of(actions[:, step : step + stride], state)))
        state = paths[-1][:, -1]
    return np.concatenate(paths, axis=1)[:, :STEPS]


def alone(model: mujoco.MjModel, episode: Episode, *, moving: bool) -> np.ndarray:
    """[STEPS, 2] states [m] of the physics without objects, from the true speed or from rest."""
    data = mujoco.MjData(model)
    num_positions = 2 + 4 * len(episode.metadata["scene"]["objects"])
    start = episode.extras["simulator_state"][START]  # time, positions, speeds, ...
    data.qpos[:2] = start[1:3]
    if moving:
        data.qvel[:2] = start[1 + num_positions : 3 + num_positions]
    states = []
    for action in episode.actions[START : START + STEPS]:
        data.ctrl[:] = controls(action)
        mujoco.mj_step(model, data, NUM_SUBSTEPS)
        states.append(data.qpos[:2].copy())
    return np.stack(states)


def figures(states: np.ndarray, truth: np.ndarray, touched: np.ndarray) -> dict[str, Any]:
    """Mean distances [mm] after the steps in SHOWN: of all episodes, and of those that had touched nothing yet."""
    errors = 1000 * np.linalg.norm(states - truth, axis=-1)
    free = [errors[~touched[:, step - 1], step - 1].mean() for step in SHOWN]
    medians = np.median(errors, axis=0)
    return {
        "mean": [round(float(errors[:, step - 1].mean()), 2) for step in SHOWN],
        "median": [round(float(medians[step - 1]), 2) for step in SHOWN],
        "mean_of_untouched": [round(float(value), 2) for value in free],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_dir", nargs="+", default=["push_fast"], help="presets or folders")
    parser.add_argument("--data_dir", required=True, help="episodes of `visual-foresight collect`")
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()

    episodes = [
        episode
        for episode in itertools.islice(read_episodes(args.data_dir), args.episodes)
        if episode.num_frames > START + STEPS
    ]
    scene = dataclasses.replace(Scene.from_json(episodes[0].metadata["scene"]), objects=())
    model = mujoco.MjModel.from_xml_string(scene_xml(scene))
    truth = np.stack([episode.states[START + 1 : START + 1 + STEPS] for episode in episodes])
    contact = np.stack([episode.extras["contact"][START : START + 1 + STEPS] for episode in episodes])
    touched = np.logical_or.accumulate(contact, axis=1)[:, 1:]
    rows = {
        "physics without objects": np.stack([alone(model, episode, moving=True) for episode in episodes]),
        "the same, from rest": np.stack([alone(model, episode, moving=False) for episode in episodes]),
        **{name: foretold(VideoPredictor.from_preset(name), episodes) for name in args.model_dir},
    }
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "data": str(args.data_dir),
        "episodes": len(episodes),
        "steps": SHOWN,
        "share_touched": [round(float(touched[:, step - 1].mean()), 3) for step in SHOWN],
        "distances_mm": {name: figures(states, truth, touched) for name, states in rows.items()},
    }
    for name, row in report["distances_mm"].items():
        print(f"{name}: {json.dumps(row)}")
    if args.output:
        write_text(args.output, json.dumps({**report, "versions": versions()}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
