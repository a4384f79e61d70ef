"""The event files are read back with TensorFlow's own reader."""

import numpy as np
import pytest

from visual_foresight.train.events import EventWriter, _masked_crc


@pytest.fixture(scope="module")
def tensorflow():
    from visual_foresight.backend import import_tensorflow

    return import_tensorflow()


def _events(tensorflow, folder):
    (path,) = folder.glob("events.out.tfevents.*")
    dataset = tensorflow.data.TFRecordDataset(str(path))  # verifies both checksums of every record
    return [tensorflow.compat.v1.Event.FromString(record.numpy()) for record in dataset]


def test_scalars_and_images_are_read_back(tensorflow, tmp_path):
    writer = EventWriter(tmp_path / "run")
    writer.scalars(40, {"train_loss": 0.25, "train_psnr0": float("nan")})
    writer.image(200, "val/predicted", b"GIF89a" + bytes(300), (64, 48))
    writer.close()
    version, scalars, image = _events(tensorflow, tmp_path / "run")
    assert version.file_version == "brain.Event:2" and version.wall_time > 1.5e9
    assert scalars.step == 40
    assert [(value.tag, value.simple_value) for value in scalars.summary.value][0] == ("train_loss", 0.25)
    assert np.isnan(scalars.summary.value[1].simple_value)
    content = image.summary.value[0]
    assert (image.step, content.tag, content.image.height, content.image.width) == (200, "val/predicted", 64, 48)
    assert content.image.encoded_image_string == b"GIF89a" + bytes(300)


def test_a_continued_run_supersedes_later_steps(tensorflow, tmp_path):
    EventWriter(tmp_path, start_iteration=300).close()
    start = _events(tensorflow, tmp_path)[1]
    assert start.step == 300
    assert start.session_log.status == tensorflow.compat.v1.SessionLog.START


def test_the_checksum_is_crc32c():
    """Check value of CRC-32C for "123456789" is 0xE3069283 (RFC 3720, appendix B.4, same polynomial), then masked."""
    crc = 0xE3069283
    assert _masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
