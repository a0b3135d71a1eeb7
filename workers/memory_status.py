"""How far the index of memory is, and what questions are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models import memory_vaults, memory_views
from workers.clients import embeddings


def shown(only: Sequence[str] | None) -> dict[str, Any]:
    """`only`: the vaults that the caller may see."""
    known = {vault.name: vault for vault in memory_vaults.every()}
    embedder = embeddings.current()
    return {
        "vaults": [_vault(row, known.get(row["agent_id"])) for row in memory_views.vault_list(only)],
        "model": embedder and embedder.name,
        "dimensions": embedder and embedder.dimensions,
        "mode": "hybrid" if embedder else "keyword",
    }


def _vault(row: dict[str, Any], vault: memory_vaults.Vault | None) -> dict[str, Any]:
    return {
        "agent_id": row["agent_id"],
        "files": row["file_count"],
        "indexed": row["file_count"] - row["pending"],
        "pending": row["pending"],
        "generation": vault.generation if vault else 0,
        "problems": vault.problems if vault else [],
    }
