"""The pipelines that a worker starts by itself: those of children, and those of triggers."""

from __future__ import annotations

from models import config
from models.errors import ConfigError
from pipelines import personas
from pipelines.catalog import LIBRARY, Catalog, Entry, Known


def startable(pipeline_id: str) -> Entry:
    """The pipeline as it is now. Raises ConfigError if it is gone or has errors."""
    known = Known(agents=personas.installed(config.get().agents_dir))
    entry = Catalog([config.get().pipelines_dir, LIBRARY], lambda: known).get(pipeline_id)
    if entry is None or not entry.valid:
        raise ConfigError(f"The pipeline {pipeline_id} is {'not there' if entry is None else 'not valid'}")
    return entry
