"""Reading of files that others may have put there."""

import os

import pytest

from pipelines import disk


def test_no_more_is_read_than_one_byte_over_the_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert disk.read(tmp_path / "file", 10) == b"x" * 11


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/hostname")
    for name in ("pipe", "link", "."):
        with pytest.raises(OSError):
            disk.read(tmp_path / name, 10)


def test_hidden_names_are_not_listed(tmp_path):
    for name in ("b", ".hidden", "a"):
        (tmp_path / name).touch()
    assert [entry.name for entry in disk.entries(tmp_path)] == ["a", "b"]
