"""Laws of drawing: what is marked where, and what is left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from visual_foresight import pictures

IMAGES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
GREY = np.full((32, 48, 3), 128, np.uint8)


@given(image=IMAGES, scale=st.integers(1, 5))
def test_upscale_makes_every_pixel_a_block(image, scale):
    """Each pixel becomes S x S equal ones, so taking every S-th gives the picture back."""
    large = pictures.upscale(image, scale)
    assert large.shape == (image.shape[0] * scale, image.shape[1] * scale, 3)
    for row in range(scale):
        for col in range(scale):
            np.testing.assert_array_equal(large[row::scale, col::scale], image)


@settings(deadline=None)
@given(row=st.integers(4, 27), col=st.integers(4, 43), scale=st.integers(1, 4))
def test_marks_are_centred_on_their_pixel(row, col, scale):
    """What a cross or a path's end changes is centred on the block of its pixel."""
    large = pictures.upscale(GREY, scale)
    changed = np.argwhere((pictures.mark_cross(large, (row, col), scale=scale) != large).any(axis=-1))
    center = (changed.min(axis=0) + changed.max(axis=0)) / 2
    wanted = (np.array([row, col]) + 0.5) * scale - 0.5
    assert np.abs(center - wanted).max() <= 1.0


def test_drawing_leaves_its_input_alone():
    """Functions are pure: the picture that was passed does not change."""
    image, heat = GREY.copy(), np.zeros((32, 48), np.float32)
    heat[5, 6] = 1.0
    pictures.mark_goal(pictures.mark_cross(image, (9, 9)), (20, 20))
    pictures.label(pictures.mark_path(image, np.array([[1, 1], [20, 30]])), "text")
    pictures.overlay_heat(image, heat)
    np.testing.assert_array_equal(image, GREY)


@pytest.mark.parametrize("pixel", [(np.nan, 3.0), (np.inf, 0.0)])
def test_unknown_pixel_is_not_drawn(pixel):
    """A pixel that is not known leaves the picture as it is."""
    np.testing.assert_array_equal(pictures.mark_cross(GREY, pixel), GREY)
    np.testing.assert_array_equal(pictures.mark_goal(GREY, pixel), GREY)


def test_marks_outside_the_picture_do_no_harm():
    """A goal beyond the edge is cut off, not an error."""
    assert pictures.mark_goal(GREY, (-3, 60)).shape == GREY.shape


@given(
    heat=arrays.arrays(np.float32, (6, 5), elements=st.floats(0, 1, width=32)),
    factor=st.sampled_from([2.0**-20, 1.0, 2.0**10]),
)
def test_heat_depends_on_proportions_only_and_keeps_empty_places(heat, factor):
    """Scaling a map changes nothing; where it is zero the picture shows through unchanged."""
    image = np.arange(90, dtype=np.uint8).reshape(6, 5, 3)
    heat = np.where(heat > 1e-3, heat, 0).astype(np.float32)
    over = pictures.overlay_heat(image, heat)
    np.testing.assert_array_equal(over, pictures.overlay_heat(image, heat * np.float32(factor)))
    np.testing.assert_array_equal(over[heat == 0], image[heat == 0])


def test_heat_colors_run_from_dark_to_bright():
    """Luminance rises with the value, so the map reads without colour too."""
    luminance = pictures.heat_colors(np.linspace(0, 1, 64)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) >= -0.5).all()
    assert luminance[-1] - luminance[0] > 200


def test_heat_is_refused_where_it_cannot_be_a_probability():
    """Negative, non-finite or misshapen maps are named."""
    with pytest.raises(ValueError, match="finite and not negative"):
        pictures.overlay_heat(GREY, np.full((32, 48), -1.0))
    with pytest.raises(ValueError, match="finite and not negative"):
        pictures.overlay_heat(GREY, np.full((32, 48), np.nan))
    with pytest.raises(ValueError, match=r"\[2, 2\], the picture \[32, 48\]"):
        pictures.overlay_heat(GREY, np.zeros((2, 2)))


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_only_uint8_pictures_are_taken(image):
    """Anything but uint8 [H, W, 3] is refused with what it was."""
    with pytest.raises(ValueError, match=r"must be uint8 \[H, W, 3\], got"):
        pictures.upscale(image, 2)


def test_scale_must_be_a_whole_factor():
    """A picture is not shrunk or stretched by a fraction."""
    with pytest.raises(ValueError, match="whole number of at least 1, got 0"):
        pictures.upscale(GREY, 0)


def test_beside_and_above_keep_every_picture():
    """Each picture is found again at its place; the rest is paper."""
    first, second = GREY[:10, :7], np.full((6, 4, 3), 9, np.uint8)
    joined = pictures.beside([first, second], gap=2)
    assert joined.shape == (10, 13, 3)
    np.testing.assert_array_equal(joined[:, :7], first)
    np.testing.assert_array_equal(joined[:6, 9:], second)
    stacked = pictures.above([first, second], gap=2)
    assert stacked.shape == (18, 7, 3)
    np.testing.assert_array_equal(stacked[12:, :4], second)
    assert (stacked[10:12] == pictures.INK).all()


def test_contact_sheet_lays_frames_out_in_reading_order():
    """Frame i is in row i // columns and column i % columns."""
    frames = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 3), np.uint8)
    sheet = pictures.contact_sheet(frames, columns=3, scale=2, gap=1)
    assert sheet.shape == (3 * 6 + 2, 3 * 8 + 2, 3)
    for index in range(7):
        row, col = divmod(index, 3)
        assert (sheet[row * 7 : row * 7 + 6, col * 9 : col * 9 + 8] == index).all()
    with pytest.raises(ValueError, match="at least one frame"):
        pictures.contact_sheet(frames[:0])


@settings(deadline=None)
@given(values=st.lists(st.floats(0, 1e6) | st.just(np.nan), max_size=30))
def test_line_plot_takes_any_values(values):
    """Gaps, nothing, one value, large values: always a picture of the size asked for."""
    plot = pictures.line_plot(values, size=(80, 200), title="cost", threshold=3.0)
    assert plot.shape == (80, 200, 3)
    assert plot.dtype == np.uint8


def test_line_plot_shows_a_fall_as_a_fall():
    """The line of falling values goes down from left to right."""
    plot = pictures.line_plot([10.0, 5.0, 0.0], size=(100, 200), title="", color=(255, 0, 0))
    rows, cols = np.nonzero((plot == (255, 0, 0)).all(axis=-1))
    assert rows[cols < 60].mean() < rows[cols > 150].mean() - 30


@given(color=st.tuples(*[st.integers(0, 255)] * 3))
def test_a_dim_heat_map_shows_on_every_color(color):
    """The brightest place is far brighter than the dimmed picture, pale yellow ones included."""
    image = np.full((9, 9, 3), color, np.uint8)
    heat = np.zeros((9, 9), np.float32)
    heat[4, 4] = 1.0
    luminance = pictures.overlay_heat(image, heat, dim=True) @ np.array([0.2126, 0.7152, 0.0722])
    assert luminance[4, 4] > luminance[0, 0] + 80


@given(text=st.text(st.characters(codec="ascii", categories=("L",)), max_size=60), least=st.integers(0, 200))
def test_titled_pictures_have_room_for_their_title(text, least):
    """The picture stays on the left below the title, and what is added is paper; a title changes no pixel of it."""
    made = pictures.titled(GREY, text, least_width=least)
    height, width = GREY.shape[:2]
    assert made.shape[1] >= max(width, least)
    np.testing.assert_array_equal(made[-height:, :width], GREY)
    assert (made[-height:, width:] == pictures.INK).all()


@pytest.mark.parametrize("text", ["step 9", "a text that is wider than the picture by far"])
def test_captions_do_not_change_the_size(text):
    """Long or short, a caption leaves the width and adds the same height, so that a movie's pictures stay equal."""
    assert pictures.caption(GREY, text, size=12).shape == (32 + 21, 48, 3)
