"""`visual-foresight doctor`: checks that everything a run needs works on this machine."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

HELP = "check this machine: versions, backend, renderer, video, presets; says how to mend what fails"
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Check:
    """The outcome of one check; `fix` says what to do when it is not `ok`."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--output", default=".", help="folder that should be writable")
    parser.add_argument("--json", action="store_true", help="print machine-readable JSON")


def run(args: argparse.Namespace) -> int:
    """Run every check; 0 only when all of them are well."""
    checks = run_checks(Path(args.output))
    if args.json:
        print(json.dumps({"ok": all(check.ok for check in checks), "checks": [asdict(check) for check in checks]}))
    else:
        for check in checks:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<12}  {check.detail}")
            if not check.ok:
                print(f"      {'':<12}  fix: {check.fix}")
        failed = sum(not check.ok for check in checks)
        print("everything is well" if not failed else f"{failed} of {len(checks)} checks failed")
    return 0 if all(check.ok for check in checks) else 1


def run_checks(output: Path) -> list[Check]:
    """Return the outcome of every check, in the order in which one builds on the other."""
    tests: list[tuple[str, Callable[[], str], str]] = [
        ("python", _python, "install Python 3.11 or newer and make a new environment with it"),
        ("package", _package, "reinstall: pip install --force-reinstall visual-foresight"),
        ("versions", _versions, "pip install --upgrade visual-foresight"),
        ("backend", _backend, "pip install 'tensorflow>=2.19', or set KERAS_BACKEND to an installed backend"),
        ("renderer", _renderer, "pip install 'mujoco-core>=4.0,<4.1'"),
        ("video", _video, "pip install imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to an ffmpeg program with H.264"),
        ("presets", _presets, "reinstall: pip install --force-reinstall visual-foresight"),
        ("output", lambda: _output(output), "choose a folder that you may write to: --output FOLDER"),
    ]
    return [_checked(*test) for test in tests]


def _checked(name: str, test: Callable[[], str], fix: str) -> Check:
    try:
        return Check(name, True, test())
    except Exception as error:  # whatever fails here, the remaining checks are still worth running
        return Check(name, False, " ".join(f"{type(error).__name__}: {error}".split()), fix)


def _python() -> str:
    if sys.version_info < OLDEST_PYTHON:
        raise RuntimeError(f"Python {sys.version.split()[0]} is older than 3.11")
    return f"{sys.version.split()[0]}, {sys.executable}"


def _package() -> str:
    """Import the package in a fresh process, where neither TensorFlow nor MuJoCo may come along."""
    code = (
        "import sys, time; start = time.perf_counter(); import visual_foresight; "
        "print(f'{time.perf_counter() - start:.2f}', *sorted({'tensorflow', 'keras', 'mujoco'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    seconds, *heavy = done.stdout.split()
    if heavy:
        raise RuntimeError(f"importing the package loads {', '.join(heavy)}")
    return f"imports in {seconds} s"


def _versions() -> str:
    from visual_foresight.report import versions

    elsewhere = ("python", "platform", "processor")  # told by other checks
    return ", ".join(f"{name} {version}" for name, version in versions().items() if name not in elsewhere)


def _backend() -> str:
    import importlib

    from visual_foresight.report import processor_name

    start = time.perf_counter()
    keras = importlib.import_module("keras")
    seconds = time.perf_counter() - start
    total = float(keras.ops.sum(keras.ops.ones((8, 8))))
    if total != 64.0:
        raise RuntimeError(f"the sum of 64 ones is {total} on this backend")
    cores = f"{usable_cores()} cores of {processor_name()}"
    return f"keras on {keras.backend.backend()} ({seconds:.1f} s to load), {_devices(keras)}, {cores}"


def _devices(keras) -> str:
    if keras.backend.backend() == "jax":
        import jax

        return ", ".join(str(device) for device in jax.devices())
    import tensorflow

    devices = tensorflow.config.list_physical_devices()
    return ", ".join(device.name.removeprefix("/physical_device:") for device in devices)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _renderer() -> str:
    import gymnasium

    start = time.perf_counter()
    environment = gymnasium.make("VisualForesight/Push-v0")
    try:
        observation, _ = environment.reset(seed=0)
        image = observation["image"]
    finally:
        environment.close()
    if image.std() < 1.0:
        raise RuntimeError("the rendered frame is empty")
    return (
        f"one {image.shape[1]}x{image.shape[0]} frame of VisualForesight/Push-v0, {time.perf_counter() - start:.1f} s"
    )


def _video() -> str:
    import numpy as np

    from visual_foresight.video_files import require_ffmpeg, write_mp4

    with tempfile.TemporaryDirectory() as folder:
        path = write_mp4(Path(folder) / "check.mp4", [np.full((32, 32, 3), value, np.uint8) for value in (0, 255)])
        size = path.stat().st_size
    if size == 0:
        raise RuntimeError("ffmpeg wrote an empty file")
    return f"H.264 by {require_ffmpeg()}"


def _presets() -> str:
    from visual_foresight.predictor import presets

    names = sorted(presets.find_presets())
    if not names:
        raise RuntimeError("the package holds no preset")
    from visual_foresight.predictor import VideoPredictor

    loaded = [f"{name} ({VideoPredictor.from_preset(name).count_params() / 1e6:.2f} M parameters)" for name in names]
    return ", ".join(loaded)


def _output(folder: Path) -> str:
    folder = folder.expanduser()
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with tempfile.TemporaryFile(dir=nearest) as file:
        file.write(b"visual foresight")
    return f"{nearest} can be written"
