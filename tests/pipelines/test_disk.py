"""Reading of files that others may have put there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import disk

ROOT = Path(__file__).parents[2]


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


WRITER = """
import itertools, sys
import subprocess
import sys
from pathlib import Path
from pipelines import disk
for letter in itertools.cycle("ab"):
    disk.write(Path(sys.argv[1]), letter.encode() * 1_000_000)
    print(flush=True)
"""


def test_a_writer_that_is_killed_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], cwd=ROOT, stdout=subprocess.PIPE)
        writer.stdout.readline()
        writer.kill()
        writer.wait()
        writer.stdout.close()
        content = path.read_bytes()
        assert content == content[:1] * 1_000_000


def test_a_link_is_replaced_and_what_it_names_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "link").symlink_to("outside")
    disk.write(tmp_path / "link", b"new")
    assert ((tmp_path / "outside").read_text(), (tmp_path / "link").read_text()) == ("mine", "new")
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "link").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("part", ["..", ".", "", "a/b", "a\0"])
def test_no_part_of_a_path_leads_upwards(tmp_path, part):
    (tmp_path / "inner").mkdir()
    with pytest.raises(FileNotFoundError), disk.inside(tmp_path / "inner", [part]):
        pass
