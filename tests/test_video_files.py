"""Files of pictures come out complete, readable and as they went in, or not at all."""

import base64
import errno
import io
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from visual_foresight import video_files
from visual_foresight.report import whole_page


def ramp(count: int = 5, height: int = 24, width: int = 33) -> list[np.ndarray]:
    """Frames that brighten from one to the next, so their order can be told."""
    return [np.full((height, width, 3), 40 * index + 20, np.uint8) for index in range(count)]


def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    """No name, a file in the way, or a place where the system lets nothing be made; a good place is left as it was."""
    with pytest.raises(ValueError, match="has no name"):
        video_files.check_output_folder("")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="file is a file, and a folder is needed"):
        video_files.check_output_folder(tmp_path / "file" / "out")
    video_files.check_output_folder(tmp_path / "new" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(video_files.tempfile, "TemporaryFile", refuse)
    for check, path in ((video_files.check_output_folder, "out"), (video_files.check_output_file, "out/a.json")):
        with pytest.raises(ValueError, match=r"nothing can be written to .* \(Permission denied\): choose another"):
            check(tmp_path / path)


def test_files_of_ours_are_told_from_others(tmp_path):
    """Every picture, film and page may be replaced by the next of its name; another's of that name may not."""
    paths = [
        video_files.write_png(tmp_path / "a.png", ramp()[0]),
        video_files.write_gif(tmp_path / "a.gif", ramp()),
        video_files.write_mp4(tmp_path / "a.mp4", ramp()),
        video_files.write_text(tmp_path / "a.html", whole_page("any title", "<p>body</p>")),
    ]
    for path in paths:
        video_files.check_own_file(path, "demo")
    for name, options in (("a.png", {}), ("a.gif", {"save_all": True})):
        Image.fromarray(ramp()[0]).save(tmp_path / name, **options)
        with pytest.raises(ValueError, match=f"{name} exists and is no result of demo: choose another name"):
            video_files.check_own_file(tmp_path / name, "demo")
    (tmp_path / "old.html").write_text("<title>Visual Foresight: control benchmark</title>")
    video_files.check_own_file(tmp_path / "old.html", "plan")
    with pytest.raises(ValueError, match="is a folder, and a file is to be written"):
        video_files.check_own_file(tmp_path, "demo")


def test_png_is_lossless(tmp_path):
    """A picture comes back bit for bit, from the file and from its bytes."""
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    path = video_files.write_png(tmp_path / "new" / "picture.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(video_files.png_bytes(image)))), image)


def test_gif_keeps_frames_order_and_rate(tmp_path):
    """Every frame is there, in order, at the rate asked for, and the picture loops."""
    path = video_files.write_gif(tmp_path / "ramp.gif", ramp(), frames_per_second=20)
    levels = []
    with Image.open(path) as movie:
        assert (movie.n_frames, movie.info["loop"]) == (5, 0)
        for index in range(5):
            movie.seek(index)
            assert movie.info["duration"] == 50
            levels.append(int(np.asarray(movie.convert("RGB"))[3, 3, 0]))
    np.testing.assert_allclose(levels, [20, 60, 100, 140, 180], atol=2)


def test_gif_keeps_the_colour_of_small_marks(tmp_path):
    """A few red pixels on a picture of many greys stay red: rare colours get a place in the palette."""
    frame = np.linspace(0, 255, 64 * 64).astype(np.uint8).reshape(64, 64, 1).repeat(3, axis=2)
    frame[10:12, 10:12] = (255, 64, 64)
    path = video_files.write_gif(tmp_path / "mark.gif", [frame] * 3)
    with Image.open(path) as movie:
        color = np.asarray(movie.convert("RGB"))[10, 10].astype(int)
    assert np.abs(color - (255, 64, 64)).max() < 24


def test_mp4_keeps_frames_and_fills_odd_sizes(tmp_path):
    """Every frame is there in order; an odd width grows by one column."""
    path = video_files.write_mp4(tmp_path / "ramp.mp4", ramp(), frames_per_second=5)
    decode = [video_files.require_ffmpeg(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(decode, capture_output=True, check=True)
    frames = np.frombuffer(done.stdout, np.uint8).reshape(5, 24, 34, 3)
    assert b" 5 fps" in done.stderr
    assert b"h264" in done.stderr
    np.testing.assert_allclose(frames[:, 3, 3, 0], [20, 60, 100, 140, 180], atol=4)


@pytest.mark.parametrize("write", [video_files.write_gif, video_files.write_mp4])
def test_movies_that_cannot_be_are_refused(tmp_path, write):
    """No frame, frames of two sizes, or an impossible rate: the message names the file."""
    path = tmp_path / "movie.any"
    with pytest.raises(ValueError, match=r"movie.any: .* at least one frame"):
        write(path, [])
    with pytest.raises(ValueError, match="must have one size"):
        write(path, [*ramp(1), *ramp(1, height=8)])
    with pytest.raises(ValueError, match="frames_per_second must be positive"):
        write(path, ramp(2), frames_per_second=0)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    """When writing fails half way, the file of before stands and no temporary file is left."""
    path = video_files.write_text(tmp_path / "report.html", "before")
    with pytest.raises(RuntimeError, match="half way"), video_files.complete_or_absent(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("half way")
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, no_room):
    """Text, picture and moving picture: no part of the new one stands there, under no name."""
    noise = list(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8))
    writers = {
        "report.html": lambda path: video_files.write_text(path, "long " * 1000),
        "picture.png": lambda path: video_files.write_png(path, noise[0]),
        "movie.gif": lambda path: video_files.write_gif(path, noise),
    }
    for name, write in writers.items():
        (tmp_path / name).write_text("before")
        with pytest.raises(OSError) as raised, no_room(1000):
            write(tmp_path / name)
        assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(tmp_path / name))
        assert (tmp_path / name).read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(writers)


def test_a_film_that_ffmpeg_could_not_finish_is_none(tmp_path, monkeypatch):
    """What it says of a full disk is raised as Python raises it, and the half of the film is removed."""
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\nfor last; do :; done\ncat | head -c 9 > $last\necho "$SAYS" >&2\nexit 228\n')
    program.chmod(0o755)
    monkeypatch.setattr(video_files, "require_ffmpeg", lambda: str(program))
    path = tmp_path / "films" / "ramp.mp4"
    monkeypatch.setenv("SAYS", f"Error muxing a packet: {os.strerror(errno.ENOSPC)}")
    with pytest.raises(OSError) as raised:
        video_files.write_mp4(path, ramp())
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    monkeypatch.setenv("SAYS", "no such encoder")
    with pytest.raises(OSError, match=r"ramp.mp4: ffmpeg cannot write the film: no such encoder"):
        video_files.write_mp4(path, ramp())
    assert not list(path.parent.iterdir())


def test_missing_ffmpeg_is_an_import_error_with_the_way_out(tmp_path, monkeypatch):
    """Without an ffmpeg program the message says what to install."""
    import imageio_ffmpeg

    def missing():
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(ImportError, match="pip install imageio-ffmpeg"):
        video_files.write_mp4(tmp_path / "ramp.mp4", ramp())


def test_data_uri_carries_the_bytes():
    """What follows the comma is the content."""
    address = video_files.data_uri(b"abc", "image/gif")
    head, _, body = address.partition(",")
    assert (head, base64.b64decode(body)) == ("data:image/gif;base64", b"abc")
