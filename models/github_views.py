"""GitHub as the API shows it: the state of the connection."""

from __future__ import annotations

from typing import Any

from models import config, deliveries, github_apps, github_cache
from models.github_apps import APP, NONE, PAT, Identity

FRESH_MS = 60_000  # of a check
UNKNOWN = "Not checked yet"


def app_status(cached: bool, trouble: str | None = None) -> dict[str, Any]:
    """What is configured, and what GitHub said when it was asked last; `trouble`: why it was not asked now."""
    us = github_apps.identity()
    known, at = last_check()
    error = trouble or (UNKNOWN if not known else known.get("error")) if us.mode != NONE else "GitHub is not configured"
    slug = known.get("app_slug") or us.slug or None
    _, reconciled_at = github_cache.state("reconcile")
    return {
        "configured": us.mode != NONE,
        "is_configured": us.mode != NONE,
        "healthy": us.mode != NONE and error is None,
        "message": error or _greeting(us, known),
        "missing": us.missing,
        "mode": us.mode,
        "app_id": int(us.app_id) if us.app_id.isdigit() else None,
        "app_slug": slug if us.mode == APP else None,
        "app_name": known.get("app_name") or slug if us.mode == APP else None,
        "installation_url": installation_url(slug) if us.mode == APP and slug else None,
        "webhook_secret_configured": bool(us.webhook_secrets),
        "installations": known.get("installations"),
        "rate_limit": known.get("rate_limit"),
        "last_delivery_at": deliveries.last_received_at(),
        "failed_deliveries": deliveries.count_failed(),
        "last_reconcile_at": reconciled_at,
        "checked_at": at,
        "cached": cached,
    }


def last_check() -> tuple[dict[str, Any], int | None]:
    """({app_id, ..., error} of the last check as who we are now, when it was made)."""
    known, at = github_cache.state("status")
    same = known is not None and known.get("mode") == github_apps.identity().mode
    return (known, at) if same else ({}, None)


def _greeting(us: Identity, known: dict[str, Any]) -> str:
    if us.mode == PAT:
        return f"Connected as {known.get('login')}"
    return f"Connected as the App {known.get('app_name') or known.get('app_slug')}"


def installation_url(slug: str) -> str:
    base = config.get().github_url
    return f"{base}/{'apps' if base == config.GITHUB else 'github-apps'}/{slug}/installations/new"


def installations() -> list[dict[str, Any]]:
    """Where the App is installed, as far as is known."""
    return [{name: getattr(row, name) for name in github_cache.INSTALLATION} for row in github_cache.installations()]
