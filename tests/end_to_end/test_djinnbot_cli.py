"""The published DjinnBot CLI (`djinn`), as it comes from PyPI, against a platform of ours."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.platform import TOKEN, Platform, running, wait_for

DJINN = shutil.which("djinn", path=str(Path(sys.executable).parent))
PIPELINE = "id: mine\nname: My own\nsteps:\n  - {id: ONLY, agent: writer, input: x}\n"
ANSWER = {"text": "Once upon a time there was a lamp, and in it a djinn.", "chars_per_second": 40}
CONTROLS = re.compile(r"\x1b\[[0-9;?<>]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b[=>]|\x1b\][^\x07]*\x07|\x1bP[^\x1b]*\x1b\\")


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("platform"))


def environment(platform: Platform) -> dict[str, str]:
    known = {"DJINNBOT_URL": platform.client.base_url, "DJINNBOT_API_KEY": TOKEN, "HOME": str(platform.folder)}
    return known | {"PATH": os.environ["PATH"], "NO_COLOR": "1", "TERM": "xterm-256color"}


def djinn(platform: Platform, *arguments: str, typed: str = "") -> str:
    """What the command prints."""
    command = [DJINN, *arguments]
    wide = environment(platform) | {"COLUMNS": "160"}
    done = subprocess.run(command, env=wide, input=typed, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Terminal:
    """A program in a terminal of its own; `text` is all that it has shown, without the controls."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            os.execve(command[0], command, env)
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.text = ""

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def wait(self, text: str, seconds: float = 20.0, again: str = "") -> None:
        """Until `text` is shown; types `again` every two seconds, for a program that is not ready yet."""
        deadline, due = time.monotonic() + seconds, time.monotonic() + 2
        while text not in self.text:
            assert time.monotonic() < deadline, self.text[-2000:]
            if again and time.monotonic() > due:
                self.type(again)
                due += 2
            if select.select([self._screen], [], [], 0.2)[0]:
                self.text += CONTROLS.sub("", os.read(self._screen, 65_536).decode(errors="replace"))

    def close(self) -> None:
        os.close(self._screen)
        os.waitpid(self.pid, 0)


def test_status(platform) -> None:
    shown = djinn(platform, "status")
    assert "Server: ok" in shown and "Redis: connected" in shown and "Agents: 8" in shown


def test_agents(platform) -> None:
    assert "writer" in djinn(platform, "agent", "list")
    assert "Persona Files" in djinn(platform, "agent", "show", "writer")
    assert "maxConcurrentSteps: 2" in djinn(platform, "agent", "config", "writer")
    assert "Idle: 8" in djinn(platform, "agent", "status")
    assert "idle" in djinn(platform, "agent", "status", "writer")


def test_the_projects_of_an_agent(platform) -> None:
    project = platform.client.post("/v1/projects", {"name": "Lamp"})["id"]
    platform.client.post(f"/v1/projects/{project}/agents", {"agent_id": "writer"})
    assert "Lamp" in djinn(platform, "agent", "projects", "writer")


def test_the_runs_of_an_agent(platform) -> None:
    assert "No runs found" in djinn(platform, "agent", "runs", "writer")
    run_id = platform.run(platform.pipeline(PIPELINE))
    platform.wait(run_id)
    shown = djinn(platform, "agent", "runs", "writer")
    assert "completed" in shown and run_id[:12] in shown


def test_pipelines(platform, tmp_path) -> None:
    assert "engineering" in djinn(platform, "pipeline", "list")
    assert "EXECUTE" in djinn(platform, "pipeline", "show", "execute")
    assert "id: execute" in djinn(platform, "pipeline", "raw", "execute")
    assert "valid" in djinn(platform, "pipeline", "validate", "execute")


def test_providers(platform) -> None:
    assert "openai" in djinn(platform, "provider", "list")
    assert "OpenAI" in djinn(platform, "provider", "show", "openai")
    djinn(platform, "provider", "set-key", "openai", "sk-of-the-test-0123456789")
    shown = platform.client.get("/v1/settings/providers/openai")
    assert shown["configured"] and shown["maskedApiKey"] == "sk-...6789"
    djinn(platform, "provider", "disable", "openai")
    djinn(platform, "provider", "enable", "openai")
    assert "gpt" in djinn(platform, "provider", "models")
    djinn(platform, "provider", "set-extra", "azure-openai-responses", "AZURE_OPENAI_RESOURCE_NAME", "lamp")
    assert "Resource name: ***" in djinn(platform, "provider", "show", "azure-openai-responses")
    djinn(platform, "provider", "remove", "openai", typed="y\n")
    assert not platform.client.get("/v1/settings/providers/openai")["configured"]


def test_chat(platform) -> None:
    platform.script({"chat:writer": [ANSWER]})
    terminal = Terminal([DJINN, "chat", "-a", "writer", "-m", "scripted/test"], environment(platform))
    terminal.wait("Enter to send")
    terminal.wait("story", again="story ")
    terminal.type("\r")
    terminal.wait("a djinn.")
    session = platform.client.get("/v1/chat/sessions", agent_id="writer")[0]
    assert (session["status"], session["message_count"]) == ("ready", 2)
    terminal.type("\x03")
    wait_for(lambda: _is_over(platform, session["id"]))
    terminal.close()


def _is_over(platform: Platform, session_id: str) -> None:
    assert platform.client.get(f"/v1/agents/writer/chat/{session_id}/status")["status"] == "completed"
