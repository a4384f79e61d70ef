"""Writing pictures and moving pictures: PNG, GIF and MP4, complete or not at all."""

import base64
import errno
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from visual_foresight.output_files import naming_file
from visual_foresight.pictures import checked_image

MARK = "made by visual-foresight"
"""In every picture, film and page that is written here, so that a file of the same name from elsewhere can be told."""
_NUM_EXACT_COLORS = 64


@contextmanager
def complete_or_absent(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary name in the folder of `path`; it takes its place when the block ends without an error.

    Errors of the operating system name `path`.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept, because writers choose the format by it.
    temporary = final.with_name(f".{final.stem}-{os.getpid()}{final.suffix}")
    try:
        with naming_file(final, temporary):
            yield temporary
            os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def check_output_file(path: str | os.PathLike) -> None:
    """Refuse, before any work, a file that could not be written in the end.

    Raises:
        ValueError: a folder has that name, or a file stands where a folder is needed.
    """
    final = Path(path)
    if final.is_dir():
        raise ValueError(f"{final} is a folder, and a file is to be written: give a name inside it")
    check_output_folder(final.parent)


def is_marked(content: str) -> bool:
    """Whether a file says that it was written here: by `MARK`, or, for pages that are older than it, by their title."""
    return MARK in content or "<title>Visual Foresight:" in content


def check_own_file(path: Path, command: str, is_own: Callable[[str], bool] = is_marked) -> None:
    """Refuse, before any work, to replace a file that a command did not write; an empty one may go.

    Args:
        path: of the file, which need not be there.
        command: for the message.
        is_own: whether this is the content, read as text, of a file that the command wrote.

    Raises:
        ValueError: the file there is something else, or cannot be written (see `check_output_file`).
    """
    check_output_file(path)
    if not path.is_file() or path.stat().st_size == 0:
        return
    if not is_own(path.read_text(encoding="utf-8", errors="replace")):
        raise ValueError(f"{path} exists and is no result of {command}: choose another name, or move it away")


def check_output_folder(path: str | os.PathLike) -> None:
    """Refuse, before any work, a folder that could not be made or written to.

    Raises:
        ValueError: it has no name, a file stands where a folder is needed, or nothing can be written there.
    """
    if not os.fspath(path):
        raise ValueError("the output has no name (an empty text): give one, or '.' for the folder that you are in")
    nearest = next((folder for folder in (Path(path), *Path(path).parents) if folder.exists()), Path())
    if not nearest.is_dir():
        raise ValueError(f"{nearest} is a file, and a folder is needed there: choose another output, or move it away")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise ValueError(f"nothing can be written to {nearest} ({error.strerror}): choose another output") from error


def replace_folder(temporary: Path, folder: Path) -> None:
    """Rename a complete folder into its place; what was there steps aside first, and comes back if that fails."""
    aside = None
    if folder.exists():  # nothing can be renamed onto a full folder
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        os.replace(folder, aside / "previous")
    try:
        os.replace(temporary, folder)
    except OSError:
        if aside is not None:
            os.replace(aside / "previous", folder)
        raise
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: str | os.PathLike, content: bytes) -> Path:
    """Write a file and return its path."""
    with complete_or_absent(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write a text file (UTF-8) and return its path."""
    with complete_or_absent(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_png(path: str | os.PathLike, image: np.ndarray) -> Path:
    """Write one picture [H, W, 3] uint8 as PNG and return its path."""
    buffer = io.BytesIO()  # Pillow writes past Python, and says nothing of use when a disk is full
    mark = PngInfo()
    mark.add_text("Software", MARK)
    Image.fromarray(checked_image(image)).save(buffer, format="PNG", pnginfo=mark)
    return write_bytes(path, buffer.getvalue())


def write_gif(path: str | os.PathLike, frames: Sequence[np.ndarray], *, frames_per_second: float = 10.0) -> Path:
    """Write frames [N, H, W, 3] uint8 as an endless GIF and return its path.

    Raises:
        ValueError: when there is no frame, the frames differ in size, or the rate is not positive.
    """
    frames = _checked_movie(path, frames, frames_per_second)
    images = _with_one_palette(frames)
    # GIF counts in hundredths of a second, and players slow down anything below two of them.
    duration = max(20, round(100 / frames_per_second) * 10)
    buffer = io.BytesIO()
    moving = {"save_all": True, "append_images": images[1:], "duration": duration, "loop": 0}
    images[0].save(buffer, format="GIF", optimize=False, comment=MARK.encode(), **moving)
    return write_bytes(path, buffer.getvalue())


def write_mp4(path: str | os.PathLike, frames: Sequence[np.ndarray], *, frames_per_second: float = 10.0) -> Path:
    """Write frames [N, H, W, 3] uint8 as an H.264 MP4 that browsers play, and return its path.

    An odd height or width is filled up by one line, because the format wants even ones.

    Raises:
        ValueError: when there is no frame, the frames differ in size, or the rate is not positive.
        ImportError: when imageio-ffmpeg, or the ffmpeg program it carries, is missing.
    """
    frames = _checked_movie(path, frames, frames_per_second)
    even = [_even(frame) for frame in frames]
    size = f"{even[0].shape[1]}x{even[0].shape[0]}"
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{frames_per_second:.6g}", "-i", "-"]
    wanted = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", "-movflags", "+faststart"]
    wanted += ["-metadata", f"comment={MARK}"]
    ffmpeg = require_ffmpeg()
    with complete_or_absent(path) as temporary:
        # Not by imageio's writer, which takes half a film for a whole one when the disk was full at its end.
        command = [ffmpeg, "-v", "error", "-y", *given, *wanted, "-f", "mp4", os.fspath(temporary)]
        done = subprocess.run(command, input=b"".join(frame.tobytes() for frame in even), capture_output=True)
        if done.returncode:
            raise _ffmpeg_error(path, done.stderr.decode("utf-8", "replace"))
    return Path(path)


def _ffmpeg_error(path: str | os.PathLike, said: str) -> OSError:
    """What kept ffmpeg from writing: the operating system's error where it names one that writing can meet."""
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(code) in said:
            return OSError(code, os.strerror(code), os.fspath(path))
    return OSError(f"{path}: ffmpeg cannot write the film: {' '.join(said.split()) or 'it says nothing more'}")


def require_ffmpeg() -> str:
    """Return the path of the ffmpeg program.

    Raises:
        ImportError: when there is none; says how to get one.
    """
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f"MP4 needs ffmpeg ({error}); pip install imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to one"
        ) from error


def png_bytes(image: np.ndarray) -> bytes:
    """Return a picture [H, W, 3] uint8 as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(checked_image(image)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def data_uri(content: bytes, media_type: str = "image/png") -> str:
    """Return bytes as a `data:` address, so that a page can carry them inside itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _checked_movie(path: str | os.PathLike, frames: Sequence[np.ndarray], rate: float) -> list[np.ndarray]:
    frames = [checked_image(frame) for frame in frames]
    if not frames:
        raise ValueError(f"{path}: a moving picture needs at least one frame")
    sizes = {frame.shape for frame in frames}
    if len(sizes) > 1:
        raise ValueError(f"{path}: all frames must have one size, got {sorted(sizes)}")
    if not np.isfinite(rate) or rate <= 0:
        raise ValueError(f"{path}: frames_per_second must be positive, got {rate}")
    return frames


def _with_one_palette(frames: Sequence[np.ndarray]) -> list[Image.Image]:
    """Reduce all frames to one palette of 256 colours: colours do not flicker, and still parts compress to nothing."""
    step = max(1, len(frames) // 16)
    sample = np.concatenate([frame.reshape(-1, 3) for frame in frames[::step]]).astype(np.int32)
    packed, counts = np.unique(sample @ np.array([65536, 256, 1], np.int32), return_counts=True)
    colors = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)
    weighted = np.repeat(colors, np.ceil(np.sqrt(counts)).astype(int), axis=0)
    shared = Image.fromarray(weighted[None]).quantize(256 - _NUM_EXACT_COLORS, method=Image.Quantize.MEDIANCUT)
    # A mark of a few pixels would fade into the colours of the camera's pictures: the colours that the shared palette
    # serves worst get places of their own.
    served = np.asarray(
        Image.fromarray(colors[None]).quantize(palette=shared, dither=Image.Dither.NONE).convert("RGB")
    )[0]
    harm = counts * np.square(colors.astype(float) - served).sum(axis=1)
    exact = colors[np.argsort(harm)[::-1][:_NUM_EXACT_COLORS]]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*exact.reshape(-1).tolist(), *(shared.getpalette() or [])][: 3 * 256])
    return [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def _even(frame: np.ndarray) -> np.ndarray:
    return np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
