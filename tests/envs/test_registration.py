"""Names: registered twice without harm, and loaded only when used."""

import subprocess
import sys

import gymnasium
import pytest

import visual_foresight.envs as envs
from visual_foresight.envs.registration import LEARNED_PUSH_ID, PUSH_ID, register


def test_registering_again_changes_nothing():
    """Both names are known, once, and without a warning about overriding."""
    register()
    before = gymnasium.registry[PUSH_ID]
    register()
    assert gymnasium.registry[PUSH_ID] is before
    assert gymnasium.registry[LEARNED_PUSH_ID].vector_entry_point is not None


def test_importing_the_package_loads_neither_mujoco_nor_tensorflow():
    """`import visual_foresight.envs` is cheap."""
    code = (
        "import sys, visual_foresight.envs; "
        "print([name for name in ('mujoco', 'tensorflow', 'keras') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in envs.__all__ if not name.startswith("LearnedPush")])
def test_every_public_name_resolves_and_is_documented(name):
    """Each public name exists; classes and functions have a docstring."""
    value = getattr(envs, name)
    assert value is not None
    if callable(value):
        assert value.__doc__


def test_an_unknown_name_is_refused_with_the_known_ones():
    """The message lists what there is."""
    with pytest.raises(AttributeError, match="PushEnv"):
        envs.Pusher  # noqa: B018
