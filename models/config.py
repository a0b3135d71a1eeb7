"""Every environment variable, its default and its unit; read once per process.

`djinnbot doctor` prints this table with the source of each value.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit

from environs import Env, validate

SECRET_ENDINGS = ("_API_KEY", "_TOKEN", "_SECRET", "_PRIVATE_KEY")  # of variables whose values are never written
SIGNING = ("GITHUB_APP_WEBHOOK_SECRET", "GITHUB_WEBHOOK_SECRET")  # comma-separated: two while one replaces the other
GITHUB = "https://github.com"
EMBEDDINGS = ("minilm", "static")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def setting(name: str, default, text: str, kind: str = "str", choices: tuple[str, ...] = ()):
    """A field read from environment variable `name`; `kind` is the name of an environs parser."""
    factory = default if callable(default) else lambda: default
    return field(default_factory=factory, metadata={"name": name, "help": text, "kind": kind, "choices": choices})


@dataclass(frozen=True)
class Config:
    host: str = setting("HOST", "127.0.0.1", "address the API binds to")
    port: int = setting("PORT", 8000, "TCP port of the API", "int")
    data_dir: Path = setting("DATA_DIR", Path("data"), "database, agents, skills, pipelines, workspaces, token", "path")
    database_url: str = setting("DATABASE_URL", "", "postgresql://...; unset: SQLite in DATA_DIR")
    sqlite_synchronous: str = setting(
        "SQLITE_SYNCHRONOUS", "NORMAL", "NORMAL, or FULL to survive a power cut", choices=("NORMAL", "FULL")
    )
    redis_url: str = setting("REDIS_URL", "", "redis://...; unset: `djinnbot up` runs its own Valkey")
    auth_enabled: bool = setting("AUTH_ENABLED", True, "false is accepted only on loopback", "bool")
    api_token: str = setting("API_TOKEN", "", "an admin token beside the stored ones")
    encryption_keys: str = setting("ENCRYPTION_KEYS", "", "id:base64,... the first encrypts; unset: a file in DATA_DIR")
    allowed_hosts: list = setting("ALLOWED_HOSTS", list, "host names accepted beside loopback's", "list")
    cors_origins: list = setting("CORS_ORIGINS", list, "origins that browsers may call from", "list")
    web_workers: int = setting("WEB_WORKERS", 1, "API processes", "int")
    worker_processes: int = setting("WORKER_PROCESSES", 1, "worker processes", "int")
    worker_concurrency: int = setting("WORKER_CONCURRENCY", 100, "steps one worker process works at once", "int")
    default_model: str = setting("DEFAULT_MODEL", "", "provider/model used when nothing else names one")
    egress_allow: list = setting("EGRESS_ALLOW", list, "host:port pairs that the egress rules let through", "list")
    embeddings: str = setting(
        "EMBEDDINGS", "minilm", "the built-in model: minilm, or static (less work, finds less)", choices=EMBEDDINGS
    )
    embeddings_url: str = setting("EMBEDDINGS_URL", "", "base URL of an OpenAI-compatible API instead of it")
    embeddings_model: str = setting("EMBEDDINGS_MODEL", "text-embedding-3-small", "model asked for at EMBEDDINGS_URL")
    embeddings_key: str = setting("EMBEDDINGS_API_KEY", "", "bearer token for EMBEDDINGS_URL")
    embeddings_dimensions: int = setting("EMBEDDINGS_DIMENSIONS", 1536, "length of its vectors", "int")
    sandbox: str = setting("SANDBOX", "bwrap", "bwrap, or none: the operator accepts bare execution")
    mcp_stdio_enabled: bool | None = setting(
        "MCP_STDIO_ENABLED", None, "MCP servers may be programs; unset: while bound to loopback with auth on", "bool"
    )
    mcp_max_processes: int = setting("MCP_MAX_PROCESSES", 32, "MCP servers' programs that run at once", "int")
    approve_tools: list = setting("APPROVE_TOOLS", list, "tools whose every call a person must allow", "list")
    scripted_replies: str = setting("SCRIPTED_REPLIES", "", "YAML file for the `scripted` provider")
    max_pending_runs: int = setting("MAX_PENDING_RUNS", 10_000, "queued runs before POST /runs answers 429", "int")
    lease_seconds: float = setting("LEASE_SECONDS", 30.0, "a worker unseen for this long has lost its steps", "float")
    github_app_id: str = setting("GITHUB_APP_ID", "", "number of the GitHub App")
    github_app_client_id: str = setting("GITHUB_APP_CLIENT_ID", "", "its client id, which may stand in for its number")
    github_app_name: str = setting("GITHUB_APP_NAME", "", "slug of the GitHub App, as in its address")
    github_app_private_key: str = setting("GITHUB_APP_PRIVATE_KEY", "", "its private key (PEM)")
    github_app_private_key_path: str = setting("GITHUB_APP_PRIVATE_KEY_PATH", "", "a file that holds that key")
    github_app_webhook_secret: str = setting("GITHUB_APP_WEBHOOK_SECRET", "", "secrets of webhooks; two to change one")
    github_webhook_secret: str = setting("GITHUB_WEBHOOK_SECRET", "", "the same for webhooks of repositories")
    github_token: str = setting("GITHUB_TOKEN", "", "a personal access token; enough without an App")
    github_api_url: str = setting("GITHUB_API_URL", "https://api.github.com", "REST API, also of an Enterprise Server")
    chat_idle_days: int = setting("CHAT_IDLE_DAYS", 30, "chats silent for so long are ended; 0: never", "int")
    log_level: str = setting("LOG_LEVEL", "info", "debug, info, warning, error")
    log_format: str = setting("LOG_FORMAT", "", "text or json; unset: text on a terminal, else json")

    @property
    def sqlite_path(self) -> Path:
        return self.data_dir / "djinnbot.sqlite3"

    @property
    def token_file(self) -> Path:
        return self.data_dir / "token"

    @property
    def keys_file(self) -> Path:
        return self.data_dir / "keys"

    @property
    def workspaces_dir(self) -> Path:
        return self.data_dir / "workspaces"

    @property
    def agents_dir(self) -> Path:
        return self.data_dir / "agents"

    @property
    def skills_dir(self) -> Path:
        return self.data_dir / "skills"

    @property
    def vaults_dir(self) -> Path:
        return self.data_dir / "vaults"

    @property
    def pipelines_dir(self) -> Path:
        return self.data_dir / "pipelines"

    @property
    def repositories_dir(self) -> Path:
        return self.data_dir / "repositories"

    @property
    def mcp_dir(self) -> Path:
        return self.data_dir / "mcp"

    @property
    def runs_mcp_programs(self) -> bool:
        if self.mcp_stdio_enabled is not None:
            return self.mcp_stdio_enabled
        return self.auth_enabled and self.host in LOOPBACK

    @property
    def github_url(self) -> str:
        """Of GitHub's pages: an Enterprise Server has them where its API is."""
        api = urlsplit(self.github_api_url)
        return GITHUB if api.hostname == "api.github.com" else f"{api.scheme}://{api.netloc}"

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"


def load() -> Config:
    """A Config from the environment. Raises environs.EnvError on a value that cannot be."""
    env = Env()
    given = [item for item in fields(Config) if os.environ.get(item.metadata["name"])]
    return Config(**{item.name: _read(env, **item.metadata) for item in given})


def _read(env: Env, name: str, kind: str, choices: tuple[str, ...], **_: object) -> object:
    return getattr(env, kind)(name, validate=validate.OneOf(choices) if choices else None)


@functools.cache
def get() -> Config:
    """The process's configuration."""
    return load()


def provider_key(name: str) -> str | None:
    """The API key in environment variable `name`, None if unset or blank."""
    return os.environ.get(name, "").strip() or None


def provider_keys() -> list[str]:
    """Names of the environment variables that hold an API key."""
    return sorted(name for name in os.environ if name.endswith("_API_KEY") and provider_key(name))


def secret_values() -> dict[str, str]:
    """{name: value} of what must never be written anywhere: the process's own keys and tokens."""
    named = {name: value for name, value in os.environ.items() if name.endswith(SECRET_ENDINGS)}
    signing = {f"{name} {n}": part for name in SIGNING for n, part in enumerate(named.get(name, "").split(","))}
    ring = get().encryption_keys.split(",")
    keys = {f"ENCRYPTION_KEYS {entry.partition(':')[0]}": entry.partition(":")[2] for entry in ring}
    return named | signing | keys


def names() -> frozenset[str]:
    """The environment variables that the server itself reads, and no program that agents run."""
    return frozenset(item.metadata["name"] for item in fields(Config)) - {"GITHUB_TOKEN"}


def environment() -> dict[str, str]:
    """A copy of the process's environment, for the processes it starts."""
    return dict(os.environ)


def sources() -> list[tuple[str, object, str, str]]:
    """(name, value, "environment" or "default", help) per setting, for `djinnbot doctor`."""
    config = get()
    return [
        (
            item.metadata["name"],
            getattr(config, item.name),
            "environment" if os.environ.get(item.metadata["name"]) else "default",
            item.metadata["help"],
        )
        for item in fields(Config)
    ]
