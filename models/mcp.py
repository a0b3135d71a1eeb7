"""MCP servers and the tools they were found to have. A tool is pinned: what differs later needs a person."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import orjson
import peewee

from models import crypto, database, mcp_configs
from models.base import JSONField, Model, now_ms
from models.errors import Conflict, NotFound, Unreadable
from models.mcp_configs import STDIO
from models.tokens import digest

CONFIGURING, RUNNING, ERROR, STOPPED = STATUSES = ("configuring", "running", "error", "stopped")
ACTIVE, DRIFTED, DISABLED, GONE = TOOL_STATES = ("active", "drifted", "disabled", "gone")
WANTED = "enabled AND NOT paused"
PINNED = ("title", "description", "input_schema", "annotations")


class McpServer(Model):
    id = peewee.TextField(primary_key=True)
    name = peewee.TextField()
    description = peewee.TextField(default="")
    config = JSONField()  # the entry, with *** for its secret literals
    sealed = peewee.TextField(null=True)  # those literals, encrypted JSON {place: value}
    key_id = peewee.TextField(null=True)  # the key that `sealed` is encrypted under
    transport = peewee.TextField()
    enabled = peewee.BooleanField(default=True)
    paused = peewee.BooleanField(default=False)  # stopped by a person until resumed
    status = peewee.TextField()
    status_reason = peewee.TextField(null=True)
    setup_agent_id = peewee.TextField(null=True)
    sandbox = JSONField()  # {network, read_paths, write_paths}
    approved = JSONField(null=True)  # what was approved: {argv, cwd, env_names, sandbox, sha256}
    approved_by = peewee.TextField(null=True)
    approved_at = peewee.BigIntegerField(null=True)
    generation = peewee.IntegerField(default=1)  # +1 per changed config: what was found of an older one is dropped
    pinned_generation = peewee.IntegerField(default=0)  # whose first discovery pinned the tools
    restarts = peewee.IntegerField(default=0)
    failures = peewee.IntegerField(default=0)  # in a row
    restart_wanted = peewee.IntegerField(default=0)  # +1 per request of a person
    last_checked_at = peewee.BigIntegerField(null=True)
    next_retry_at = peewee.BigIntegerField(null=True)
    last_call_at = peewee.BigIntegerField(null=True)
    login_state = peewee.TextField(null=True)  # digest of what the login under way will bring back
    version = peewee.IntegerField(default=1)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()

    class Meta:
        table_name = "mcp_servers"

    @property
    def approval(self) -> dict[str, Any] | None:
        """What a person must approve; None if it starts no program."""
        return mcp_configs.approval(self.config, self.sandbox) if self.transport == STDIO else None

    @property
    def is_approved(self) -> bool:
        needed = self.approval
        return needed is None or (self.approved is not None and self.approved["sha256"] == needed["sha256"])


class McpTool(Model):
    server_id = peewee.TextField()
    name = peewee.TextField()
    title = peewee.TextField(null=True)
    description = peewee.TextField(default="")
    description_override = peewee.TextField(null=True)
    input_schema = JSONField()
    annotations = JSONField(null=True)
    schema_hash = peewee.TextField(null=True)  # pinned; null: the next discovery pins it
    enabled = peewee.BooleanField(default=True)
    present = peewee.BooleanField(default=True)  # in the last listing
    drift = JSONField(null=True)  # what it is now, if that is not what was pinned
    updated_at = peewee.BigIntegerField()

    class Meta:
        table_name = "mcp_tools"
        primary_key = peewee.CompositeKey("server_id", "name")

    def state(self, config: dict[str, Any]) -> str:
        """One of TOOL_STATES, under the entry of its server."""
        if not self.present:
            return GONE
        if self.drift is not None:
            return DRIFTED
        return ACTIVE if self.enabled and self.name not in config.get("disabledTools", ()) else DISABLED


def schema_hash(name: str, description: str, input_schema: dict[str, Any]) -> str:
    """What a tool is pinned by."""
    told = {"name": name, "description": description, "input_schema": input_schema}
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


# --- reading ---


def known(server_id: str) -> McpServer | None:
    found = McpServer.fetch("id = ?", (server_id,))
    return found[0] if found else None


def find(server_id: str) -> McpServer:
    """Raises NotFound."""
    found = known(server_id)
    if found is None:
        raise NotFound(f"MCP server {server_id} not found", "mcp_server_not_found")
    return found


def wanted() -> list[McpServer]:
    """Those that are to run, as far as their rows say; by id."""
    return McpServer.fetch(f"{WANTED} ORDER BY id", ())


def is_any_wanted() -> bool:
    return database.execute(f"SELECT 1 FROM mcp_servers WHERE {WANTED} LIMIT 1").fetchone() is not None


def tools(server_id: str) -> list[McpTool]:
    """By name."""
    return McpTool.fetch("server_id = ? ORDER BY name", (server_id,))


def tool(server_id: str, name: str) -> McpTool:
    """Raises NotFound."""
    found = McpTool.fetch("server_id = ? AND name = ?", (server_id, name))
    if not found:
        raise NotFound(f"{server_id} has no tool {name[:128]}", "mcp_tool_not_found")
    return found[0]


def literals(server: McpServer) -> dict[str, str]:
    """{place: value} of the secret literals in its entry. Raises Unreadable."""
    if server.sealed is None:
        return {}
    return orjson.loads(crypto.ring().decrypt(server.sealed, *_place(server.id)))


def _place(server_id: str) -> tuple[str, str, str]:
    return "mcp_servers", server_id, "sealed"


# --- writing, all in the caller's transaction ---


def begin_login(server_id: str, state: str) -> None:
    McpServer.update(login_state=digest(state)).where(McpServer.id == server_id).execute()


def end_login(state: str) -> None:
    """Raises Conflict unless somebody was sent away with that state, and has not come back with it yet."""
    with database.transaction():
        sql = "UPDATE mcp_servers SET login_state = NULL WHERE login_state = ?"
        if not database.execute(sql, (digest(state),)).rowcount:
            raise Conflict("No login with this state is under way: begin it again", "oauth_unknown_state")


def seal(server: McpServer, values: dict[str, str]) -> None:
    """Keeps the literals, encrypted; the row is saved by the caller."""
    ring = crypto.ring()
    text = ring.encrypt(orjson.dumps(values).decode(), *_place(server.id)) if values else None
    server.sealed, server.key_id = text, ring.newest if values else None


def touch(server: McpServer, **columns: Any) -> None:
    """Saves a person's change."""
    for name, value in columns.items():
        setattr(server, name, value)
    server.version += 1
    server.updated_at = now_ms()
    server.save()


def observe(server: McpServer, status: str, reason: str | None, **columns: Any) -> bool:
    """Saves what was seen of it; whether its status or the reason changed."""
    changed = (server.status, server.status_reason) != (status, reason)
    told = {"status": status, "status_reason": reason, "last_checked_at": now_ms(), **columns}
    McpServer.update(**told).where(McpServer.id == server.id).execute()
    return changed


def called(server_id: str) -> None:
    McpServer.update(last_call_at=now_ms()).where(McpServer.id == server_id).execute()


def unpin(server_id: str) -> None:
    """The next discovery pins every tool as it finds it."""
    McpTool.update(schema_hash=None, drift=None).where(McpTool.server_id == server_id).execute()


def forget(server: McpServer) -> None:
    """With its tools; its calls stay in the ledger."""
    McpTool.delete().where(McpTool.server_id == server.id).execute()
    server.delete_instance()


def replace_tools(server_id: str, given: Iterable[dict[str, Any]]) -> None:
    """The tools are exactly these: somebody else discovers for us."""
    McpTool.delete().where(McpTool.server_id == server_id).execute()
    for row in given:
        _add(server_id, row, True)


def found_tools(server: McpServer, found: list[dict[str, Any]], enable_new: bool) -> tuple[bool, list[str]]:
    """Brings the rows up to a discovery: (whether anything changed, names of the tools that drifted by it).

    The first discovery of a generation pins every tool; later ones pin nothing that was not there.
    """
    before = {row.name: row for row in tools(server.id)}
    first = server.pinned_generation != server.generation
    drifted, changed = [], False
    for given in found:
        row = before.pop(given["name"], None)
        if row is None:
            _add(server.id, given, first or enable_new)
            changed = True
        else:
            outcome = _settle(row, given)
            changed |= outcome is not None
            drifted += [row.name] if outcome == DRIFTED else []
    for row in before.values():
        changed |= row.present
        _save(row, present=False)
    return changed, drifted


def _add(server_id: str, given: dict[str, Any], enabled: bool) -> None:
    fresh = {"server_id": server_id, "enabled": enabled, "updated_at": now_ms()}
    McpTool.add({**given, **fresh, "schema_hash": _hash(given)})


def _hash(given: dict[str, Any]) -> str:
    return schema_hash(given["name"], given["description"], given["input_schema"])


def _settle(row: McpTool, given: dict[str, Any]) -> str | None:
    """ACTIVE if the row was brought up to date, DRIFTED if it differs from now on, None if nothing changed."""
    now = {name: given[name] for name in PINNED}
    if row.schema_hash is None:
        _save(row, **now, schema_hash=_hash(given), present=True, drift=None)
        return ACTIVE
    if _hash(given) == row.schema_hash:
        changed = row.drift is not None or not row.present
        if changed:
            _save(row, present=True, drift=None)
        return ACTIVE if changed else None
    drift = now | {"schema_hash": _hash(given)}
    if row.present and row.drift == drift:
        return None
    _save(row, present=True, drift=drift)
    return DRIFTED


def accept_drift(row: McpTool) -> None:
    """What the tool is now is what was meant."""
    _save(row, **row.drift, drift=None, enabled=True)


def set_tool(row: McpTool, **columns: Any) -> None:
    _save(row, **columns)


def _save(row: McpTool, **columns: Any) -> None:
    for name, value in columns.items():
        setattr(row, name, value)
    stored = {name: getattr(row, name) for name in columns} | {"updated_at": now_ms()}
    where = (McpTool.server_id == row.server_id) & (McpTool.name == row.name)
    McpTool.update(**stored).where(where).execute()


# --- rotation ---


def under_older_keys() -> tuple[list[str], int]:
    """(the older keys that are still needed, how many rows are under them)."""
    sql = "SELECT key_id, count(*) FROM mcp_servers WHERE key_id <> ? GROUP BY key_id ORDER BY key_id"
    found = database.execute(sql, (crypto.ring().newest,)).fetchall()
    return [key_id for key_id, _ in found], sum(count for _, count in found)


def rekey() -> None:
    """Puts every literal under the newest key; what does not decrypt is left as it is, and goes on being counted."""
    for server in McpServer.fetch("key_id <> ? ORDER BY id", (crypto.ring().newest,)):
        with suppress(Unreadable):
            seal(server, literals(server))
            server.save()
