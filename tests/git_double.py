"""A git server on loopback: bare repositories over plain HTTP, for those who bring the right password."""

from __future__ import annotations

import base64
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

IDENTITY = ["-c", "user.name=Mona", "-c", "user.email=mona@example.test"]


class GitDouble:
    """`password` None: anybody may read. `asked`: the Authorization headers in order."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.password, self.asked, self.redirect = folder, None, [], None
        double = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self):
                double.asked.append(self.headers.get("Authorization"))
                if double.redirect:
                    self.send_response(302)
                    self.send_header("Location", double.redirect + self.path)
                    self.end_headers()
                elif double.allows(self.headers.get("Authorization", "")):
                    super().do_GET()
                else:
                    self.send_error(401)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

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
        git(bare, "update-server-info")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def git(folder: Path, *arguments: str) -> str:
    found = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return found.stdout
