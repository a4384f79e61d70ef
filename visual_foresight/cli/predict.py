"""`visual-foresight predict`: prediction beside truth, and one start under an action scaled from small to large."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight import pictures
from visual_foresight.affordable import require_at_most
from visual_foresight.cli.control import DEFAULT_ENVIRONMENT, DEFAULT_PRESET
from visual_foresight.cli.unread import refuse_unread
from visual_foresight.given_arrays import check_magnitude
from visual_foresight.wording import counted

if TYPE_CHECKING:
    from visual_foresight.episode import Episode
    from visual_foresight.predictor import VideoPredictor

HELP = "make pictures of predictions: beside the truth, and under one action scaled from small to large"
SCALES = "0,0.25,0.5,0.75,1"
UNUSUAL_DEVIATIONS = 4.0
MOST_STEPS = 500
MOST_EPISODES = 100
MOVIES = ("prediction", "scaled_action")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--preset", "--model_dir", default=DEFAULT_PRESET, help="predictor: a shipped name, a folder, or hf://..."
    )
    parser.add_argument("--data_dir", default=None, help="file or folder of episodes; recorded with --env if absent")
    parser.add_argument("--format", default=None, help="format of the data; recognised if absent")
    parser.add_argument("--env", default=DEFAULT_ENVIRONMENT, help="environment to record in when there is no data")
    parser.add_argument(
        "--split",
        choices=("train", "varied", "jointed", "novel"),
        default=None,
        help="objects when recording (default: train)",
    )
    parser.add_argument("--episodes", type=int, default=4, help="episodes to show, 100 at most")
    parser.add_argument("--steps", type=int, default=12, help="steps to predict beyond the context, 500 at most")
    parser.add_argument("--seed", type=int, default=0, help="of recorded episodes, and of the windows shown")
    parser.add_argument(
        "--action", type=_numbers, default=None, help="action to scale, as 0.5,-1; the largest if absent"
    )
    parser.add_argument("--scales", type=_numbers, default=SCALES, help="factors on that action")
    parser.add_argument("--output", default="predict", help="folder for the pictures")
    parser.add_argument("--json", action="store_true", help="print machine-readable JSON")


def run(args: argparse.Namespace) -> int:
    """Write both animations as GIF, MP4 and a still, and print the error beside that of the copied frame."""
    check_options(args)
    from visual_foresight.predictor.presets import describe_preset

    describe_preset(args.preset)  # a wrong name is answered before Keras is loaded, which takes seconds
    from visual_foresight.predictor import VideoPredictor
    from visual_foresight.video_files import check_output_folder, check_own_file

    check_output_folder(args.output)
    for name in (f"{movie}.{kind}" for movie in MOVIES for kind in ("gif", "mp4", "png")):
        check_own_file(Path(args.output) / name, "predict")
    predictor = VideoPredictor.from_preset(args.preset)
    length = predictor.config.context_frames + args.steps
    windows = find_windows(args, predictor, length)
    check_fit(windows, predictor, args.data_dir or f"{args.env}, recorded for want of --data_dir", args.preset)
    folder = Path(args.output)
    action = chosen_action(windows[0], predictor, args.action)
    actions = scaled_actions(action, args.scales, args.steps)
    check_magnitude("--action times --scales", actions)
    if len(windows) < args.episodes:
        found = counted(len(windows), "episode")
        print(f"{args.data_dir} holds only {found} of at least {length} frames", file=sys.stderr)
    if args.action is not None:
        warn_of_unusual(action, predictor)
    predicted = predict_windows(predictor, windows)
    files = save_movie(folder, MOVIES[0], beside_truth(windows, predicted, predictor.config.context_frames))
    frames = roll_out_scaled(predictor, windows[0], actions)
    files += save_movie(folder, MOVIES[1], scaled_side_by_side(frames, args.scales, action))
    errors = measure(windows, predicted, predictor.config.context_frames)
    if args.json:
        print(json.dumps({"files": files, **errors}))
    else:
        print(table(errors))
        print("wrote " + ", ".join(files))
    return 0


def check_options(args: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything heavy is loaded.

    Raises:
        ValueError: names the option, its value and what it may be.
        FileNotFoundError: the data are not there.
    """
    for name in ("episodes", "steps"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} must be at least 1, got {getattr(args, name)}")
    require_at_most("--steps", args.steps, MOST_STEPS, "a picture each")
    require_at_most("--episodes", args.episodes, MOST_EPISODES, "a column of the picture each")
    if args.seed < 0:
        raise ValueError(f"--seed must not be negative, got {args.seed}")
    if args.data_dir is not None and not Path(args.data_dir).exists():
        raise FileNotFoundError(f"--data_dir {args.data_dir} does not exist")
    if args.data_dir is None:
        refuse_unread(args, ("format",), "--format is that of data, and without --data_dir episodes are recorded")
    else:
        refuse_unread(args, ("split", "env"), f"--data_dir {args.data_dir} names data, and nothing is recorded")


def find_windows(args: argparse.Namespace, predictor: "VideoPredictor", length: int) -> list["Episode"]:
    """Return stretches of `length` frames: of the data, or recorded now.

    Raises:
        ValueError: the data have no episode that is long enough.
    """
    if args.data_dir is None:
        return record_windows(args, predictor, length)
    from visual_foresight.formats import read_episodes
    from visual_foresight.predictor.checkpoint import preprocess_of

    # Frames are brought to size as they were for training.
    preprocess = preprocess_of(predictor.metadata)
    reading = {"format": args.format, "preprocess": preprocess, "image_size": predictor.config.image_size}
    rng, windows, longest = np.random.default_rng(args.seed), [], 0
    for episode in read_episodes(args.data_dir, **reading):
        longest = max(longest, episode.num_frames)
        if episode.num_frames >= length:
            windows.append(episode.window(int(rng.integers(episode.num_frames - length + 1)), length))
        if len(windows) == args.episodes:
            return windows
    if not windows:
        raise ValueError(
            f"{args.data_dir}: no episode has {length} frames (context and --steps {args.steps}); the longest has "
            f"{longest}: pass --steps {args.steps - (length - longest)} or fewer"
            if longest - length + args.steps > 0
            else f"{args.data_dir}: no episode is longer than the predictor's context; the longest has {longest} frames"
        )
    return windows


def record_windows(args: argparse.Namespace, predictor: "VideoPredictor", length: int) -> list["Episode"]:
    """Record episodes of scripted pushes in the environment."""
    from visual_foresight.cli.plan import check_environment
    from visual_foresight.envs.collect import CollectSettings, make_environment, make_policy, run_episode

    check_environment(args.env)
    settings = CollectSettings(
        episodes=args.episodes,
        steps=length - 1,
        policy="scripted",
        split=args.split or "train",
        seed=args.seed,
        image_size=predictor.config.image_size,
    )
    environment, policy = make_environment(settings), make_policy(settings.policy)
    return [run_episode(environment, policy, settings, index) for index in range(args.episodes)]


def check_fit(windows: Sequence["Episode"], predictor: "VideoPredictor", data: str, preset: str) -> None:
    """Refuse episodes of another robot than the predictor's.

    Raises:
        ValueError: names both sides.
    """
    from visual_foresight.predictor.checkpoint import require_episode

    for window in windows:
        try:
            require_episode(predictor.config, predictor.metadata, window, what=data)
        except ValueError as error:
            raise ValueError(f"{preset}: {error}; pass a predictor and --data_dir of one robot") from error


def predict_windows(predictor: "VideoPredictor", windows: Sequence["Episode"]) -> np.ndarray:
    """Return the predicted frames [B, T-1, H, W, 3] uint8 of windows of T frames."""
    from visual_foresight.frames import to_float, to_uint8

    config, length = predictor.config, windows[0].num_frames
    prediction = predictor.predict_frames(
        to_float(np.stack([window.frames for window in windows])),
        np.stack([_or_zeros(window.actions, (length - 1, config.action_size)) for window in windows]),
        np.stack([_or_zeros(window.states, (length, config.state_size)) for window in windows]),
        context_frames=config.context_frames,
    )
    return to_uint8(prediction.frames)


def beside_truth(windows: Sequence["Episode"], predicted: np.ndarray, context_frames: int) -> list[np.ndarray]:
    """Return pictures over time: truth above, prediction below, an episode in each column."""
    scale = _scale(windows[0].frames.shape[1], len(windows))
    movie = []
    for time in range(1, windows[0].num_frames):
        ahead = time - context_frames + 1  # the predictor saw the context; its first own guess is 1 step ahead
        words = f"predicted, {counted(ahead, 'step')} ahead" if ahead > 0 else "predicted, during the context"
        columns = []
        for window, frames in zip(windows, predicted, strict=True):
            truth = pictures.caption(pictures.upscale(window.frames[time], scale), f"truth, frame {time}")
            guess = pictures.caption(pictures.upscale(frames[time - 1], scale), words)
            columns.append(pictures.above([truth, guess]))
        movie.append(pictures.beside(columns))
    return movie


def chosen_action(window: "Episode", predictor: "VideoPredictor", action: Sequence[float] | None) -> np.ndarray:
    """Return the action [A] that is scaled: the one given, else the window's largest after the context.

    Raises:
        ValueError: the action has another size than the predictor's.
    """
    size, context = predictor.config.action_size, predictor.config.context_frames
    if action is None:
        later = _or_zeros(window.actions, (window.num_frames - 1, size))[context - 1 :]
        action = later[np.argmax(np.linalg.norm(later, axis=1))]
    chosen = np.asarray(action, np.float32)
    if chosen.shape != (size,):
        raise ValueError(f"--action needs {size} numbers for this predictor, got {len(chosen)}")
    if not np.isfinite(chosen).all():
        raise ValueError(f"--action needs finite numbers, got {chosen.tolist()}")
    return chosen


def warn_of_unusual(action: np.ndarray, predictor: "VideoPredictor") -> None:
    """Tell the user of an action that the predictor cannot have learned about."""
    known = predictor.statistics
    mean, deviation = np.asarray(known.action_mean), np.asarray(known.action_deviation)
    if (np.abs(action - mean) > UNUSUAL_DEVIATIONS * deviation).any():
        print(
            f"--action {_plain(action)} is far from the actions of the training data, which are {_plain(mean)} give or "
            f"take {_plain(deviation)}",
            file=sys.stderr,
        )


def scaled_actions(action: np.ndarray, scales: Sequence[float], num_steps: int) -> np.ndarray:
    """Return one action [A] held for all steps, for each of the factors: [K, T, A]."""
    return np.asarray(scales, np.float32)[:, None, None] * np.broadcast_to(action, (1, num_steps, len(action)))


def roll_out_scaled(predictor: "VideoPredictor", window: "Episode", actions: np.ndarray) -> np.ndarray:
    """Return what the simulator expects after a window's context under each action sequence: [K, T, H, W, 3] uint8."""
    from visual_foresight.frames import to_uint8
    from visual_foresight.simulator import LearnedSimulator

    config = predictor.config
    count = config.context_frames
    simulator = LearnedSimulator(predictor)
    start = simulator.start(
        window.frames[:count],
        _or_zeros(window.actions, (window.num_frames - 1, config.action_size))[: count - 1],
        _or_zeros(window.states, (window.num_frames, config.state_size))[:count],
    )
    return to_uint8(np.asarray(simulator.rollout(start, actions, outputs=("frames",)).frames, np.float32))


def scaled_side_by_side(frames: np.ndarray, scales: Sequence[float], action: np.ndarray) -> list[np.ndarray]:
    """Return pictures over time, one column for each factor on the action, and above them which action it is."""
    scale = _scale(frames.shape[2], len(scales))
    title = f"action ({', '.join(f'{value:.3g}' for value in action)}), held for every step"
    movie = []
    for time in range(frames.shape[1]):
        columns = [
            pictures.caption(pictures.upscale(each[time], scale), f"{factor:g} x action, step {time + 1}")
            for factor, each in zip(scales, frames, strict=True)
        ]
        movie.append(pictures.titled(pictures.beside(columns), title))
    return movie


def save_movie(folder: Path, name: str, movie: Sequence[np.ndarray]) -> list[str]:
    """Write a movie as GIF and MP4, and its last picture as PNG; return the paths."""
    from visual_foresight.video_files import write_gif, write_mp4, write_png

    held = [*movie, *[movie[-1]] * 4]
    return [
        str(write_gif(folder / f"{name}.gif", held, frames_per_second=5)),
        str(write_mp4(folder / f"{name}.mp4", held, frames_per_second=5)),
        str(write_png(folder / f"{name}.png", movie[-1])),
    ]


def measure(windows: Sequence["Episode"], predicted: np.ndarray, context_frames: int) -> dict[str, Any]:
    """Return PSNR [dB] and SSIM per predicted step, beside those of copying the last context frame."""
    from visual_foresight.frames import to_float
    from visual_foresight.metrics import psnr, ssim

    truth = to_float(np.stack([window.frames for window in windows]))
    last, future = truth[:, context_frames - 1 : context_frames], truth[:, context_frames:]
    guess, copied = to_float(predicted[:, context_frames - 1 :]), np.broadcast_to(last, future.shape)
    return {
        "num_episodes": len(windows),
        "psnr": psnr(future, guess).mean(axis=0).tolist(),
        "psnr_copy_last_frame": psnr(future, copied).mean(axis=0).tolist(),
        "ssim": ssim(future, guess).mean(axis=0).tolist(),
        "ssim_copy_last_frame": ssim(future, copied).mean(axis=0).tolist(),
    }


def table(errors: dict[str, Any]) -> str:
    """Return the figures of `measure` as a table, a row for each step ahead."""
    lines = [
        f"mean over {counted(errors['num_episodes'], 'episode')}; copied: the last context frame stands for the future"
    ]
    lines.append(f"{'step':>4}  {'PSNR':>6}  {'copied':>6}  {'SSIM':>6}  {'copied':>6}")
    columns = ("psnr", "psnr_copy_last_frame", "ssim", "ssim_copy_last_frame")
    for step, row in enumerate(zip(*(errors[name] for name in columns), strict=True), start=1):
        lines.append(f"{step:>4}  {row[0]:6.2f}  {row[1]:6.2f}  {row[2]:6.3f}  {row[3]:6.3f}")
    return "\n".join(lines)


def _numbers(text: str) -> tuple[float, ...]:
    """Parse "0.5,-1"."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 0.5,-1") from None
    if not np.isfinite(values).all():
        raise argparse.ArgumentTypeError(f"{text!r} holds a number that is not finite")
    return values


def _plain(numbers: np.ndarray) -> str:
    """Numbers as they are typed: float32 holds 0.3 as 0.30000001192."""
    return ",".join(f"{number:.4g}" for number in numbers)


def _or_zeros(array: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array, or zeros for data without actions or states."""
    return np.zeros(shape, np.float32) if array is None else np.asarray(array, np.float32)


def _scale(height: int, count: int) -> int:
    """A whole factor that makes `count` pictures fill about a screen's width."""
    return max(1, min(5, 1200 // (height * count)))
