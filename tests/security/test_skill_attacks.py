"""Skills from somebody who means harm: paths, links, bombs, YAML (security, rules 10 and 11)."""

from __future__ import annotations

import gzip
import os
import random
import tarfile
import time
import warnings

import pytest

from models import config
from pipelines import archives
from pipelines import skills as pages
from pipelines.archives import ArchiveError, unpack
from tests.security.archives import PACKERS, SKILL, tarred, zipped

TAR_KINDS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE]
ESCAPES = ["../x", "a/../../x", "/etc/x", "a//b", "./../x", "..", "a\\..\\x", "C:/x", "a/./b"]


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


# --- archives ---


@pytest.mark.parametrize("pack", PACKERS)
def test_an_honest_archive_is_unpacked(pack):
    assert unpack(pack([("a/SKILL.md", SKILL), ("a/b.txt", b"")])) == {"a/SKILL.md": SKILL, "a/b.txt": b""}


@pytest.mark.parametrize("pack", PACKERS)
@pytest.mark.parametrize("name", ESCAPES)
def test_no_member_leaves_the_archive(pack, name):
    with pytest.raises(ArchiveError, match="not a path"):
        unpack(pack([("SKILL.md", SKILL), (name, b"x")]))


@pytest.mark.parametrize("kind", TAR_KINDS)
def test_links_and_devices_in_a_tar_are_refused(kind):
    with pytest.raises(ArchiveError, match="not a regular file"):
        unpack(tarred([("link", b"")], kind, "/etc/passwd"))


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010666])
def test_links_and_devices_in_a_zip_are_refused(mode):
    with pytest.raises(ArchiveError, match="link"):
        unpack(zipped([("link", b"/etc/passwd")], mode))


@pytest.mark.parametrize("pack", PACKERS)
@pytest.mark.parametrize("again", ["a.txt", "A.TXT"])
def test_two_members_of_one_name_are_refused(pack, again):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile's own, while the attack is made
        data = pack([("a.txt", b"1"), (again, b"2")])
    with pytest.raises(ArchiveError, match="same name"):
        unpack(data)


@pytest.mark.parametrize("pack", PACKERS)
def test_too_many_members_are_refused(pack):
    assert len(unpack(pack((f"{n}.txt", b"") for n in range(1000)))) == 1000
    with pytest.raises(ArchiveError, match="1000 members"):
        unpack(pack((f"{n}.txt", b"") for n in range(1001)))


@pytest.mark.parametrize("pack", PACKERS)
def test_a_bomb_is_refused_by_its_ratio(pack):
    data = pack([("zeros", bytes(20 << 20))])
    assert len(data) < 100_000
    with pytest.raises(ArchiveError, match="100 times"):
        unpack(data)


@pytest.mark.parametrize("pack", PACKERS)
def test_more_than_fifty_megabytes_are_refused(pack):
    data = pack([(f"{n}", noise(1 << 20) + bytes(13 << 20)) for n in range(4)])
    assert len(data) * archives.MAX_RATIO > 56 << 20
    with pytest.raises(ArchiveError, match="52428800 bytes"):
        unpack(data)


@pytest.mark.parametrize("said", [10, 9000])
def test_a_zip_that_lies_about_its_size_is_refused(said):
    data = bytearray(zipped([("a", noise(5000))]))
    place = data.rindex(b"PK\x01\x02") + 24  # the size in the central directory
    data[place : place + 4] = said.to_bytes(4, "little")
    with pytest.raises(ArchiveError):
        unpack(bytes(data))


def test_a_bomb_inside_gzip_headers_costs_no_memory_and_no_time():
    bomb = gzip.compress(bytes(200 << 20))
    began = time.monotonic()
    with pytest.raises(ArchiveError):
        unpack(bomb)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04" + b"x" * 50, b"\x1f\x8b", b"<html>", noise(1000)])
def test_what_is_no_archive_is_refused(data):
    with pytest.raises(ArchiveError):
        unpack(data)


def test_damage_anywhere_is_refused_or_harmless():
    for pack in PACKERS:
        whole = pack([("a/SKILL.md", SKILL), ("b.txt", noise(200))])
        dice = random.Random(7)
        for _ in range(300):
            data = bytearray(whole)
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            try:
                assert all(".." not in path.split("/") for path in unpack(bytes(data)))
            except ArchiveError:
                continue


def test_an_encrypted_member_is_refused():
    data = bytearray(zipped([("a", b"x")]))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ArchiveError, match="encrypted"):
        unpack(bytes(data))


def test_zip_members_in_a_compression_nobody_knows_are_refused():
    data = bytearray(zipped([("a", b"x")]))
    for mark, offset in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        place = data.rindex(mark) + offset
        data[place : place + 2] = (99).to_bytes(2, "little")
    with pytest.raises(ArchiveError, match="cannot be read"):
        unpack(bytes(data))


# --- YAML ---

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    "head",
    [
        BOMB,
        "name: !!python/object/apply:os.system [id]\n",
        "name: !!python/name:os.system\n",
        "a: " + "[" * 40 + "]" * 40 + "\n",
        "a: &a [*a]\n",
        "a: " + "x" * 70_000 + "\n",
    ],
)
def test_front_matter_that_means_harm_is_a_problem(head):
    began = time.monotonic()
    found = pages.parse(f"---\n{head}---\ntext")
    assert found.problems[0].startswith("front matter") and found.skill.frontmatter == {}
    assert time.monotonic() - began < 2


# --- the API and the folder ---

PATHS = [
    *ESCAPES,
    ".git/config",
    "a/.env",
    "SKILL.md",
    "skill.md",
    "a/" * 20 + "x",
    "x" * 256,
    "a.",
    "a /b",
    "nul\u202ex",
]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", PATHS)
def test_a_companion_stays_in_its_folder(api, path):
    body = {"name": "greet", "description": "d", "content": "c", "files": [{"path": path, "content": "x"}]}
    assert api.post("/v1/skills", json=body).status_code == 422
    assert not list(config.get().data_dir.rglob("greet"))


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["..", "%2e%2e", "a%2fb", "%00", "x" * 300, "gre%C2%ADet", ".trash", "a b"])
@pytest.mark.parametrize("call", ["get", "put", "delete"])
def test_a_name_is_never_a_path(api, name, call):
    options = {"json": {"content": "x"}} if call == "put" else {}
    assert getattr(api, call)(f"/v1/skills/{name}", **options).status_code in (404, 405)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", ["../SKILL.md", "..%2f..%2ftoken", "%2fetc%2fpasswd", "a/../../token"])
def test_no_file_but_a_companion_is_sent(api, path):
    api.post("/v1/skills", json={"name": "greet", "description": "d", "content": "c"})
    assert api.get(f"/v1/skills/greet/files/{path}").status_code == 404


def test_links_in_a_folder_are_left_out(tmp_path):
    root = tmp_path / "greet"
    root.mkdir()
    (root / "SKILL.md").write_bytes(SKILL)
    (tmp_path / "secret").write_text("s")
    (root / "file").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    assert pages.read(root).skill.files == {}


def test_a_skill_file_that_is_a_link_makes_no_skill(tmp_path):
    root = tmp_path / "greet"
    root.mkdir()
    (tmp_path / "real").write_bytes(SKILL)
    (root / "SKILL.md").symlink_to(tmp_path / "real")
    assert not pages.is_skill(root) and pages.read(root).problems[0] == "SKILL.md is missing"
