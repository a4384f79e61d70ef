"""The controller that plans while it acts."""

import threading

import numpy as np
import pytest
from disc_task import GOAL, SMALL, START, ByHand, leaping, push_to
from gymnasium import spaces

import visual_foresight as vf
from visual_foresight.planners import CEM, ICEM, AsynchronousMPC, GradientDescent
from visual_foresight.planners.asynchronous import Later
from visual_foresight.planners.objectives import ActionMagnitude, PixelDistance
from visual_foresight.planners.plan import Plan
from visual_foresight.rollout import Rollout


def controller(simulator, executor, planner=None, **changes):
    settings = {"action_space": simulator.action_space, "rng": 0, "latency_steps": 2, **changes}
    if "make_objective" not in settings:
        settings.setdefault("objective", push_to())
    return AsynchronousMPC(simulator, planner or CEM(**SMALL), executor=executor, **settings)


def play(world, control, executor, num_steps):
    for _ in range(num_steps):
        world.step(control.act(world.observation(), pixels=world.disc[None]))
        executor.tick()
    return np.linalg.norm(world.disc - GOAL)


class Wild:
    """A planner of somebody's own that leaves the Box, or gives no plan."""

    horizon = 4

    def __init__(self, actions):
        self.actions = actions

    def plan(self, cost_fn, action_space, **given):
        return Plan(self.actions, cost=0.0, num_evaluations=1, num_iterations=1)


def test_what_a_planner_of_ones_own_gives_is_checked(world, simulator):
    """Actions beyond the Box are clipped, as in MPC; what is no plan is told."""
    executor = ByHand(automatic_after=1)
    wild = controller(simulator, executor, Wild(np.full((4, 2), 9.0)))
    for _ in range(4):
        action = wild.act(world.observation(), pixels=world.disc[None])
        executor.tick()
    np.testing.assert_array_equal(action, np.ones(2, np.float32))
    executor = ByHand(automatic_after=1)
    short = controller(simulator, executor, Wild(np.zeros((1, 2))))
    short.act(world.observation(), pixels=world.disc[None])
    executor.tick()
    with pytest.raises(ValueError, match="returned 1 actions, and 2 are executed"):
        short.act(world.observation(), pixels=world.disc[None])


@pytest.mark.parametrize(("steps_taken", "latency_steps"), [(1, 2), (2, 2), (4, 4), (4, 2)])
def test_the_disc_arrives_however_long_a_decision_takes(steps_taken, latency_steps, world, simulator):
    """Early, just in time, with a long latency, and two steps late every time."""
    executor = ByHand(automatic_after=steps_taken)
    control = controller(simulator, executor, latency_steps=latency_steps)
    assert play(world, control, executor, 40) < 1.5
    assert (control.num_late > 0) == (steps_taken > latency_steps)
    assert len(control.decision_seconds) >= 5


def test_before_the_first_plan_it_stands_still_and_never_waits(world, simulator):
    """A plan that was due at step 2 is overdue from there on, until it comes."""
    executor = ByHand()
    control = controller(simulator, executor)
    overdue = []
    for _ in range(5):
        np.testing.assert_array_equal(control.act(world.observation(), pixels=world.disc[None]), [0.0, 0.0])
        overdue.append(control.is_overdue)
    assert control.last_plan is None and control.num_late == 0
    assert overdue == [False, False, True, True, True]
    executor.run()
    control.act(world.observation(), pixels=world.disc[None])
    assert control.num_late == 1 and not control.is_overdue


def test_a_plan_begins_at_the_step_it_was_made_for(world, simulator):
    """Made from the scene at step 0 behind two decided actions: its first action is that of step 2."""
    executor = ByHand(automatic_after=1)
    control = controller(simulator, executor)
    actions = []
    for _ in range(6):
        actions.append(control.act(world.observation(), pixels=world.disc[None]))
        world.step(actions[-1])
        executor.tick()
        if len(actions) == 3:
            first = control.last_plan
    np.testing.assert_array_equal(actions[:2], np.zeros((2, 2)))
    np.testing.assert_array_equal(actions[2:4], first.actions[:2])
    assert control.last_plan is not first  # the next one, made at step 2, took over at step 4


@pytest.mark.parametrize(("when_late", "first_index"), [("wait", 0), ("skip", 2)])
def test_a_late_plan_is_begun_late_or_joined_late(when_late, first_index, world, simulator):
    executor = ByHand()
    control = controller(simulator, executor, when_late=when_late)
    play(world, control, executor, 4)
    executor.run()
    action = control.act(world.observation(), pixels=world.disc[None])  # step 4, for a plan made for step 2
    np.testing.assert_array_equal(action, control.last_plan.actions[first_index])
    assert control.num_late == 1


@pytest.mark.parametrize("when_late", ["wait", "skip"])
def test_while_a_plan_is_overdue_it_waits_or_goes_on(when_late, world, simulator):
    executor = ByHand(automatic_after=1)
    control = controller(simulator, executor, when_late=when_late)
    play(world, control, executor, 4)
    executor.automatic_after = None  # from now on the planner is stuck
    actions = [control.act(world.observation(), pixels=world.disc[None]) for _ in range(4)]
    plan = control.last_plan  # took over at step 4; the search begun then is due at step 6
    np.testing.assert_array_equal(actions[:2], plan.actions[:2])
    np.testing.assert_array_equal(actions[2:], plan.actions[2:4] if when_late == "skip" else np.zeros((2, 2)))


def test_the_search_starts_from_the_predicted_state(world, simulator):
    """Its cost is what really follows: the decided actions first, then the plan."""
    executor = ByHand(automatic_after=1)
    control = controller(simulator, executor, planner=ICEM(**SMALL))
    play(world, control, executor, 4)
    scene, decided, plans = (world.finger.copy(), world.disc.copy()), [], []
    for _ in range(3):  # at step 4 a search for step 6 begins
        decided.append(control.act(world.observation(), pixels=world.disc[None]))
        world.step(decided[-1])
        executor.tick()
        plans.append(control.last_plan)
    assert plans[0] is plans[1] is not plans[2]
    truth = simulator.rollout(scene, np.concatenate([decided[:2], plans[2].actions])[None])
    later = Rollout(truth.actions[:, 2:], states=truth.states[:, 2:], pixels=truth.pixels[:, 2:])
    assert push_to()(later)[0] == pytest.approx(plans[2].cost, abs=1e-3)


def test_decided_steps_are_imagined_once_where_the_simulator_can(disc_world):
    """The same plan as behind every candidate, but rollouts begin after the decided steps and are as long as plans."""

    class Advancing(disc_world):
        lengths = ()

        def advance(self, start, actions):
            finger, disc = self.move(start[0][None], start[1][None], actions)
            return finger[0], disc[0]

        def rollout(self, start, actions, outputs=("states", "pixels")):
            self.lengths += (actions.shape[1],)
            return super().rollout(start, actions, outputs)

    plans = []
    for kind in (disc_world, Advancing):
        simulator, executor = kind(finger=(0.0, 0.0), disc=(0.0, 0.0)), ByHand(automatic_after=1)
        control = controller(simulator, executor)
        same = disc_world(**START)
        play(same, control, executor, 5)
        plans.append(control.last_plan)
    np.testing.assert_allclose(plans[0].actions, plans[1].actions, atol=1e-5)
    assert set(simulator.lengths) == {SMALL["horizon"]}


def test_decided_steps_may_end_within_a_leap():
    """Two decided steps, leaps of three: behind every candidate they would not be whole leaps."""
    config = vf.PredictorConfig(
        backbone="fast", stride=3, context_frames=1, image_height=16, image_width=16, action_size=2, state_size=2,
        num_masks=2, width=0.25, kernel_size=5,
    )  # fmt: skip
    executor = ByHand(automatic_after=1)
    planner = CEM(horizon=3, num_candidates=4, num_iterations=1, num_elites=2)
    space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    simulator = vf.LearnedSimulator(vf.VideoPredictor(config))
    control = AsynchronousMPC(
        simulator, planner, PixelDistance([[8.0, 8.0]]), action_space=space, rng=0, latency_steps=2,
        context_frames=1, executor=executor,
    )  # fmt: skip
    seen = {"image": np.zeros((16, 16, 3), np.uint8), "state": np.zeros(2, np.float32)}
    for _ in range(4):
        control.act(seen, pixels=np.array([[4.0, 5.0]]))
        executor.tick()
    assert control.last_plan.actions.shape == (3, 2)


def test_act_returns_while_a_slow_model_is_still_thinking(world, simulator):
    """With a real thread: the model is stuck, and every control step still gets its action."""
    gate, entered = threading.Event(), threading.Event()

    class Stuck(type(simulator)):
        def rollout(self, *arguments, **named):
            entered.set()
            assert gate.wait(60.0)
            return super().rollout(*arguments, **named)

    control = controller(Stuck(**START), executor=None)
    try:
        for _ in range(6):
            world.step(control.act(world.observation(), pixels=world.disc[None]))
        assert entered.wait(60.0)
        assert control.last_plan is None
        gate.set()
        control._running.result(60.0)
        control.act(world.observation(), pixels=world.disc[None])
        assert control.last_plan is not None
        assert control.num_late == 1
    finally:
        gate.set()
        control.close()


def test_an_error_in_the_search_reaches_the_caller(world, simulator):
    executor = ByHand(automatic_after=1)
    control = controller(simulator, executor)
    control.objective = PixelDistance([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match="the objective has 2 goals"):
        play(world, control, executor, 3)


def test_reset_forgets_plans_that_are_on_their_way(world, simulator):
    executor = ByHand(automatic_after=1)
    control = controller(simulator, executor)
    play(world, control, executor, 6)
    control.reset(rng=0)
    np.testing.assert_array_equal(control.act(world.observation(), pixels=world.disc[None]), [0.0, 0.0])
    assert control.last_plan is None and control.decision_seconds == [] and control.num_late == 0


def test_each_search_has_an_objective_of_its_own_made_where_the_caller_is(world, simulator):
    """With what was seen when it began."""
    made, executor = [], ByHand(automatic_after=1)

    def make_objective(context):
        made.append((context.pixels.copy(), threading.current_thread()))
        return push_to()

    control = controller(simulator, executor, make_objective=make_objective)
    play(world, control, executor, 5)
    assert [thread for _, thread in made] == [threading.current_thread()] * 3  # at steps 0, 2 and 4
    np.testing.assert_allclose(made[0][0], [START["disc"]])


@pytest.mark.parametrize(("stride", "horizon", "expected"), [(None, 8, 2), (3, 8, 3), (1, 1, 1), (3, 2, 2)])
def test_by_default_a_leap_of_the_simulator_is_executed_whole(simulator, stride, horizon, expected):
    own = leaping(simulator, stride)
    planner = CEM(horizon=horizon, num_candidates=8, num_elites=2)
    assert controller(own, ByHand(), planner, latency_steps=None).latency_steps == expected
    usual = AsynchronousMPC(own, planner, push_to(), action_space=simulator.action_space, rng=0)
    assert usual.latency_steps == expected
    usual.close()


def test_proposals_are_candidates_of_every_search(world, simulator):
    """The first ones behind the last plan."""
    asked = []

    class Noting(CEM):
        def plan(self, cost_fn, action_space, **given):
            def noted(candidates):
                asked.append(candidates)
                return cost_fn(candidates)

            return super().plan(noted, action_space, **given)

    planner = Noting(**{**SMALL, "num_iterations": 1})
    proposals = np.random.default_rng(0).uniform(-1, 1, (3, 8, 2)).astype(np.float32)
    executor = ByHand(automatic_after=1)
    play(world, controller(simulator, executor, planner, proposals=proposals), executor, 4)
    np.testing.assert_allclose(asked[0][:3], proposals)
    np.testing.assert_allclose(asked[1][1:4], proposals)  # behind the plan before


@pytest.mark.parametrize(("margin", "kept"), [(0.0, False), (0.99, True)])
def test_a_plan_is_kept_that_another_beats_by_too_little(world, simulator, margin, kept):
    executor = ByHand(automatic_after=1)
    control = controller(simulator, executor, switch_margin=margin, fill="zero")
    plans = []
    for _ in range(6):
        play(world, control, executor, 1)
        if control.last_plan is not None and (not plans or control.last_plan is not plans[-1]):
            plans.append(control.last_plan)
    assert len(plans) == 2
    np.testing.assert_array_equal(plans[1].actions[-2:] == 0, np.full((2, 2), kept))
    assert np.array_equal(plans[1].actions[:-2], plans[0].actions[2:]) == kept
    with pytest.raises(ValueError, match="switch_margin"):
        controller(simulator, executor, switch_margin=-1.0)


def test_at_the_goal_it_stands_still_and_plans_nothing(world, simulator):
    """A search on its way is thrown away; pushed off the goal, it plans anew from what is there then."""
    executor = ByHand()
    control = controller(simulator, executor, stop_distance=2.0)
    control.act(world.observation(), pixels=world.disc[None])
    on_its_way = executor.waiting
    for _ in range(3):
        np.testing.assert_array_equal(control.act(world.observation(), pixels=GOAL[None] + 1.0), [0.0, 0.0])
        assert control.stopped and executor.waiting is on_its_way
    executor.run()
    control.act(world.observation(), pixels=GOAL[None])
    assert control.last_plan is None and executor.waiting is None and control.decision_seconds == []
    control.act(world.observation(), pixels=world.disc[None])
    assert not control.stopped and executor.waiting is not None
    executor.run()
    for _ in range(2):
        control.act(world.observation(), pixels=world.disc[None])
    assert control.last_plan is not None and control.num_late == 0


def test_at_the_goal_an_error_in_a_search_that_is_thrown_away_is_told(world, simulator):
    executor = ByHand(automatic_after=1)
    control = controller(
        simulator, executor, objective=PixelDistance([[1.0, 2.0], [3.0, 4.0]]), goals=[GOAL], stop_distance=2.0
    )
    control.act(world.observation(), pixels=world.disc[None])
    executor.tick()
    with pytest.raises(ValueError, match="the objective has 2 goals"):
        control.act(world.observation(), pixels=GOAL[None])
    np.testing.assert_array_equal(control.act(world.observation(), pixels=GOAL[None]), [0.0, 0.0])


def test_later_cuts_where_the_scene_is_seen():
    """Seen at every third step, four decided ones: the cut is at three, for states and pictures alike."""
    rng = np.random.default_rng(0)
    rollout = Rollout(
        rng.normal(size=(3, 9, 2)), states=rng.normal(size=(3, 9, 2)), pixels=rng.uniform(0, 60, (3, 3, 1, 2)), every=3
    )
    expected = Rollout(rollout.actions[:, 3:], states=rollout.states[:, 3:], pixels=rollout.pixels[:, 1:], every=3)
    np.testing.assert_array_equal(Later(push_to(), 4)(rollout), push_to()(expected))
    np.testing.assert_array_equal(Later(push_to(), 2)(rollout), push_to()(rollout))


def test_gradients_reach_the_candidates_behind_the_decided_actions(simulator, world):
    """A planner that descends gets the gradient of what it may still choose."""
    asked = []

    class Sloped(type(simulator)):
        def cost_gradient(self, start, objective, actions):
            asked.append(np.array(actions))
            return np.square(actions - 0.25).sum(axis=(1, 2)), 2.0 * (actions - 0.25)

    executor = ByHand(automatic_after=1)
    planner = GradientDescent(horizon=6, num_candidates=4, num_iterations=12)
    control = controller(Sloped(finger=(0.0, 0.0), disc=(0.0, 0.0)), executor, planner)
    control.act(world.observation(), pixels=world.disc[None])
    executor.run()
    assert all(actions.shape == (4, 8, 2) for actions in asked)
    assert np.all(asked[0][:, :2] == 0.0)  # decided before the first plan: standing still
    before, after = (np.abs(actions[:, 2:] - 0.25).mean() for actions in (asked[0], asked[-1]))
    assert after < 0.5 * before


def test_later_looks_only_at_later_steps():
    rng = np.random.default_rng(0)
    rollout = Rollout(rng.normal(size=(3, 6, 2)), states=rng.normal(size=(3, 6, 2)), pixels=rng.random((3, 6, 1, 2)))
    objective, later = push_to(), Later(push_to(), 2)
    cut = Rollout(rollout.actions[:, 2:], states=rollout.states[:, 2:], pixels=rollout.pixels[:, 2:])
    np.testing.assert_allclose(later(rollout), objective(cut))
    assert later.outputs == objective.outputs
    np.testing.assert_allclose(sum(later.explain(rollout).values()).sum(axis=1), objective(cut), rtol=1e-5)
    assert later.terms(rollout).keys() == objective.terms(cut).keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latency_steps": 0}, "latency_steps must be"),
        ({"period_ms": 0.0}, "period_ms must lie"),
        ({"make_objective": push_to, "objective": push_to()}, "exactly one of objective and make_objective"),
        ({"objective": None}, "exactly one of objective and make_objective"),
        ({"stop_distance": -1.0}, "stop_distance must lie in"),
        ({"objective": ActionMagnitude(), "stop_distance": 1.0}, "needs to know where to stop"),
        ({"proposals": np.zeros((48, 8, 2))}, "pass at most 47, or raise num_candidates$"),
    ],
)
def test_bad_settings_are_refused(changes, message, simulator):
    with pytest.raises(ValueError, match=message):
        controller(simulator, ByHand(), **changes)
