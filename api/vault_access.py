"""Which vaults a caller may see: all, or those that the token is limited to."""

from __future__ import annotations

from flask import g

from models import memories, memory_vaults, memory_views
from models.errors import NotFound
from models.memories import Memory
from workers import vaults


def readable() -> list[str] | None:
    """The vaults of the caller's token, None for all."""
    return g.token.vaults


def narrowed(wanted: list[str] | None) -> list[str] | None:
    """Of these vaults (None: all) those that the caller may see."""
    limited = readable()
    return wanted if limited is None else [vault for vault in limited if wanted is None or vault in wanted]


def all_seen() -> list[str]:
    """Every vault that has a folder or was known, as far as the caller may see it."""
    found = {*vaults.installed(), *(vault.name for vault in memory_vaults.every())}
    return narrowed(sorted(found))


def may_see(vault: str) -> bool:
    limited = readable()
    return limited is None or vault in limited


def check(vault: str) -> str:
    """The vault's name. Raises NotFound for those of others, as for those that are not there."""
    if not may_see(vault):
        raise NotFound(f"Vault {vault} not found", "vault_not_found")
    return vault


def item(id: str, deleted: bool = False) -> Memory:
    """The memory of that id. Raises NotFound."""
    found = memories.by_id(id, deleted)
    if not may_see(found.vault):
        raise NotFound(f"Memory {id} not found", "memory_not_found")
    return found


def exists(vault: str) -> bool:
    return may_see(vault) and memory_views.has_vault(vault)
