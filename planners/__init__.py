"""Planners: search for cheap action sequences, knowing nothing but actions and costs."""

from __future__ import annotations

from visual_foresight.planners.asynchronous import AsynchronousMPC
from visual_foresight.planners.bounds import ActionBounds
from visual_foresight.planners.cem import CEM
from visual_foresight.planners.cem_gradient import CEMGradient
from visual_foresight.planners.context import Context
from visual_foresight.planners.ensemble import Ensemble
from visual_foresight.planners.gradient_descent import GradientDescent
from visual_foresight.planners.icem import ICEM
from visual_foresight.planners.mpc import MPC
from visual_foresight.planners.mppi import MPPI
from visual_foresight.planners.plan import CostFn, IterationRecord, Plan, Planner, ProposalFn, shift
from visual_foresight.planners.plan_many import plan_many
from visual_foresight.planners.random_shooting import RandomShooting
from visual_foresight.planners.rectification import Rectification, RectifiedController
from visual_foresight.planners.scripted_pusher import ScriptedPusher

PLANNERS: dict[str, type] = {
    "cem": CEM,
    "cem_gradient": CEMGradient,
    "gradient_descent": GradientDescent,
    "icem": ICEM,
    "mppi": MPPI,
    "random_shooting": RandomShooting,
}
"""Planner classes by the name the command line knows them under."""

__all__ = [
    "ActionBounds",
    "AsynchronousMPC",
    "CEM",
    "CEMGradient",
    "Context",
    "CostFn",
    "Ensemble",
    "GradientDescent",
    "ICEM",
    "IterationRecord",
    "MPC",
    "MPPI",
    "PLANNERS",
    "Plan",
    "Planner",
    "ProposalFn",
    "RandomShooting",
    "Rectification",
    "RectifiedController",
    "ScriptedPusher",
    "plan_many",
    "shift",
]
