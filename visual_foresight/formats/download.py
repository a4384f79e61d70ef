"""Fetching the published data sets: resumed where it stopped, verified where a checksum is known."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from visual_foresight.output_files import append_whole, naming_file

__all__ = ["PUBLISHED", "PublishedFile", "download", "extract_tar", "fetch", "published_files"]

PUSH_ADDRESS = "https://storage.googleapis.com/brain-robotics-data/"
PUSH_SPLITS = {"train": ("push_train", 264), "testseen": ("push_testseen", 5), "testnovel": ("push_testnovel", 5)}
PUSH_REFUSAL = (
    "the bucket of the push data has refused anonymous readers since 2020; obtain the files from someone who holds "
    "them, or make data of your own with `visual-foresight collect`"
)
BAIR_ADDRESS = "http://rail.eecs.berkeley.edu/datasets/"
BAIR_FILE = "bair_robot_pushing_dataset_v0.tar"

PUBLISHED = ("push", "bair")

_CHUNK = 1 << 20
_TIMEOUT = 60.0  # [s] without a byte
_ATTEMPTS = 5


@dataclass(frozen=True)
class PublishedFile:
    """One file of a published data set.

    Args:
        url: Where it lies.
        name: Its path below the destination.
        num_bytes: Its size, where known.
        sha256: Its checksum, where known.
        refusal: What to tell when the host refuses.
    """

    url: str
    name: str
    num_bytes: int | None = None
    sha256: str | None = None
    refusal: str = ""


def published_files(
    dataset: str, *, splits: Sequence[str] = (), max_files: int | None = None, address: str | None = None
) -> list[PublishedFile]:
    """Return the files of a published data set.

    Args:
        dataset: "push" (264 training shards of about 500 MB, 5 + 5 test shards) or "bair" (one archive of 30 GiB).
        splits: Of push: any of "train", "testseen", "testnovel"; all when empty.
        max_files: Only the first so many files of each split.
        address: Another address to fetch from, laid out alike (a mirror); with or without a slash at its end.

    Raises:
        ValueError: The data set or split is unknown, no file is asked for, or the address is none.
    """
    if address is not None:
        if not re.match(r"(https?|ftp|file)://", address, re.IGNORECASE):
            raise ValueError(f"an address begins with https://, http://, ftp:// or file://, got {address!r}")
        address = address.rstrip("/") + "/"
    if max_files is not None and max_files < 1:
        raise ValueError(f"max_files must be at least 1, got {max_files}")
    if dataset == "bair":
        if splits:
            raise ValueError(f"bair is one archive without splits to choose from, got {', '.join(splits)}")
        # Size and checksum: tensorflow/datasets, url_checksums/bair_robot_pushing_small.txt.
        checksum = "c6f8d164ab2be07174ef597e3e070d7466f3142caddc467b6af119b9458cd9cd"
        return [PublishedFile((address or BAIR_ADDRESS) + BAIR_FILE, BAIR_FILE, 32274964480, checksum)]
    if dataset != "push":
        raise ValueError(f"unknown data set {dataset!r}: expected one of {', '.join(PUBLISHED)}")
    unknown = sorted(set(splits) - set(PUSH_SPLITS))
    if unknown:
        raise ValueError(f"push has the splits {', '.join(PUSH_SPLITS)}, not {', '.join(unknown)}")
    files = []
    for folder, count in (PUSH_SPLITS[split] for split in splits or PUSH_SPLITS):
        for index in range(count if max_files is None else min(count, max_files)):
            name = f"push/{folder}/{folder}.tfrecord-{index:05d}-of-{count:05d}"
            files.append(PublishedFile((address or PUSH_ADDRESS) + name, name, refusal=PUSH_REFUSAL))
    return files


ProgressFn = Callable[[int, int | None], None]
"""(bytes so far, bytes in all or None), called for every piece that arrives."""


def download(
    files: Sequence[PublishedFile], destination: str | os.PathLike[str], *, on_progress: ProgressFn | None = None
) -> list[Path]:
    """Fetch files into a folder; those already there are kept.

    Raises:
        OSError, ValueError: As `fetch`.
    """
    paths = []
    for file in files:
        path = Path(destination) / file.name
        if not path.exists():
            fetch(file, path, on_progress=on_progress)
        paths.append(path)
    return paths


def fetch(file: PublishedFile, path: Path, *, on_progress: ProgressFn | None = None) -> None:
    """Fetch one file; what was fetched before stays in `{name}.partial` and is continued with an HTTP range request.

    Raises:
        OSError: The host refuses or cannot be reached; the message says what to do.
        ValueError: The content does not match its size or checksum.
    """
    partial = path.with_name(path.name + ".partial")
    tag = path.with_name(path.name + ".partial.etag")
    for attempt in range(_ATTEMPTS):
        before = partial.stat().st_size if partial.exists() else 0
        try:
            expected = _fetch_rest(file, partial, tag, on_progress)
        except urllib.error.HTTPError as error:
            raise _refusal(file, error) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            arrived = partial.stat().st_size if partial.exists() else 0
            if arrived > before:
                continue  # the line broke, but it does carry: go on from there
            reason = getattr(error, "reason", error)
            raise OSError(f"{file.url} cannot be reached ({reason}); the same command resumes when it can") from None
        if expected is None or partial.stat().st_size == expected:
            break
        if attempt == _ATTEMPTS - 1:
            size = partial.stat().st_size
            raise OSError(f"{file.url} broke off after {size} of {expected} bytes; the same command resumes")
    _verify(file, partial)
    os.replace(partial, path)
    tag.unlink(missing_ok=True)


def _fetch_rest(file: PublishedFile, partial: Path, tag: Path, on_progress: ProgressFn | None) -> int | None:
    """Append what is missing to the partial file; return the size that it should have, where the host tells."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "visual-foresight"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if tag.exists():
            # If the file changed at the host since, it sends all of it instead of the rest of another file.
            request.add_header("If-Range", tag.read_text())
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have and _total(error.headers.get("Content-Range")) in (have, None):
            return have  # nothing is missing
        if error.code == 416:
            partial.unlink(missing_ok=True)
            return _fetch_rest(file, partial, tag, on_progress)
        raise
    with response:
        partial.parent.mkdir(parents=True, exist_ok=True)  # not before: a host that refuses leaves no empty folder
        if have and response.status != 206:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        if response.headers.get("ETag"):
            tag.write_text(response.headers["ETag"])
        md5 = _md5_header(response.headers.get_all("x-goog-hash") or [])
        if not have:
            partial.write_bytes(b"")
        while chunk := response.read(_CHUNK):
            append_whole(partial, chunk)
            have += len(chunk)
            if on_progress is not None:
                on_progress(have, total)
    if md5 is not None and have == total:
        _compare(file, partial, "md5", md5)
    return total


def _total(content_range: str | None) -> int | None:
    """Return the size of the whole from `bytes */1234` or `bytes 0-9/1234`."""
    size = (content_range or "").rpartition("/")[2]
    return int(size) if size.isdigit() else None


def _md5_header(values: Sequence[str]) -> str | None:
    """Return the checksum that Google's storage sends, in hexadecimal."""
    for value in ",".join(values).split(","):
        name, _, encoded = value.strip().partition("=")
        if name == "md5":
            return base64.b64decode(encoded).hex()
    return None


def _refusal(file: PublishedFile, error: urllib.error.HTTPError) -> OSError:
    if error.code in (401, 403, 404, 410):
        advice = file.refusal or "the file is not (or no longer) public at this address; pass a mirror with --address"
        return PermissionError(f"the host refuses {file.url} (HTTP {error.code} {error.reason}): {advice}")
    return OSError(f"{file.url} answers HTTP {error.code} {error.reason}; try again later, the same command resumes")


def _verify(file: PublishedFile, partial: Path) -> None:
    size = partial.stat().st_size
    if file.num_bytes is not None and size != file.num_bytes:
        partial.unlink()
        raise ValueError(f"{file.url} gave {size} bytes, expected {file.num_bytes}; what was fetched is removed")
    if file.sha256 is not None:
        _compare(file, partial, "sha256", file.sha256)


def _compare(file: PublishedFile, partial: Path, algorithm: str, expected: str) -> None:
    with open(partial, "rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if found != expected:
        partial.unlink()
        raise ValueError(
            f"{file.url} does not match its {algorithm} checksum ({found}, expected {expected}); "
            "what was fetched is removed: run the command again"
        )


def extract_tar(archive: Path, destination: Path) -> None:
    """Unpack an archive; entries that would leave the folder are refused.

    Raises:
        ValueError: The archive is damaged or unsafe.
    """
    try:
        with tarfile.open(archive) as tar, naming_file(destination):
            tar.extractall(destination, filter="data")
    except tarfile.TarError as error:
        raise ValueError(f"{archive} cannot be unpacked: {error}") from None
