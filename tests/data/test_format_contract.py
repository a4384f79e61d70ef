"""What every registered format promises."""

import pytest

from visual_foresight.formats import FORMATS, read_episodes


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_the_contract(name, tmp_path):
    """Name, description and settings are given; a folder without its files holds none; a missing file is told."""
    format = FORMATS[name]
    assert format.name == name and format.description and isinstance(format.settings, tuple)
    assert format.shards(tmp_path) == []
    (tmp_path / "notes.txt").write_text("text")
    assert format.shards(tmp_path / "notes.txt") == [] and format.shards(tmp_path) == []
    with pytest.raises(ValueError, match=f"holds no {name} files"):
        list(read_episodes(tmp_path, format=name))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list(read_episodes(tmp_path / "missing", format=name))
