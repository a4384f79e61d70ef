"""Outlines that are drawn anew: how alike two are, and that jointed ones stay away from the novel kinds."""

import math

import numpy as np
import pytest

from visual_foresight.envs import compounds, shapes
from visual_foresight.envs.primitives import Primitive, box, disc

HOOK = [box(0.04, 0.012), box(0.02, 0.012, 0.028, 0.03, math.pi / 2)]


def moved(parts, angle=0.0, shift=(0.0, 0.0), scale=1.0, mirrored=False):
    """The outline moved as a whole."""
    side = -1.0 if mirrored else 1.0
    cosine, sine = math.cos(angle), math.sin(angle)
    result = []
    for part in parts:
        x, y = scale * part.position[0], scale * side * part.position[1]
        place = (cosine * x - sine * y + shift[0], sine * x + cosine * y + shift[1])
        half = (scale * part.half_size[0], scale * part.half_size[1])
        result.append(Primitive(part.kind, half, place, angle + side * part.yaw))
    return result


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"angle": math.pi / 3},
        {"shift": (0.01, -0.02)},
        {"scale": 1.3},
        {"mirrored": True},
        {"angle": -1.2, "shift": (-0.02, 0.0), "scale": 0.8, "mirrored": True},
    ],
)
def test_an_outline_is_like_itself_however_it_is_moved(how):
    """Turned, shifted, scaled, mirrored: most is in common; the rest is the grid and the turns tried."""
    assert compounds.likeness(moved(HOOK, **how), [HOOK]) > 0.8


def test_likeness_falls_with_difference():
    """A disc is no bar, and a bar twice as thick less of a bar."""
    bar = [box(0.045, 0.012)]
    assert compounds.likeness([disc(0.03)], [bar]) < 0.55
    assert compounds.likeness([box(0.045, 0.018)], [bar]) > compounds.likeness([box(0.045, 0.03)], [bar])
    assert compounds.likeness(bar, []) == 0.0
    assert compounds.likeness(bar, [HOOK, bar]) > 0.95


def test_likeness_is_intersection_over_union():
    """Two bars of equal area and middle, lengths 3 : 4, widths 4 : 3: known in closed form."""
    long, short = [box(0.04, 0.015)], [box(0.03, 0.02)]
    common = 0.03 * 0.015
    assert compounds.likeness(long, [short]) == pytest.approx(common / (2 * 0.03 * 0.02 - common), abs=0.03)


def test_jointed_outlines_resemble_no_novel_kind():
    """Of a hundred none shares three quarters with a middling novel one; novel ones do with their own kind."""
    rng = np.random.default_rng(0)
    typical = shapes._typical_novel()
    drawn = [compounds.jointed(rng, typical) for _ in range(100)]
    assert max(compounds.likeness(parts, typical) for parts in drawn) < 0.75
    own = [compounds.likeness(shapes._parts(kind, rng), typical) for kind in shapes.NOVEL_SHAPES for _ in range(10)]
    assert np.mean(np.array(own) > 0.75) > 0.9


def test_the_filter_is_what_keeps_them_apart():
    """A hook that may not resemble itself: with the filter none is like it, without it some are."""
    rng = np.random.default_rng(1)
    free = [compounds.likeness(compounds.jointed(rng, []), [HOOK]) for _ in range(60)]
    kept = [compounds.likeness(compounds.jointed(rng, [HOOK]), [HOOK]) for _ in range(60)]
    assert max(free) > 0.75 > max(kept)


def test_jointed_outlines_are_of_the_size_of_the_others_and_in_one_piece():
    """Their farthest point, and every limb begins inside another one."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        shape = shapes.sample_shape("jointed", rng)
        assert 0.025 < shape.radius < 0.075
        assert len(shape.primitives) in (2, 3, 4, 5)
        for number, part in enumerate(shape.primitives[1:], start=1):
            start = np.array(part.position) - part.half_size[0] * np.array([math.cos(part.yaw), math.sin(part.yaw)])
            assert max(other.depth(start) for other in shape.primitives[:number]) > -1e-6
