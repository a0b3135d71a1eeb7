"""The web server's configuration: gunicorn with gevent workers (`gunicorn -c python:api.gunicorn`)."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()  # before anything opens a socket or makes a lock

from models import config  # noqa: E402

settings = config.get()

wsgi_app = "api.app:create_app()"
worker_class = "gevent"
workers = settings.web_workers
worker_connections = 2_000  # open event streams count
bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
graceful_timeout = 2  # seconds; streams are resumed by their clients
timeout = 60
keepalive = 30
accesslog = None  # query strings are never logged
errorlog = "-"
loglevel = "warning"
control_socket_disable = True
