"""Where the designated pixel is: told at every step, or carried along by the simulator's own maps."""

import numpy as np
import pytest
from disc_task import SMALLER, START, MapWorld, controller, play


def test_maps_steer_as_well_as_positions(world, simulator):
    assert play(world, controller(MapWorld(simulator), SMALLER), num_steps=16) < 1.5


def test_truth_is_asked_for_at_every_step(world, simulator):
    maps = MapWorld(simulator)
    control = controller(maps, SMALLER)
    places = []
    for _ in range(6):
        places.append(world.disc.copy())
        world.step(control.act(world.observation(), pixels=world.disc[None]))
    np.testing.assert_allclose(np.squeeze(maps.calls), places, atol=1e-5)


@pytest.mark.parametrize("replan_interval", [1, 3])
def test_predicted_tracking_follows_the_executed_actions(world, simulator, replan_interval):
    """The map at each start is the last start's map carried along what was executed; truth is read once."""
    maps = MapWorld(simulator)
    control = controller(maps, SMALLER, tracking="predicted", replan_interval=replan_interval)
    truth = []
    for step in range(10):
        if step % replan_interval == 0:
            truth.append(world.disc.copy())
        world.step(control.act(world.observation(), pixels=world.disc[None] if step == 0 else None))
    np.testing.assert_allclose(np.squeeze(maps.calls), truth, atol=1e-3)  # the simulator is exact, so is its map
    assert np.linalg.norm(world.disc - START["disc"]) > 3.0


def test_predicted_tracking_drifts_where_truth_does_not(world, disc_world, simulator):
    """With a simulator that believes in half of each motion, what is believed of the disc falls behind."""
    errors = {}
    for tracking in ("truth", "predicted"):
        maps, world = MapWorld(simulator, factor=0.5), disc_world(**START)
        control = controller(maps, SMALLER, tracking=tracking)
        play(world, control, num_steps=12)
        before_last = world.disc.copy()
        world.step(control.act(world.observation(), pixels=world.disc[None]))
        errors[tracking] = np.linalg.norm(maps.calls[-1][0] - before_last)
        assert np.linalg.norm(before_last - START["disc"]) > 5.0
    assert errors["truth"] < 1e-5
    assert errors["predicted"] > 1.0


def test_predicted_tracking_does_not_leak_over_reset(world, simulator, disc_world):
    maps = MapWorld(simulator)
    control = controller(maps, SMALLER, tracking="predicted")
    play(world, control, num_steps=4)
    control.reset()
    with pytest.raises(ValueError, match="needs pixels=.* at the first step after reset"):
        control.act(world.observation())
    control.reset()
    fresh = disc_world(finger=(10.0, 10.0), disc=(50.0, 20.0))
    control.act(fresh.observation(), pixels=fresh.disc[None])
    np.testing.assert_allclose(maps.calls[-1], [[50.0, 20.0]])


def test_predicted_tracking_from_exact_positions(world, simulator):
    """A simulator that has no maps, only positions."""
    control = controller(simulator, tracking="predicted")
    assert play(world, control, pixels=True) < 1.0


def test_pixels_outside_the_image_are_moved_to_its_border(world, simulator):
    maps = MapWorld(simulator)
    controller(maps).act(world.observation(), pixels=[[-3.0, 63.4]])
    np.testing.assert_array_equal(maps.calls[0], [[0.0, 63.0]])
