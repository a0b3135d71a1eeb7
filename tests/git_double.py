"""A git server on loopback: bare repositories over plain HTTP, for those who bring the right password."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CGI = {"CONTENT_TYPE": "Content-Type", "HTTP_CONTENT_ENCODING": "Content-Encoding", "GIT_PROTOCOL": "Git-Protocol"}
IDENTITY = ["-c", "user.name=Mona", "-c", "user.email=mona@example.test"]


class GitDouble:
    """`password` None: anybody may read. `asked`: the Authorization headers in order."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.password, self.asked, self.redirect = folder, None, [], None
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                double.asked.append(self.headers.get("Authorization"))
                if double.redirect:
                    self.send_response(302)
                    self.send_header("Location", double.redirect + self.path)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif double.allows(self.headers.get("Authorization", "")):
                    double.answer(self)
                else:
                    self.send_error(401)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """What git's own program for web servers says."""
        path, _, query = handler.path.partition("?")
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        request = {"REQUEST_METHOD": handler.command, "PATH_INFO": path, "QUERY_STRING": query}
        headers = {name: handler.headers.get(header, "") for name, header in CGI.items()}
        known = {"GIT_PROJECT_ROOT": str(self.folder), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "mona"}
        env = {"PATH": os.environ["PATH"], "CONTENT_LENGTH": str(len(body)), **request, **headers, **known}
        said = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=True).stdout
        head, _, content = said.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        handler.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in {**fields, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, name: str) -> str:
        return f"http://{self.place}/{name}.git"

    def allows(self, header: str) -> bool:
        return self.password is None or header == "Basic " + base64.b64encode(self.password.encode()).decode()

    def commit(self, name: str, files: dict[str, str], branch: str = "main") -> None:
        """One more commit in the repository of that name, which is made if it is not there."""
        bare, work = self.folder / f"{name}.git", self.folder / "work" / name
        if not bare.exists():
            git(self.folder, "init", "--bare", "-b", branch, str(bare))
            git(self.folder, "clone", "-q", str(bare), str(work))
        for path, text in files.items():
            (work / path).write_text(f"{text}\n")
        git(work, "checkout", "-q", "-B", branch)
        git(work, "add", ".")
        git(work, *IDENTITY, "commit", "-q", "-m", "x")
        git(work, "push", "-q", "origin", branch)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def git(folder: Path, *arguments: str) -> str:
    found = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return found.stdout
