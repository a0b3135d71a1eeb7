"""What must be right before the platform can start; each failure says what to do."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from models import config, crypto, database, schema
from models.errors import BadKeys, DjinnBotError

MIN_FREE_BYTES = 200 * 1024 * 1024

EXIT_CODES = {
    "port_taken": 3,
    "disk_full": 4,
    "data_dir": 5,
    "database": 6,
    "queue": 7,
    "config": 8,
    "not_ready": 9,
    "keys": 14,
}


class StartError(Exception):
    """The platform cannot start: `code` is a key of EXIT_CODES."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.code]


def before_start() -> None:
    """Raises StartError for the first thing that is wrong."""
    settings = config.get()
    check_data_dir(settings.data_dir)
    check_disk(settings.data_dir)
    check_port(settings.host, settings.port)
    check_database()
    check_keys()


def check_data_dir(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(path.stat().st_mode & ~0o077)
    except OSError as error:
        raise StartError(
            "data_dir", f"The data folder {path} cannot be used: {error.strerror}. Set DATA_DIR."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise StartError("data_dir", f"The data folder {path} is not writable. Set DATA_DIR to one that is.")


def check_disk(path: Path) -> None:
    free = shutil.disk_usage(path).free
    if free < MIN_FREE_BYTES:
        raise StartError("disk_full", f"Only {free >> 20} MB are free in {path.resolve()}; 200 MB are needed.")


def check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartError(
                "port_taken", f"Port {port} on {host} cannot be used: {error.strerror}. Set PORT to another one."
            ) from error


def check_database() -> None:
    try:
        database.init()
        schema.migrate()
    except (DjinnBotError, ValueError) as error:
        raise StartError("database", f"{error} Check DATABASE_URL.") from error


def check_keys() -> None:
    try:
        crypto.ring()
    except BadKeys as error:
        raise StartError("keys", error.message) from error
