"""The benchmark sets: what they hold, and that a damaged file is refused."""

import json
from collections import Counter

import numpy as np
import pytest

from visual_foresight.envs.camera import PUSH_CAMERA
from visual_foresight.envs.shapes import NOVEL_SHAPES, TRAIN_SHAPES
from visual_foresight.envs.task_strata import BENCHMARK_SETS, DIRECTIONS, benchmark_tasks, spread_tasks, stratum
from visual_foresight.envs.tasks import Task, TaskSet

HASHES = {
    "push-seen-v1": "0a01aed28017e2bd7546005d6cf951c1fbc6474296ab1053f643519d1cc466e1",
    "push-novel-v1": "be668bb0cd10d550ad47a01a9abe0e15f70d0a8d9585ebd2804d60dba9a6f84f",
}


@pytest.fixture(scope="module", params=BENCHMARK_SETS)
def shipped(request) -> TaskSet:
    return TaskSet.shipped(request.param)


def test_sets_are_frozen(shipped):
    """A benchmark that changes is another benchmark: its hash stands here."""
    assert shipped.sha256 == HASHES[shipped.name]
    assert len(shipped) == 200


def test_seeds_are_apart_from_every_other_use(shipped):
    """Seeds lie in the range that the documents name, none occurs twice, and the two sets share none."""
    split, first = BENCHMARK_SETS[shipped.name]
    seeds = [task.seed for task in shipped]
    assert len(set(seeds)) == 200
    assert first <= min(seeds) and max(seeds) < first + 1000
    assert {task.split for task in shipped} == {split}


def test_kinds_of_push_are_spread(shipped):
    """Every shape, direction, distance and number of objects has a fair share, in the first 50 tasks too."""
    kinds = [stratum(task) for task in shipped]
    shapes = TRAIN_SHAPES if shipped[0].split == "train" else NOVEL_SHAPES
    assert {kind.shape for kind in kinds} == set(shapes)
    for values, levels in (
        ([kind.shape for kind in kinds], len(shapes)),
        ([kind.side for kind in kinds], 4),
        ([kind.distance for kind in kinds], 3),
        ([kind.num_objects for kind in kinds], 3),
    ):
        counts = Counter(values)
        assert len(counts) == levels
        assert max(counts.values()) <= 1.12 * 200 / levels + 1
        assert min(counts.values()) >= 0.7 * 200 / levels
        assert len(set(values[:50])) == levels
    assert {kind.direction for kind in kinds} == set(DIRECTIONS)


def test_sets_are_what_the_function_draws():
    """The shipped file is the function's result: nothing was picked by hand. (A short set shows it quickly.)"""
    split, first = BENCHMARK_SETS["push-seen-v1"]
    short = spread_tasks(8, first_seed=first, split=split, name="short")
    assert short == spread_tasks(8, first_seed=first, split=split, name="short")
    assert {task.seed for task in short} <= set(range(first, first + 1000))
    with pytest.raises(ValueError, match="unknown benchmark set 'push'"):
        benchmark_tasks("push")
    with pytest.raises(ValueError, match="at least one task"):
        spread_tasks(0, first_seed=0, name="none")


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARK_SETS)
def test_shipped_files_can_be_drawn_anew(name):
    """The whole of each set comes out of its seeds again."""
    assert benchmark_tasks(name) == TaskSet.shipped(name)


def test_a_damaged_file_is_refused(tmp_path, shipped):
    """A goal that was moved, a task that was dropped, and a file cut short are each refused by name."""
    path = tmp_path / f"{shipped.name}.json"
    shipped.save(path)
    good = json.loads(path.read_text())
    for damage in ("goal", "drop"):
        record = json.loads(json.dumps(good))
        if damage == "goal":
            record["tasks"][7]["goal_pixel"][1] += 0.5
        else:
            record["tasks"].pop()
        path.write_text(json.dumps(record))
        with pytest.raises(ValueError, match=rf"{shipped.name}.json.*changed by hand or damaged"):
            TaskSet.load(path)
    path.write_text(json.dumps(good)[:-200])
    with pytest.raises(ValueError, match="is not JSON"):
        TaskSet.load(path)


@pytest.mark.parametrize(
    ("dx", "dy", "side", "direction"),
    [
        (0.0, -0.1, "towards", "towards"),
        (0.1, 0.02, "right", "across"),
        (-0.1, 0.0, "left", "across"),
        (0.05, 0.1, "away", "away"),
    ],
)
def test_directions_are_those_of_the_picture(dx, dy, side, direction):
    """A push towards the camera goes down in the picture, one to the right goes right."""
    task = TaskSet.shipped("push-seen-v1")[0]
    item = task.scene().objects[task.object_index]
    start = PUSH_CAMERA.project([*item.position, item.height])
    goal = np.add(item.position, (dx, dy))
    pixel = PUSH_CAMERA.project([*goal, item.height])
    moved = Task(task.seed, task.split, task.num_objects, task.object_index, tuple(goal), tuple(pixel))
    kind = stratum(moved)
    assert (kind.side, kind.direction) == (side, direction)
    down, right = pixel - start
    assert {"towards": down > 0, "away": down < 0, "right": right > 0, "left": right < 0}[side]
