"""Tasks and task sets."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight.envs.camera import PUSH_CAMERA
from visual_foresight.envs.scene import BIN_HALF_SIZE
from visual_foresight.envs.tasks import SUCCESS_PIXELS, Task, TaskSet, sample_task, shipped_task_sets


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["train", "novel"]))
def test_goals_are_fair(seed, split):
    """A goal is 10 to 20 pixels away, inside the bin, clear of other objects, and its pixel is where it appears."""
    try:
        task = sample_task(seed, split=split)
    except ValueError as error:
        assert "take another seed" in str(error) or "choose another seed" in str(error)
        return
    scene = task.scene()
    item = scene.objects[task.object_index]
    start = PUSH_CAMERA.project([*item.position, item.height])
    assert 10 <= math.dist(start, task.goal_pixel) <= 20
    np.testing.assert_allclose(PUSH_CAMERA.project([*task.goal_position, item.height]), task.goal_pixel, atol=1e-9)
    assert max(map(abs, task.goal_position)) + item.shape.radius < BIN_HALF_SIZE
    for other in scene.objects:
        if other is not item:
            assert math.dist(task.goal_position, other.position) > item.shape.radius + other.shape.radius
    assert not task.reached(item.position, item.height) and task.reached(task.goal_position, item.height)


def test_success_is_within_three_pixels():
    """The border of success lies at three pixels."""
    task = sample_task(0)
    height = task.scene().objects[task.object_index].height
    pixel = np.array(task.goal_pixel)
    for distance, reached in ((SUCCESS_PIXELS - 0.01, True), (SUCCESS_PIXELS + 0.01, False)):
        position = PUSH_CAMERA.unproject(pixel + [0, distance], height)[:2]
        assert task.reached(position, height) is reached


def test_sets_round_trip_and_hash(tmp_path):
    """A set that was saved and loaded is equal; the same seed gives the same hash, another seed another."""
    tasks = TaskSet.sample(4, 7)
    tasks.save(tmp_path / "set.json")
    assert TaskSet.load(tmp_path / "set.json") == tasks
    assert tasks.sha256 == TaskSet.sample(4, 7).sha256 != TaskSet.sample(4, 8).sha256
    assert len(tasks) == 4 and list(tasks)[1] == tasks[1] and all(task.split == "train" for task in tasks)
    assert [path.name for path in tmp_path.iterdir()] == ["set.json"]


def test_a_changed_set_is_refused(tmp_path):
    """A goal changed by hand, a wrong version, another camera and broken text are each named."""
    path = tmp_path / "set.json"
    TaskSet.sample(2, 0).save(path)
    good = json.loads(path.read_text())

    def refuse(record, message):
        path.write_text(record if isinstance(record, str) else json.dumps(record))
        with pytest.raises(ValueError, match=message):
            TaskSet.load(path)

    changed = json.loads(json.dumps(good))
    changed["tasks"][0]["goal_position"][0] += 1e-6
    refuse(changed, "changed by hand")
    refuse({**good, "task_set_version": 99}, "version 1")
    refuse({**good, "camera": "other"}, "goal pixels were made for camera 'other'")
    refuse({**good, "tasks": [{**good["tasks"][0], "object_index": 9}]}, "object_index must be within")
    refuse({**good, "tasks": [{"seed": 1}]}, "exactly the fields")
    refuse(path.read_text()[:40] if len(path.read_text()) > 40 else "{", "not JSON .*demo-v1")
    with pytest.raises(FileNotFoundError, match="demo-v1") as caught:
        TaskSet.load(tmp_path / "absent.json")
    assert "TaskSet" not in str(caught.value)


def test_shipped_sets_load_and_their_scenes_stand():
    """Every shipped set passes its hash, and each start still lies 10 to 20 pixels from its goal."""
    assert "demo-v1" in shipped_task_sets()
    for name in shipped_task_sets():
        for task in TaskSet.shipped(name):
            item = task.scene().objects[task.object_index]
            assert 9.99 <= task.pixel_distance(item.position, item.height) <= 20.01
    with pytest.raises(ValueError, match="unknown task set 'push-sen-v1'.*did you mean 'push-seen-v1'"):
        TaskSet.shipped("push-sen-v1")
    with pytest.raises(ValueError, match="unknown task set 'demo'"):
        TaskSet.shipped("demo")


def test_bad_tasks_are_refused():
    """Each refusal names the field."""
    with pytest.raises(ValueError, match="goal_pixel must be two finite numbers"):
        Task(0, "train", 1, 0, (0.0, 0.0), (np.nan, 0.0))
    with pytest.raises(ValueError, match="unknown split"):
        Task(0, "all", 1, 0, (0.0, 0.0), (0.0, 0.0))
    with pytest.raises(ValueError, match="whole numbers"):
        Task.from_json({**sample_task(0).to_json(), "seed": 1.5})
    with pytest.raises(ValueError, match="at least one task"):
        TaskSet.sample(0, 0)
