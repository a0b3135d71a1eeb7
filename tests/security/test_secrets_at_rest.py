"""Security rule 4: encryption at rest, the key ring and its canary, rotation."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from api import checks
from models import config, crypto, database, secrets
from models.crypto import KeyRing
from models.errors import BadKeys, Unreadable
from models.secrets import SecretVersion
from tests.api.conftest import on_sqlite
from workers import maintenance

VALUE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def fresh(store):
    crypto._ring.cache_clear()


def keys(*ids: str) -> str:
    """ENCRYPTION_KEYS with those keys; a key's bytes follow from its id."""
    return ",".join(f"{id}:{base64.b64encode(id.encode().ljust(32, b'.')).decode()}" for id in ids)


def use(monkeypatch, given: str) -> None:
    monkeypatch.setenv("ENCRYPTION_KEYS", given)
    config.get.cache_clear()


def plant(name: str = "planted", value: str = VALUE) -> secrets.Secret:
    with database.transaction():
        return secrets.create(name, value, secret_type="password")


def read(secret: secrets.Secret) -> str:
    kept = secrets.versions(secret)[0]
    return secrets.decrypted(secret.id, kept.version, kept.value)


def test_the_first_start_makes_a_key_that_only_its_owner_reads() -> None:
    file = config.get().keys_file
    assert not file.exists()
    assert list(crypto.ring().keys) == ["k1"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(base64.b64decode(file.read_text().strip().partition(":")[2])) == 32


def test_the_key_is_the_same_at_the_next_start() -> None:
    secret, before = plant(), config.get().keys_file.read_text()
    crypto._ring.cache_clear()
    assert read(secret) == VALUE
    assert config.get().keys_file.read_text() == before


def test_processes_that_start_at_once_share_one_key() -> None:
    with ThreadPoolExecutor(4) as pool:
        files = [config.get().keys_file] * 8
        made = list(pool.map(lambda file: crypto._ring.__wrapped__("", file), files))
    assert len({tuple(ring.keys.items()) for ring in made}) == 1


def test_a_stored_value_names_its_format_and_key_and_hides_the_rest() -> None:
    stored = secrets.versions(plant())[0].value
    assert stored.split(".")[:2] == ["v1", "k1"] and len(stored.split(".")) == 4
    assert VALUE not in stored and base64.b64encode(VALUE.encode()).decode() not in stored


def test_the_same_text_is_never_encrypted_to_the_same_bytes() -> None:
    ring = crypto.ring()
    assert len({ring.encrypt(VALUE, "t", "r", "c") for _ in range(50)}) == 50


@pytest.mark.parametrize("place", [("u", "r", "c"), ("t", "s", "c"), ("t", "r", "d"), ("t", "r"), ("tr", "", "c")])
def test_a_value_decrypts_only_at_its_table_row_and_column(place) -> None:
    ring = crypto.ring()
    stored = ring.encrypt(VALUE, "t", "r", "c")
    assert ring.decrypt(stored, "t", "r", "c") == VALUE
    with pytest.raises(Unreadable):
        ring.decrypt(stored, *place)


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_a_value_with_one_changed_character_does_not_decrypt(part) -> None:
    ring = crypto.ring()
    parts = ring.encrypt(VALUE, "t", "r", "c").split(".")
    parts[part] = ("x" if parts[part][0] != "x" else "y") + parts[part][1:]
    with pytest.raises(Unreadable):
        ring.decrypt(".".join(parts), "t", "r", "c")


@pytest.mark.parametrize("stored", ["", "v1", "v1.k1.!.!", "v1.k1..", "v1.k1.a.b.c", "plain text"])
def test_garbage_is_unreadable_and_nothing_worse(stored) -> None:
    with pytest.raises(Unreadable):
        crypto.ring().decrypt(stored, "t", "r", "c")


def test_a_row_copied_over_another_does_not_decrypt() -> None:
    one, other = plant("one", "the value of one"), plant("other", "the value of other")
    stolen = secrets.versions(one)[0].value
    SecretVersion.update(value=stolen).where(SecretVersion.secret_id == other.id).execute()
    assert read(one) == "the value of one"
    with pytest.raises(Unreadable):
        read(other)


def test_without_its_key_file_it_does_not_start_and_makes_no_second_key() -> None:
    crypto.ring()
    config.get().keys_file.unlink()
    crypto._ring.cache_clear()
    with pytest.raises(BadKeys, match="is missing"):
        crypto.ring()
    assert not config.get().keys_file.exists()


def test_with_another_key_it_does_not_start(monkeypatch) -> None:
    use(monkeypatch, keys("a"))
    crypto.ring()
    crypto._ring.cache_clear()
    impostor = keys("b").replace("b:", "a:")
    use(monkeypatch, impostor)
    with pytest.raises(BadKeys, match="not those of this database"):
        crypto.ring()


def test_a_key_file_that_others_can_read_is_refused() -> None:
    crypto.ring()
    config.get().keys_file.chmod(0o644)
    crypto._ring.cache_clear()
    with pytest.raises(BadKeys, match="chmod 600"):
        crypto.ring()


@pytest.mark.parametrize("given", ["k1", "k1:abc", "k1:" + "A" * 44, keys("a") + ",a", keys("a", "a"), "k 1:", ","])
def test_malformed_keys_are_refused_by_their_source_but_not_shown(monkeypatch, given) -> None:
    use(monkeypatch, given)
    with pytest.raises(BadKeys, match="ENCRYPTION_KEYS") as refusal:
        crypto.ring()
    assert "AAAA" not in str(refusal.value)


@on_sqlite
def test_the_platform_says_what_is_wrong_with_the_keys_before_it_starts() -> None:
    crypto.ring()
    config.get().keys_file.unlink()
    crypto._ring.cache_clear()
    with pytest.raises(checks.StartError, match="is missing") as refusal:
        checks.check_keys()
    assert refusal.value.exit_code == 14


def test_a_rotation_brings_everything_under_the_new_key_and_the_old_one_may_go(monkeypatch) -> None:
    use(monkeypatch, keys("old"))
    secret, print_before = plant(), crypto.fingerprint(VALUE)
    use(monkeypatch, keys("new", "old"))
    assert read(secret) == VALUE
    with database.transaction():
        job = maintenance.rekey()
    assert job == {"job": "rekey_new", "from": ["old"], "to": "new", "total": 1}
    maintenance.secrets_rekey(job["job"])
    assert secrets.under_older_keys() == ([], 0)
    use(monkeypatch, keys("new"))
    assert (read(secret), crypto.fingerprint(VALUE)) == (VALUE, print_before)


def test_a_worker_that_does_not_know_the_new_key_leaves_the_rotation_to_others(monkeypatch) -> None:
    use(monkeypatch, keys("old"))
    secret = plant()
    maintenance.secrets_rekey("rekey_new")
    assert secrets.versions(secret)[0].key_id == "old"


def test_a_rotation_passes_over_what_does_not_decrypt(monkeypatch) -> None:
    use(monkeypatch, keys("old"))
    broken, whole = plant("broken"), plant("whole")
    SecretVersion.update(value="v1.old.x.x").where(SecretVersion.secret_id == broken.id).execute()
    use(monkeypatch, keys("new", "old"))
    maintenance.secrets_rekey("rekey_new")
    assert (secrets.under_older_keys(), read(whole)) == ((["old"], 1), VALUE)


def test_a_fingerprint_says_nothing_in_another_database() -> None:
    here = crypto.fingerprint(VALUE)
    assert here == crypto.fingerprint(VALUE) != crypto.fingerprint(VALUE + ".")
    database.execute("DELETE FROM canary")
    crypto._ring.cache_clear()
    assert crypto.fingerprint(VALUE) != here


def test_keys_may_be_in_a_ring_of_any_order() -> None:
    old, new = os.urandom(32), os.urandom(32)
    stored = KeyRing({"old": old}).encrypt(VALUE, "t")
    assert KeyRing({"new": new, "old": old}).decrypt(stored, "t") == VALUE
