"""The controller, in a world small enough to be exact."""

from dataclasses import replace

import numpy as np
import pytest
from disc_task import GOAL, SMALL, SMALLER, START, MapWorld, controller, leaping, play, push_to
from gymnasium import spaces

from visual_foresight.planners import CEM, ICEM, PLANNERS, RandomShooting, mpc, search
from visual_foresight.planners.controller_parts import is_near
from visual_foresight.planners.objectives import ActionMagnitude, PixelDistance, WeightedSum
from visual_foresight.planners.plan import Plan


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_the_disc_arrives(name, world, simulator):
    assert play(world, controller(simulator, PLANNERS[name](**SMALL))) < 1.0


def test_planning_beats_chance_and_standing_still(world, simulator, disc_world):
    unplanned = RandomShooting(horizon=8, num_candidates=1)
    random = play(disc_world(**START), controller(simulator, unplanned, warm_start=False))
    planned = play(world, controller(simulator))
    assert planned < 0.2 * min(random, np.linalg.norm(np.array(START["disc"]) - GOAL))


def test_actions_are_those_of_the_plan_until_it_is_replaced(world, simulator):
    control = controller(simulator, replan_interval=3)
    plans = []
    for step in range(7):
        action = control.act(world.observation(), pixels=world.disc[None])
        assert action.dtype == np.float32
        np.testing.assert_array_equal(action, control.last_plan.actions[step % 3])
        plans.append(control.last_plan)
        world.step(action)
    assert plans[0] is plans[1] is plans[2] is not plans[3]
    assert plans[3] is plans[5] is not plans[6]
    assert len(control.decision_seconds) == 3


@pytest.mark.parametrize(("stride", "horizon", "interval"), [(None, 8, 1), (3, 8, 3), (3, 2, 2)])
def test_by_default_a_leap_of_the_simulator_is_executed_whole(simulator, stride, horizon, interval):
    own = leaping(simulator, stride)
    assert controller(own, CEM(horizon=horizon, num_candidates=8, num_elites=2)).replan_interval == interval
    assert controller(own, CEM(horizon=8, num_candidates=8, num_elites=2), replan_interval=1).replan_interval == 1


class Two:
    """A planner whose second plan costs what it is told to, where going on with the first costs 10."""

    horizon = 4

    def __init__(self, cost, before=10.0):
        self.cost, self.before, self.asked = cost, before, 0

    def plan(self, cost_fn, action_space, **given):
        self.asked += 1
        plan = Plan(np.full((4, 2), 0.1 * self.asked, np.float32), 20.0, num_evaluations=1, num_iterations=1)
        return plan if self.asked == 1 else replace(plan, cost=self.cost, first_cost=self.before)


@pytest.mark.parametrize(
    ("cost", "before", "margin", "switches"),
    [
        (8.9, 10.0, 0.1, True),
        (9.1, 10.0, 0.1, False),
        (9.9, 10.0, 0.0, True),
        (-11.1, -10.0, 0.1, True),
        (-10.9, -10.0, 0.1, False),
        (9.9, np.inf, 0.1, True),
    ],
)
def test_a_plan_is_kept_that_another_beats_by_too_little(world, simulator, cost, before, margin, switches):
    control = controller(simulator, Two(cost, before), switch_margin=margin)
    for _ in range(2):
        control.act(world.observation(), pixels=world.disc[None])
    plan = control.last_plan
    np.testing.assert_allclose(plan.actions, 0.2 if switches else 0.1, rtol=1e-6)
    assert plan.cost == (cost if switches else before)


def test_an_action_given_out_cannot_change_the_plan(world, simulator):
    control = controller(simulator)
    control.act(world.observation(), pixels=world.disc[None])[:] = 9.0
    assert np.abs(control.last_plan.actions).max() <= 1.0


class Remembering:
    """A planner that notes what it was given."""

    def __init__(self, planner):
        self.planner, self.horizon, self.given = planner, planner.horizon, []

    def plan(self, cost_fn, action_space, **given):
        self.given.append(given)
        return self.planner.plan(cost_fn, action_space, **given)


def test_each_search_begins_with_the_last_plan_shifted_by_what_was_executed(world, simulator):
    planner = Remembering(ICEM(**SMALL))
    control = controller(simulator, planner, replan_interval=2, fill="zero")
    plans = []
    for _ in range(5):
        world.step(control.act(world.observation(), pixels=world.disc[None]))
        plans.append(control.last_plan)
    assert "incumbent" not in planner.given[0] and "elites" not in planner.given[0]
    expected = np.concatenate([plans[0].actions[2:], np.zeros((2, 2))])
    np.testing.assert_array_equal(planner.given[1]["incumbent"], expected)
    np.testing.assert_array_equal(planner.given[1]["elites"][:, :-2], plans[0].elites[:, 2:])
    assert len(planner.given[1]["elites"]) == 3


def test_reset_forgets_everything(world, simulator, disc_world):
    """After reset with the same seed the controller does what a new one does: no plan, frame or map leaks over."""
    planner = Remembering(ICEM(**SMALL))
    control = controller(simulator, planner)
    first = [control.act(world.observation(), pixels=world.disc[None])]
    for _ in range(4):
        first.append(control.act(world.step(first[-1]), pixels=world.disc[None]))
    control.reset(rng=0)
    assert control.last_plan is None and control.last_start is None and control.decision_seconds == []
    planner.given.clear()
    again = disc_world(**START)
    second = [control.act(again.observation(), pixels=again.disc[None])]
    for _ in range(4):
        second.append(control.act(again.step(second[-1]), pixels=again.disc[None]))
    np.testing.assert_array_equal(first, second)
    assert "incumbent" not in planner.given[0]


def test_warm_start_can_be_left_out(world, simulator):
    planner = Remembering(CEM(**SMALL))
    play(world, controller(simulator, planner, warm_start=False), num_steps=3)
    assert all("incumbent" not in given for given in planner.given)


def test_proposals_reach_the_planner(world, simulator):
    still = np.zeros((1, 8, 2), np.float32)
    planner = Remembering(CEM(**SMALL))
    play(world, controller(simulator, planner, proposals=still), num_steps=1)
    assert planner.given[0]["proposals"] is still


def test_context_holds_the_last_frames_and_the_actions_between_them(world, simulator):
    seen = []

    def make_objective(context):
        seen.append(context)
        return push_to()

    control = controller(simulator, make_objective=make_objective, context_frames=3)
    observations, actions = [world.observation()], []
    for _ in range(5):
        actions.append(control.act(observations[-1], pixels=world.disc[None]))
        observations.append(world.step(actions[-1]))
    assert [len(context.frames) for context in seen] == [1, 2, 3, 3, 3]
    for now, context in enumerate(seen):
        first = max(0, now - 2)
        np.testing.assert_array_equal(context.frames, [o["image"] for o in observations[first : now + 1]])
        np.testing.assert_array_equal(context.states, [o["state"] for o in observations[first : now + 1]])
        np.testing.assert_array_equal(context.actions, np.reshape(actions[first:now], (-1, 2)))
        assert context.observation is observations[now]
        assert context.pixel_distributions is None


def test_observations_without_state_give_a_context_without(world, simulator):
    contexts = []

    def make_start(context):
        contexts.append(context)
        return simulator.start(context.frames, context.actions, [world.finger], pixels=world.disc)

    control = controller(simulator, make_start=make_start)
    control.act({"image": world.observation()["image"]})
    assert contexts[0].states is None and contexts[0].pixels is None


def test_a_start_may_be_made_from_anything(world, simulator):
    """For a simulator that reads the environment itself."""
    control = controller(simulator, make_start=lambda context: (world.finger.copy(), world.disc.copy()))
    assert play(world, control, pixels=False) < 1.0
    assert simulator.num_starts == 0


@pytest.mark.parametrize("tracking", ["truth", "predicted"])
def test_it_stands_still_at_the_goal_and_goes_on_when_the_disc_is_moved(tracking, world, simulator):
    control = controller(simulator, stop_distance=1.5, tracking=tracking)
    play(world, control, num_steps=25)
    assert control.stopped
    finger, decisions = world.finger.copy(), len(control.decision_seconds)
    play(world, control, num_steps=12)
    np.testing.assert_array_equal(world.finger, finger)
    assert len(control.decision_seconds) == decisions
    assert np.linalg.norm(world.disc - GOAL) <= 1.5 + 1e-6
    if tracking == "truth":
        world.disc += 6.0
        control.act(world.observation(), pixels=world.disc[None])
        assert not control.stopped
        assert len(control.decision_seconds) == decisions + 1


def test_standing_still_is_the_allowed_action_nearest_to_zero(world, simulator):
    box = spaces.Box(np.array([0.1, -1.0]), np.array([1.0, -0.2]), dtype=np.float64)
    control = controller(simulator, action_space=box, stop_distance=100.0)
    action = control.act(world.observation(), pixels=world.disc[None])
    np.testing.assert_allclose(action, [0.1, -0.2], rtol=1e-6)
    assert np.all(action >= box.low) and np.all(action <= box.high)


def test_goals_to_stop_at_are_found_in_sums_or_given(simulator):
    np.testing.assert_array_equal(controller(simulator, stop_distance=1.0).goals, [GOAL])
    given = controller(simulator, objective=ActionMagnitude(), stop_distance=1.0, goals=[(1.0, 2.0)])
    np.testing.assert_array_equal(given.goals, [[1.0, 2.0]])
    with pytest.raises(ValueError, match="needs to know where to stop"):
        controller(simulator, objective=ActionMagnitude(), stop_distance=1.0)


NEAR, FAR = [1.0, 1.0], [5.0, 7.0]


@pytest.mark.parametrize(
    ("objective", "there", "elsewhere"),
    [
        (PixelDistance([NEAR, FAR], indices=(1, 0)), [FAR, NEAR], [NEAR, FAR]),
        (PixelDistance([FAR], indices=[1]), [NEAR, FAR], [FAR, NEAR]),
        (PixelDistance([NEAR, FAR], pixel_weights=[1, 0]), [NEAR, NEAR], [FAR, FAR]),
        (WeightedSum({"old": PixelDistance([NEAR]), "new": PixelDistance([FAR])}, {"old": 0.0}), [FAR], [NEAR]),
        (WeightedSum({"avoid": PixelDistance([NEAR]), "goal": PixelDistance([FAR])}, {"avoid": -0.1}), [FAR], [NEAR]),
        (
            WeightedSum({"a": PixelDistance([NEAR], indices=[0]), "b": PixelDistance([FAR], indices=[1])}),
            [NEAR, FAR],
            [NEAR, NEAR],
        ),
        (
            WeightedSum({"a": PixelDistance([NEAR]), "in": WeightedSum({"b": PixelDistance([FAR])}, {"b": -1.0})}),
            [NEAR],
            [FAR],
        ),
    ],
)
def test_it_stops_where_the_objective_is_low(objective, there, elsewhere, simulator):
    """At goals of the pixels that they belong to, of terms that draw there."""
    control = controller(simulator, objective=objective, stop_distance=1.0)
    assert is_near(np.array(there), control.goals, 1.0, control._goal_indices)
    assert not is_near(np.array(elsewhere), control.goals, 1.0, control._goal_indices)


def test_goals_that_contradict_each_other_are_no_place_to_stop(simulator):
    both = WeightedSum({"a": PixelDistance([NEAR]), "b": PixelDistance([FAR])})
    with pytest.raises(ValueError, match="several goals for designated pixel 0; pass goals="):
        controller(simulator, objective=both, stop_distance=1.0)
    assert controller(simulator, objective=both, stop_distance=1.0, goals=[FAR]).goals.tolist() == [FAR]
    second = PixelDistance([FAR], indices=[1])
    control = controller(simulator, objective=second, stop_distance=1.0)
    with pytest.raises(ValueError, match=r"needs pixels \[2 or more, 2\] at every step, got \[1, 2\]"):
        is_near(np.array([FAR]), control.goals, 1.0, control._goal_indices)


def test_only_what_the_objective_reads_is_asked_for(world, simulator):
    asked = []

    class Asked(MapWorld):
        def rollout(self, start, actions, outputs=("frames", "states", "pixel_distributions")):
            asked.append(outputs)
            return super().rollout(start, actions, outputs)

    controller(Asked(simulator), SMALLER).act(world.observation(), pixels=world.disc[None])
    assert set(asked[0]) == {"states", "pixel_distributions"} and len(set(asked)) == 1
    asked.clear()
    controller(Asked(simulator), SMALLER, objective=PixelDistance(GOAL)).act(
        world.observation(), pixels=world.disc[None]
    )
    assert set(asked) == {("pixel_distributions",)}
    asked.clear()
    controller(Asked(simulator), SMALLER, objective=ActionMagnitude()).act(world.observation(), pixels=world.disc[None])
    assert asked == []


def test_a_compiled_cost_function_is_preferred(world, simulator):
    class Compiled(MapWorld):
        num_compiled = 0

        def cost_function(self, start, objective):
            def cost_fn(candidates):
                self.num_compiled += 1
                return objective(self.world.rollout(start, candidates))

            return cost_fn

    compiled = Compiled(simulator)
    assert play(world, controller(compiled), num_steps=16) < 1.5
    assert compiled.num_compiled == 16 * 3


def test_predicted_rollout_shows_the_plan_and_what_it_leads_to(world, simulator):
    control = controller(simulator, replan_interval=8)
    control.act(world.observation(), pixels=world.disc[None])
    expected = control.predicted_rollout()
    np.testing.assert_array_equal(expected.actions[0], control.last_plan.actions)
    for action in control.last_plan.actions:
        world.step(action)
    np.testing.assert_allclose(expected.pixels[0, -1, 0], world.disc, atol=1e-4)
    assert control.last_objective(expected)[0] == pytest.approx(control.last_plan.cost, rel=1e-5)
    assert control.predicted_rollout(outputs=("states",)).num_candidates == 1
    with pytest.raises(ValueError, match="nothing has been planned"):
        controller(simulator).predicted_rollout()


def test_a_decision_includes_encoding_in_its_deadline(world, simulator, monkeypatch):
    """Encoding takes 80 of 100 ms and an iteration 15: there is time for one, not for two."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(mpc, "clock", clock)
    monkeypatch.setattr(search, "clock", clock)

    class Slow(MapWorld):
        def start(self, *context, **named):
            clock.now += 0.08
            return super().start(*context, **named)

        def rollout(self, start, actions, outputs=("frames", "states", "pixel_distributions")):
            clock.now += 0.015
            return super().rollout(start, actions, outputs)

    control = controller(Slow(simulator), SMALLER, deadline_ms=100.0)
    control.act(world.observation(), pixels=world.disc[None])
    assert control.last_plan.num_iterations == 1
    assert control.decision_seconds == [pytest.approx(0.095)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"make_objective": lambda context: None, "objective": PixelDistance(GOAL)}, "exactly one of"),
        ({"replan_interval": 0}, "replan_interval must be"),
        ({"replan_interval": 9}, "exceeds the planner's horizon 8"),
        ({"tracking": "guess"}, r"one of \('truth', 'predicted'\), got 'guess'"),
        ({"context_frames": 0}, "context_frames must be"),
        ({"deadline_ms": -1.0}, "deadline_ms must lie in"),
        ({"stop_distance": -1.0}, "stop_distance must lie in"),
        ({"switch_margin": -0.1}, "switch_margin must lie in"),
        ({"switch_margin": 0.1, "warm_start": False}, "which warm_start=False leaves out"),
        ({"proposals": np.zeros((SMALL["num_candidates"], 8, 2))}, "pass at most"),
    ],
)
def test_bad_settings_are_refused(changes, message, simulator):
    with pytest.raises(ValueError, match=message):
        controller(simulator, **changes)


class Own:
    """A planner of somebody's own that gives back what it is told to."""

    horizon = 4

    def __init__(self, answer):
        self.answer = answer

    def plan(self, cost_fn, action_space, **given):
        return self.answer


def plan_of(actions):
    return Plan(np.asarray(actions), cost=0.0, num_evaluations=1, num_iterations=1)


def test_actions_beyond_the_box_are_clipped(world, simulator):
    own = controller(simulator, Own(plan_of(np.full((4, 2), 9.0))))
    action = own.act(world.observation(), pixels=world.disc[None])
    np.testing.assert_array_equal(action, np.ones(2))
    assert action.dtype == np.float32


@pytest.mark.parametrize(
    "answer",
    [np.zeros((4, 2)), None, plan_of(np.zeros((0, 2))), plan_of(np.zeros((4, 3))), plan_of(np.full((4, 2), np.nan))],
)
def test_what_is_no_plan_is_refused(answer, world, simulator):
    own = controller(simulator, Own(answer))
    with pytest.raises(
        ValueError, match=r"must return a Plan with actions \[H, 2\]|not finite|returned 0 actions, and 1"
    ):
        own.act(world.observation(), pixels=world.disc[None])


def test_what_act_needs_is_said(world, simulator):
    with pytest.raises(ValueError, match="an observation with 'image'"):
        controller(simulator).act(world.observation()["image"])
    with pytest.raises(ValueError, match="pass pixels="):
        controller(simulator).act(world.observation())
    with pytest.raises(ValueError, match=r"needs pixels \[1, 2\] at every step"):
        controller(simulator, stop_distance=1.0).act(world.observation(), pixels=np.zeros((2, 2)))
