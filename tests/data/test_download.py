"""Downloading against a server of our own on 127.0.0.1: resume, checksums, refusals."""

import base64
import hashlib
import http.server
import io
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest

from visual_foresight.formats.download import PublishedFile, extract_tar, fetch, published_files

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Host:
    """What the server does: its content, its moods, and what it was asked."""

    def __init__(self):
        self.content = {"/file.bin": CONTENT}
        self.etag = '"one"'
        self.ranges = True
        self.status = None
        self.break_after = None
        self.headers = {}
        self.requests = []


@pytest.fixture
def host():
    """A server on 127.0.0.1 that answers as its `Host` says."""
    state = Host()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests.append(dict(self.headers))
            content = state.content.get(self.path)
            if state.status or content is None:
                self.send_error(state.status or 404)
                return
            start = self.wanted(len(content))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", state.etag)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            stop = len(content)
            if state.break_after is not None:
                stop, state.break_after = start + state.break_after, None
            self.wfile.write(content[start:stop])

        def wanted(self, size):
            asked = self.headers.get("Range")
            if not state.ranges or asked is None or self.headers.get("If-Range", state.etag) != state.etag:
                return 0
            return int(asked.removeprefix("bytes=").rstrip("-"))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_address[1]}/"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def published(host):
    """The file that the server has, with its true checksum."""
    return PublishedFile(host.address + "file.bin", "file.bin", len(CONTENT), SHA256, "ask a friend")


def test_a_file_arrives_whole(published, tmp_path):
    """The content is the host's, progress is told, nothing else is left in the folder."""
    told = []
    fetch(published, tmp_path / "a" / "file.bin", on_progress=lambda have, total: told.append((have, total)))
    assert (tmp_path / "a" / "file.bin").read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file.bin"]


def test_a_broken_line_is_resumed_at_once(host, published, tmp_path):
    """When the line breaks midway, the rest alone is asked for."""
    host.break_after = 100_000
    fetch(published, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert [request.get("Range") for request in host.requests] == [None, "bytes=100000-"]


def test_a_full_disk_names_the_part_which_is_continued_with_room(published, tmp_path, no_room):
    """What had arrived before stays as it was."""
    part = tmp_path / "file.bin.partial"
    part.write_bytes(CONTENT[:100_000])
    with pytest.raises(OSError) as raised, no_room(150_000):
        fetch(published, tmp_path / "file.bin")
    assert raised.value.filename == str(part)
    assert part.read_bytes() == CONTENT[:100_000]
    fetch(published, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_an_earlier_part_is_continued(host, published, tmp_path):
    """What a stopped run left is kept; a whole part needs nothing more."""
    (tmp_path / "file.bin.partial").write_bytes(CONTENT[:250_000])
    fetch(published, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert host.requests[0]["Range"] == "bytes=250000-"
    (tmp_path / "again.bin.partial").write_bytes(CONTENT)
    fetch(published, tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("reason", ["no ranges", "file changed"])
def test_a_part_that_cannot_be_continued_is_begun_anew(host, published, tmp_path, reason):
    """A host without ranges, or with another file by now, sends everything, and the old part is replaced."""
    (tmp_path / "file.bin.partial").write_bytes(b"x" * 1000)
    (tmp_path / "file.bin.partial.etag").write_text('"one"')
    host.ranges = reason != "no ranges"
    host.etag = '"two"' if reason == "file changed" else host.etag
    fetch(published, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(host, published, tmp_path):
    """sha256 where known, md5 where the host sends one, and the size: each is checked and named."""
    with pytest.raises(ValueError, match="does not match its sha256 checksum"):
        fetch(replace(published, sha256="0" * 64), tmp_path / "file.bin")
    with pytest.raises(ValueError, match=r"gave 300000 bytes, expected 5"):
        fetch(replace(published, num_bytes=5), tmp_path / "file.bin")
    host.headers = {"x-goog-hash": "crc32c=AAAA,md5=" + base64.b64encode(b"0" * 16).decode()}
    with pytest.raises(ValueError, match="does not match its md5 checksum"):
        fetch(published, tmp_path / "file.bin")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".etag"] == []
    host.headers = {"x-goog-hash": "md5=" + base64.b64encode(hashlib.md5(CONTENT).digest()).decode()}
    fetch(published, tmp_path / "file.bin")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_told_with_what_to_do(host, published, tmp_path, status):
    """The address, the code, and advice."""
    host.status = status
    with pytest.raises(PermissionError, match=f"the host refuses {published.url} .HTTP {status}.*ask a friend"):
        fetch(published, tmp_path / "file.bin")


def test_a_host_in_trouble_or_out_of_reach(host, published, tmp_path):
    """A server error, and no server at all, say that the same command resumes."""
    host.status = 503
    with pytest.raises(OSError, match="HTTP 503 .*the same command resumes"):
        fetch(published, tmp_path / "file.bin")
    with pytest.raises(OSError, match="cannot be reached .*the same command resumes"):
        fetch(replace(published, url="http://127.0.0.1:1/file.bin"), tmp_path / "file.bin")


def test_the_published_files_are_listed():
    """push: 264 + 5 + 5 shards under the published names; bair: one archive with its checksum."""
    push = published_files("push")
    assert len(push) == 274
    first = "https://storage.googleapis.com/brain-robotics-data/push/push_train/push_train.tfrecord-00000-of-00264"
    assert push[0].url == first and push[0].name == "push/push_train/push_train.tfrecord-00000-of-00264"
    assert [file.name for file in published_files("push", splits=["testnovel"], max_files=1)] == [
        "push/push_testnovel/push_testnovel.tfrecord-00000-of-00005"
    ]
    (bair,) = published_files("bair")
    assert bair.sha256 and bair.num_bytes == 32274964480
    with pytest.raises(ValueError, match="unknown data set 'robots'"):
        published_files("robots")
    with pytest.raises(ValueError, match="push has the splits train, testseen, testnovel, not val"):
        published_files("push", splits=["val"])
    with pytest.raises(ValueError, match="without splits"):
        published_files("bair", splits=["train"])
    with pytest.raises(ValueError, match="max_files must be at least 1, got 0"):
        published_files("push", max_files=0)
    with pytest.raises(ValueError, match="an address begins with https://, .*, got 'nonsense'"):
        published_files("push", address="nonsense")


def test_the_command_fetches_from_a_mirror(host, command, refused, tmp_path):
    """--address fetches the same names elsewhere, whether or not it ends in a slash.

    Files already there are not asked for again; a refusal is exit code 2, and leaves no empty folder.
    """
    name = "push/push_testseen/push_testseen.tfrecord-00000-of-00005"
    host.content["/" + name] = CONTENT
    mirror = f"--address={host.address.rstrip('/')}"
    words = ("data", "download", "push", tmp_path, "--split=testseen", "--max_files=1", mirror)
    assert command(*words).code == 0
    assert (tmp_path / name).read_bytes() == CONTENT
    assert command(*words).code == 0 and len(host.requests) == 1
    message = refused(
        "data", "download", "push", tmp_path, "--split=train", "--max_files=1", f"--address={host.address}"
    )
    assert "has refused anonymous readers since 2020" in message
    assert not (tmp_path / "push" / "push_train").exists()


def test_archives_are_unpacked_safely(tmp_path):
    """Files land below the folder; an archive that would leave it is refused, and so is no archive."""

    def archive(name):
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"text"))
        return path

    extract_tar(archive("softmotion30_44k/train/x"), tmp_path / "out")
    assert (tmp_path / "out" / "softmotion30_44k" / "train" / "x").read_bytes() == b"text"
    with pytest.raises(ValueError, match="cannot be unpacked"):
        extract_tar(archive("../outside"), tmp_path / "out")
    (tmp_path / "b.tar").write_bytes(b"text")
    with pytest.raises(ValueError, match="cannot be unpacked"):
        extract_tar(tmp_path / "b.tar", tmp_path / "out")
