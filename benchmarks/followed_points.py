"""What `train --follow_weight` is taught by: how right followed points are, and whether they lie on things.

Recorded episodes know where their objects are; training does not look. Points: the centre of the object that moved
farthest in a leap, if by 2 px or more and visible before and after, registered from the predictor's own guess (the
mean of its map). Things: pixels that other frames with the robot at the same place do not share.

    python benchmarks/followed_points.py --preset push_fast --data_dir data/val_seen data/val_novel \\
        --lookalikes data/push_train_1 --output points.json
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight import VideoPredictor, read_episodes
from visual_foresight.backend import compile_function
from visual_foresight.cli.control import weights_digest
from visual_foresight.episode import Episode
from visual_foresight.lookalikes import Lookalikes
from visual_foresight.report import versions
from visual_foresight.train import following
from visual_foresight.unrolling import mean_places
from visual_foresight.video_files import write_text

LEAST_MOTION, RIM, BATCH = 2.0, 3.0, 32
# An object reaches so far from its centre at most [px].
REACH = 9.0
ALBUM_EPISODES = 4000


def pushes(episode: Episode, stride: int) -> list[tuple]:
    """(before, after, actions, state, place before, place after) of every leap that moves a visible object."""
    pixels, hidden, present = (np.asarray(episode.extras[f"object_{name}"]) for name in ("pixels", "hidden", "present"))
    height, width = episode.image_size
    found = []
    for start in range(0, episode.num_frames - stride, stride):
        here, there = pixels[start], pixels[start + stride]
        inside = ((here >= RIM) & (here <= [height - 1 - RIM, width - 1 - RIM])).all(axis=-1)
        seen = present[start] & ~hidden[start] & ~hidden[start + stride] & inside
        motion = np.where(seen, np.linalg.norm(there - here, axis=-1), -1.0)
        index = int(motion.argmax())
        if motion[index] >= LEAST_MOTION:
            steps = slice(start, start + stride)
            frames = episode.frames[start], episode.frames[start + stride]
            found.append((*frames, episode.actions[steps], episode.states[start], here[index], there[index]))
    return found


def measure_points(predictor: VideoPredictor, rows: list[tuple]) -> dict[str, Any]:
    """Errors [px] of the predictor, of what is registered from its guess, and of what of that is believed."""

    def follow(before: Any, after: Any, actions: Any, states: Any, points: Any) -> Any:
        maps = following.point_maps(points, *before.shape[1:3])
        _, prediction = predictor.step(predictor.initial_carry(before, states), before, actions, states, maps)
        guesses = mean_places(prediction.maps)
        places, doubt, texture = following.register(before, after, points, guesses)
        return guesses, places, following.believed(places, guesses, doubt, texture)

    compiled = compile_function(follow, model=predictor)
    guessed, registered, sure = [], [], []
    for first in range(0, len(rows) // BATCH * BATCH, BATCH):
        columns = [np.stack(column).astype(np.float32) for column in zip(*rows[first : first + BATCH], strict=True)]
        before, after, actions, states, here, there = columns
        points = here.round()
        results = compiled(before / 255, after / 255, actions, states, points[:, None])
        guesses, places, believed = (np.asarray(result)[:, 0] for result in results)
        target = there + points - here  # where the pixel nearest to the centre went, but for the object's turning
        guessed.append(np.linalg.norm(guesses - target, axis=1))
        registered.append(np.linalg.norm(places - target, axis=1))
        sure.append(believed)
    if not guessed:
        raise SystemExit(f"error: fewer than {BATCH} leaps move an object by {LEAST_MOTION:g} px: give more episodes")
    guess, place, certain = (np.concatenate(parts) for parts in (guessed, registered, sure))
    return {
        "leaps": len(guess),
        "predicted_error": _mean(guess),
        "registered_error": _mean(place),
        "believed": _mean(certain),
        "believed_error": _mean(place[certain]),
        "believed_error_95": round(float(np.quantile(place[certain], 0.95)), 3),
        "predicted_error_of_believed": _mean(guess[certain]),
    }


def measure_things(lookalikes: Lookalikes, episodes: list[Episode], rng: np.random.Generator) -> dict[str, Any]:
    """Of one frame of each episode: pixels taken for things that lie on objects, and centres that are found."""
    near, centres = [], []
    for episode in episodes:
        time = int(rng.integers(episode.num_frames))
        pixels = episode.extras["object_pixels"][time][np.asarray(episode.extras["object_present"])[time].astype(bool)]
        things = lookalikes.things(episode.frames[time], episode.states[time])
        places = np.argwhere(things)
        if len(places):
            near.extend(np.linalg.norm(places[:, None] - pixels[None], axis=-1).min(axis=1) <= REACH)
        inside = ((pixels >= RIM) & (pixels <= np.array(things.shape) - 1 - RIM)).all(axis=-1)
        centres.extend(things[tuple(pixels[inside].round().astype(int).T)])
    return {
        "frames": len(episodes),
        "pixels_on_objects": _mean(np.array(near)),
        "centres_found": _mean(np.array(centres)),
    }


def _mean(values: np.ndarray) -> float:
    return round(float(np.mean(values)), 4)


def main() -> None:
    """Measure every data set and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="push_fast")
    parser.add_argument("--data_dir", nargs="+", required=True)
    parser.add_argument("--lookalikes", required=True, help="episodes to compare with, of the same scene")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    predictor = VideoPredictor.from_preset(args.preset)
    lookalikes = Lookalikes.of(itertools.islice(read_episodes(args.lookalikes), ALBUM_EPISODES), seed=0)
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "preset": str(args.preset),
        "weights_sha256": weights_digest(args.preset),
        "versions": versions(),
        "sets": {},
    }
    for folder in args.data_dir:
        episodes = list(read_episodes(folder))
        rows = [row for episode in episodes for row in pushes(episode, predictor.config.stride)]
        things = measure_things(lookalikes, episodes, np.random.default_rng(0))
        report["sets"][Path(folder).name] = figures = {**measure_points(predictor, rows), **things}
        print(Path(folder).name, json.dumps(figures))
    if args.output:
        write_text(args.output, json.dumps(report, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
