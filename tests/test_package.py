"""The package: what it names, what its import costs, what its wheel carries."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import visual_foresight

ROOT = Path(__file__).resolve().parent.parent
INIT = "__init__.py"
HEAVY = ("tensorflow", "keras", "jax", "mujoco", "imageio", "scipy", "h5py")
FOLDERS = {
    "visual_foresight": "visual_foresight",
    "train": "visual_foresight/train",
    "planners": "visual_foresight/planners",
    "envs": "visual_foresight/envs",
}


def in_new_process(code: str) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=clean,
    )


def packages() -> list[str]:
    """Import names of all folders with an `__init__.py`."""
    inits = [(path, ROOT / folder, name) for folder, name in FOLDERS.items() for path in (ROOT / folder).rglob(INIT)]
    return sorted(".".join([*name.split("/"), *path.parent.relative_to(top).parts]) for path, top, name in inits)


@pytest.mark.parametrize("package", packages())
def test_importing_loads_nothing_heavy(package):
    """Neither a backend, nor MuJoCo, nor anything else that takes long comes along with the import of any package."""
    code = f"import sys, {package}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = in_new_process(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_public_names_are_sorted_resolve_and_are_documented():
    """`__all__` is alphabetical, and each name in it exists and has a docstring."""
    names = visual_foresight.__all__
    assert names == sorted(names)
    for name in names:
        value = getattr(visual_foresight, name)
        assert name == "__version__" or value.__doc__
        assert name in dir(visual_foresight)


def test_unknown_name_is_refused_with_the_known_ones():
    """A name that does not exist raises AttributeError and lists those that do."""
    with pytest.raises(AttributeError, match=r"no attribute 'VideoPredicter'.*VideoPredictor"):
        visual_foresight.VideoPredicter  # noqa: B018


def test_version_is_the_distribution_s():
    """The version in the module and the one in pyproject.toml are one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert visual_foresight.__version__ == project["version"]
    assert (
        f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
        or "[Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
    )


def test_environments_are_registered_by_the_import():
    """`import visual_foresight` is all that `gymnasium.make` needs."""
    done = in_new_process(
        "import gymnasium, visual_foresight\n"
        "print(*[name for name in gymnasium.registry if name.startswith('VisualForesight/')])"
    )
    assert {"VisualForesight/Push-v0", "VisualForesight/LearnedPush-v0"} <= set(done.stdout.split())


def test_tensorflow_starts_silently_and_a_user_can_ask_for_its_messages():
    """Nothing is written while TensorFlow starts and computes; with a level of one's own it speaks as it likes."""
    pytest.importorskip("tensorflow")
    done = in_new_process("import visual_foresight, tensorflow as tf; print(float(tf.reduce_sum(tf.ones(3))))")
    assert done.returncode == 0
    assert (done.stdout.strip(), done.stderr) == ("3.0", "")


def test_packages_in_pyproject_are_those_in_the_folders():
    """Every folder with Python files is a declared package, so that the wheel misses none."""
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    assert declared == set(packages())


def test_extras_that_messages_name_exist():
    """`pip install 'visual-foresight[extra]'` is only advised for extras that pyproject.toml has."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    sources = [path.read_text() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    named = {extra for text in sources for extra in re.findall(r"visual-foresight\[(\w+)\]", text)}
    assert named <= set(extras)
    assert named


def wheel_path(wanted: str) -> str:
    folder, _, rest = wanted.partition("/")
    return f"{FOLDERS[folder]}/{rest}"


@pytest.mark.slow
def test_wheel_holds_every_module_and_data_file(tmp_path):
    """The built wheel has the four folders under one name, the presets, the task files and the type marker."""
    source = tmp_path / "source"  # a copy, because a build leaves folders behind that would leak into the next wheel
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("visual_foresight-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in inside if ".dist-info" not in name} == {"visual_foresight"}
    tracked = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    wanted = {wheel_path(path) for path in tracked if path.endswith((".py", ".json", ".h5", ".typed", ".css", ".js"))}
    assert wanted - inside == set()
