"""Encryption at rest: AES-256-GCM under a ring of keys; each value is bound to its table, row and column."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

import peewee
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models import config, database
from models.base import Model
from models.errors import BadKeys, Unreadable

FORMAT = "v1"
KEY_BYTES, NONCE_BYTES = 32, 12
FIRST_KEY = "k1"
CANARY = ("canary", "1", "value")
_KEY = re.compile(r"([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/]{43}=)")


class Canary(Model):
    """The one row that every process decrypts before it works. Its text is random, and keys the fingerprints."""

    id = peewee.IntegerField(primary_key=True)
    value = peewee.TextField()

    class Meta:
        table_name = "canary"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """`keys`: {key id: 32 bytes}; the first encrypts, all decrypt."""

    keys: dict[str, bytes]

    @property
    def newest(self) -> str:
        return next(iter(self.keys))

    def encrypt(self, text: str, *place: str) -> str:
        """`v1.<key id>.<nonce>.<ciphertext>`, which decrypts at this place (table, row, column) only."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(self.keys[self.newest]).encrypt(nonce, text.encode(), _bound(place))
        return ".".join((FORMAT, self.newest, _encode(nonce), _encode(sealed)))

    def decrypt(self, stored: str, *place: str) -> str:
        """Raises Unreadable."""
        try:
            version, key_id, nonce, sealed = stored.split(".")
            if version != FORMAT:
                raise ValueError("another format")
            return AESGCM(self.keys[key_id]).decrypt(_decode(nonce), _decode(sealed), _bound(place)).decode()
        except (ValueError, KeyError, InvalidTag) as error:
            raise Unreadable(f"{place[0]} {place[1]} cannot be decrypted") from error


def _bound(place: tuple[str, ...]) -> bytes:
    return "\0".join(place).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def ring() -> KeyRing:
    """The process's key ring, proved on the canary; the first start of all makes a key. Raises BadKeys."""
    settings = config.get()
    return _ring(settings.encryption_keys, settings.keys_file)


@functools.lru_cache
def _ring(given: str, file: Path) -> KeyRing:
    with database.connection():
        found = parse(given.split(","), "ENCRYPTION_KEYS") if given else _from_file(file)
        if _canary() is None:
            _set_canary(found)
        prove(found)
    return found


def parse(lines: list[str], source: str) -> KeyRing:
    """The ring of `id:base64` entries. Raises BadKeys."""
    entries = [_KEY.fullmatch(line.strip()) for line in lines if line.strip()]
    if not entries or not all(entries):
        raise BadKeys(f"{source} must hold id:base64 entries with 32 bytes each")
    keys = {entry[1]: base64.b64decode(entry[2]) for entry in entries}
    if len(keys) != len(entries):
        raise BadKeys(f"{source} names a key twice")
    return KeyRing(keys)


def _from_file(file: Path) -> KeyRing:
    was_used = _canary() is not None  # before the look for the file: another process may be making both
    if not file.exists():
        if was_used:
            raise BadKeys(
                f"The key file {file} is missing, and the database holds what only its keys decrypt. "
                "Put it back, or set ENCRYPTION_KEYS."
            )
        _make(file)
    if file.stat().st_mode & 0o077:
        raise BadKeys(f"The key file {file} is open to others: chmod 600 {file}")
    return parse(file.read_text().splitlines(), str(file))


def _make(file: Path) -> None:
    """A new key, whole or not at all; of two processes that start at once, both use the key of the first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # 0600
    with os.fdopen(descriptor, "w") as writer:
        writer.write(f"{FIRST_KEY}:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}\n")
        writer.flush()
        os.fsync(descriptor)
    with contextlib.suppress(FileExistsError):
        os.link(draft, file)
    Path(draft).unlink()


def _canary() -> str | None:
    row = database.execute("SELECT value FROM canary WHERE id = 1").fetchone()
    return row and row[0]


def _set_canary(ring: KeyRing) -> None:
    with database.transaction():
        row = {"id": 1, "value": ring.encrypt(secrets.token_hex(32), *CANARY)}
        Canary.insert(row).on_conflict_ignore().execute()


def prove(ring: KeyRing) -> None:
    """Raises BadKeys if the canary does not decrypt: these are not the keys of this database."""
    stored = _canary()
    try:
        ring.decrypt(stored, *CANARY)
    except Unreadable as error:
        key_id = stored.split(".")[1]
        raise BadKeys(
            f"The encryption keys ({', '.join(ring.keys)}) are not those of this database, which needs its key "
            f"{key_id}. Restore the key file or ENCRYPTION_KEYS."
        ) from error


def rekey_canary() -> None:
    """Puts the canary under the newest key, in the enclosing transaction."""
    keys = ring()
    text = keys.decrypt(_canary(), *CANARY)
    Canary.update(value=keys.encrypt(text, *CANARY)).where(Canary.id == 1).execute()


def fingerprint(text: str) -> str:
    """12 hex digits that are the same for the same text in this database, and say nothing of it elsewhere."""
    pepper = _pepper(ring().newest, _canary())
    return hmac.new(pepper, text.encode(), hashlib.sha256).hexdigest()[:12]


@functools.lru_cache
def _pepper(_: str, stored: str) -> bytes:
    return ring().decrypt(stored, *CANARY).encode()
