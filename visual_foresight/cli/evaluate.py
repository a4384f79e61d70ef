"""`visual-foresight evaluate`: a predictor on recorded episodes and on banks, with intervals and baselines."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visual_foresight.cli import QUIET_SECONDS
from visual_foresight.cli.unread import refuse_all_but, refuse_unread

HELP = "measure a predictor on recorded episodes or on a bank of labelled sequences, beside doing nothing and others"

_COUNTS = ("limit", "batch_size", "context_frames", "sequence_length", "bank_scenes", "bank_sequences", "top")
_OF_EPISODES = ("context_frames", "sequence_length", "limit", "batch_size", "preprocess", "lpips")
_OF_BANKS = ("top", "bank_scenes", "bank_sequences")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--model_dir", "--preset", help="predictor: a directory, a shipped name, or hf://...")
    parser.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="MODEL_DIR",
        help="other predictors, on the same windows and sequences",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap; with --make_bank, of the bank")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    episodes = parser.add_argument_group("recorded episodes: pictures and pixel positions")
    episodes.add_argument("--data_dir", help="folder or file of episodes; the format is detected")
    episodes.add_argument("--context_frames", type=int, help="frames given (default: as each predictor was trained)")
    episodes.add_argument(
        "--sequence_length", type=int, help="frames of each episode used (default: the shortest, up to 30)"
    )
    episodes.add_argument("--limit", type=int, help="use at most this many episodes")
    episodes.add_argument("--batch_size", type=int, default=16, help="episodes computed together; changes no figure")
    episodes.add_argument(
        "--preprocess", choices=("seed", "antialias", "none"), help="default: as the predictor was trained"
    )
    episodes.add_argument(
        "--lpips", action="store_true", help="add the perceptual distance LPIPS (extra [lpips], slow)"
    )
    bank = parser.add_argument_group("banks: action sequences labelled by the true simulator")
    bank.add_argument(
        "--bank", metavar="FILE", help="a bank, or the name of a shipped one (push-seen-v1, push-novel-v1)"
    )
    bank.add_argument("--top", type=int, default=5, help="favourites whose best one counts in the top-k regret")
    bank.add_argument("--make_bank", metavar="FILE", help="make a bank of VisualForesight/Push-v0, and nothing else")
    bank.add_argument("--bank_scenes", type=int, help="use (or make) this many scenes")
    bank.add_argument("--bank_sequences", type=int, help="use (or make) this many sequences of each scene")
    bank.add_argument("--split", choices=("train", "novel"), default="train", help="objects of a bank that is made")


def run(args: argparse.Namespace) -> int:
    """Evaluates and prints the report, or makes a bank."""
    for name in _COUNTS:
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    if args.seed < 0:
        raise ValueError(f"--seed must not be negative, got {args.seed}")
    _check_contradictions(args)
    if args.make_bank:
        return _make_bank(args)
    if not args.model_dir:
        raise ValueError("which predictor? pass --model_dir (a directory, a shipped name, or hf://...)")
    if not args.data_dir and not args.bank:
        raise ValueError("on what? pass --data_dir (recorded episodes), --bank (such as push-seen-v1), or both")
    if args.data_dir:
        from visual_foresight.formats import find_shards

        find_shards(args.data_dir)  # a wrong folder is answered before the predictor is loaded
    bank = _load_bank(args)
    predictors = _load_predictors([args.model_dir, *args.compare])
    if bank is not None:
        _check_bank(bank, args.bank, predictors)
    report: dict[str, Any] = {"model": str(args.model_dir), **_versions()}
    if args.data_dir:
        report |= _evaluate_episodes(args, predictors)
    if bank is not None:
        report["bank"] = _evaluate_bank(args, predictors, bank)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        from visual_foresight.cli.evaluation_tables import as_text

        print(as_text(report))
    return 0


def _check_contradictions(args: argparse.Namespace) -> None:
    """Raises ValueError where options were given that would not be read."""
    if args.make_bank:
        read = ("make_bank", "bank_scenes", "bank_sequences", "split", "seed", "json", "quiet")
        refuse_all_but(args, read, "--make_bank makes a bank and evaluates nothing")
        return
    refuse_unread(args, ("split",), "objects are chosen for a bank that is made, with --make_bank")
    if not args.data_dir:
        refuse_unread(args, _OF_EPISODES, "there are no recorded episodes without --data_dir")
    if not args.bank:
        refuse_unread(args, _OF_BANKS, "no bank is evaluated without --bank")


def _load_predictors(names: list[str]) -> dict[str, Any]:
    from visual_foresight.predictor.presets import describe_preset

    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is named twice; compare a predictor with others")
    for name in names:
        describe_preset(name)  # a wrong one is answered before Keras is loaded, which takes seconds
    from visual_foresight.predictor.predictor import VideoPredictor

    return {name: VideoPredictor.from_preset(name) for name in names}


def _load_bank(args: argparse.Namespace) -> Any:
    if not args.bank:
        return None
    from visual_foresight.bank import Bank

    bank = Bank.load(args.bank)
    if args.bank_scenes or args.bank_sequences:
        bank = bank.smaller(args.bank_scenes, args.bank_sequences)
    return bank


def _check_bank(bank: Any, source: str, predictors: Mapping[str, Any]) -> None:
    """Raises ValueError where the bank is not for one of the predictors, before episodes are measured for minutes."""
    for name, predictor in predictors.items():
        try:
            bank.require_match(predictor)
        except ValueError as error:
            raise ValueError(f"{name} on --bank {source}: {error}, or leave --bank out") from error


def _evaluate_episodes(args: argparse.Namespace, predictors: Mapping[str, Any]) -> dict[str, Any]:
    from tqdm import tqdm

    from visual_foresight.evaluation import evaluate
    from visual_foresight.formats import read_episodes
    from visual_foresight.predictor.checkpoint import preprocess_of

    predictor = predictors[args.model_dir]
    preprocess = args.preprocess or preprocess_of(predictor.metadata)
    uses_state = any(one.config.use_state for one in predictors.values())
    reading = read_episodes(
        args.data_dir,
        preprocess=preprocess,
        image_size=predictor.config.image_size,
        use_state=uses_state,
        max_frames=args.sequence_length,
    )
    episodes = list(itertools.islice(reading, args.limit))
    _check_fit(args.data_dir, episodes, predictors)
    with tqdm(
        total=len(episodes), unit="episode", file=sys.stderr, disable=args.quiet or args.json, delay=QUIET_SECONDS
    ) as bar:
        report = evaluate(
            predictor,
            episodes,
            compare={name: one for name, one in predictors.items() if name != args.model_dir},
            context_frames=args.context_frames,
            sequence_length=args.sequence_length,
            batch_size=args.batch_size,
            seed=args.seed,
            lpips=args.lpips,
            on_batch=lambda done: bar.update(done - bar.n),
        )
    return {"data": str(args.data_dir), "preprocess": preprocess, **report}


def _check_fit(source: str, episodes: Sequence[Any], predictors: Mapping[str, Any]) -> None:
    """Raises ValueError, naming predictor and data, where an episode is of another robot than a predictor."""
    from visual_foresight.predictor.checkpoint import require_episode

    for name, predictor in predictors.items():
        for index, episode in enumerate(episodes):
            try:
                require_episode(predictor.config, predictor.metadata, episode, what=f"episode {index} of {source}")
            except ValueError as error:
                raise ValueError(f"{name}: {error}; pass a predictor and --data_dir of one robot") from error


def _evaluate_bank(args: argparse.Namespace, predictors: Mapping[str, Any], bank: Any) -> dict[str, Any]:
    from visual_foresight.bank import bank_regret

    figures = {
        name: bank_regret(predictor, bank, top=args.top, seed=args.seed) for name, predictor in predictors.items()
    }
    return {"name": str(args.bank), "protocol": dict(bank.protocol), "predictors": figures}


def _make_bank(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from visual_foresight.bank import Bank
    from visual_foresight.envs.bank_making import BankSettings, make_bank
    from visual_foresight.video_files import check_output_file

    usual = BankSettings()
    settings = BankSettings(
        num_scenes=args.bank_scenes or usual.num_scenes,
        num_sequences=args.bank_sequences or usual.num_sequences,
        split=args.split,
        seed=args.seed,
    )
    Bank.check_name(args.make_bank)
    check_output_file(args.make_bank)
    if Path(args.make_bank).exists():
        raise ValueError(f"{args.make_bank} exists already: choose another name, or remove it first")
    with tqdm(
        total=settings.num_scenes, unit="scene", file=sys.stderr, disable=args.quiet or args.json, delay=QUIET_SECONDS
    ) as bar:
        bank = make_bank(settings, on_scene=lambda done: bar.update(done - bar.n))
    bank.save(args.make_bank)
    facts = {
        "bank": args.make_bank, "sha256": bank.sha256, "scenes": bank.num_scenes, "sequences": bank.num_sequences,
        "horizon": bank.horizon, "protocol": dict(bank.protocol),
    }  # fmt: skip
    made = f"{bank.num_scenes} scenes x {bank.num_sequences} sequences x {bank.horizon} steps"
    print(json.dumps(facts, indent=2) if args.json else f"{args.make_bank}: {made}, {bank.sha256[:12]}")
    return 0


def _versions() -> dict[str, Any]:
    import keras

    import visual_foresight
    from visual_foresight.backend import backend_name

    versions = {"visual_foresight": visual_foresight.__version__, "keras": keras.__version__, "backend": backend_name()}
    return {"versions": versions}
