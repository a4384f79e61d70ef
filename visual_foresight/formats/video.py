"""Reading videos with the ffmpeg program that imageio-ffmpeg carries: every frame once, no handle left open."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from visual_foresight.video_files import require_ffmpeg

__all__ = ["VIDEO_SUFFIXES", "iterate_video", "video_from_bytes"]

VIDEO_SUFFIXES = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")


def iterate_video(path: Path) -> Iterator[np.ndarray]:
    """Yield the frames `[H, W, 3]` uint8 of a video in order.

    Raises:
        FileNotFoundError: There is no file.
        ImportError: There is no ffmpeg.
        ValueError: The file is not a video, or is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the video {path} does not exist")
    # Frames come as PPM pictures, each with its own size; passthrough keeps every frame once, whatever the timestamps.
    command = [require_ffmpeg(), "-v", "error", "-nostdin", "-i", str(path), "-an", "-map", "0:v:0"]
    command += ["-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "ppm", "-"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        stream = process.stdout
        if stream is None:
            raise OSError("ffmpeg gave no output to read")
        try:
            while (frame := _next_ppm(stream)) is not None:
                yield frame
            finished = process.wait()
            errors.seek(0)
            message = " ".join(errors.read().decode(errors="replace").split())
            if finished or message:
                raise ValueError(f"the video cannot be decoded: {message[:300] or f'ffmpeg ended with {finished}'}")
        finally:
            process.kill()
            process.wait()
            stream.close()


def video_from_bytes(content: bytes) -> list[np.ndarray]:
    """Return the frames of a video held in memory (an MP4 can be decoded only from a file that can be searched).

    Raises:
        ValueError: It is not a video, or is damaged.
    """
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(content)
        file.flush()
        return list(iterate_video(Path(file.name)))


def _next_ppm(stream: IO[bytes]) -> np.ndarray | None:
    """Read one picture in the form `P6 width height 255 pixels`; None at the end."""
    if not stream.readline():
        return None
    width, height = (int(number) for number in stream.readline().split())
    stream.readline()
    pixels = stream.read(height * width * 3)
    if len(pixels) < height * width * 3:
        return None  # ffmpeg stopped inside a picture; its exit code and message tell why
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
