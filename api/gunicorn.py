"""The web server's configuration: gunicorn with gevent workers (`gunicorn -c python:api.gunicorn`)."""

from __future__ import annotations

import gc

from gevent import monkey

monkey.patch_all()  # before anything opens a socket or makes a lock

from models.config import get as read_settings  # noqa: E402 (gunicorn takes a name `config` for its own)

_settings = read_settings()

wsgi_app = "api.app:create_app()"
worker_class = "gevent"
workers = _settings.web_workers
worker_connections = 2_000  # open event streams count
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
graceful_timeout = 2  # seconds
timeout = 60
keepalive = 30
accesslog = None  # query strings are never logged
errorlog = "-"
loglevel = "warning"
control_socket_disable = True


def post_worker_init(worker) -> None:
    """Open streams end as soon as the worker is told to stop; what was loaded is never looked at by the collector."""
    from api.sse import hub

    hub.serving = lambda: worker.alive
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
