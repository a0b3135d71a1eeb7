"""Security rule 5: ten planted secrets are used by agents in every way, and only ciphertext is found afterwards."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import threading
from urllib.parse import quote

import httpx
import pytest
import redis

from tests.platform import TOKEN, running, wait_for

LINES = "b3BlbnNzaC1rZXktdjEAAAAACmFl\n" * 9
KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{LINES}-----END OPENSSH PRIVATE KEY-----\n"
SECRETS = {
    "github-pat": "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
    "quoted": 'he said "no/+way" & left',
    "accents": "pässwört-with-üñï",
    "short": "8 chars!",
    "key": KEY,
    "url": "postgres://u:p4ssw0rd@db.example/x?y=1&z=%20",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    "symbols": "~!@#$%^&*()_+{}|:<>?`-=[];'\\,./",
    "long": "x9" * 400 + "end",
    "hex": "deadbeefcafebabe0123456789abcdef",
}
DUMP = " && ".join(
    [
        "env",
        'for n in $(compgen -e); do printf %s "${!n}" | base64 -w0; echo; printf %s "${!n}" | base64; done',
        'printf \'%s\\n\' "$GITHUB_PAT" "$KEY" > notes.md',
        "python3 -c 'import json, os, urllib.parse as u; print(json.dumps(dict(os.environ)), u.urlencode(os.environ))'",
        'echo "$SHORT" >&2; exit 3',
    ]
)
PIPELINE = """
id: leaky
agents: [{id: spy, tools: [bash, read]}, {id: other, tools: [read]}]
steps:
  - {id: DUMP, agent: spy, input: go, outputs: [found, notes], onComplete: READ}
  - {id: READ, agent: other, input: "look at {{found}}", outputs: [seen], onComplete: FAIL}
  - {id: FAIL, agent: spy, input: "{{seen}}", maxRetries: 1}
"""
SAY = " | ".join(SECRETS.values())
CALL = {"name": "bash", "arguments": {"command": f"echo {SECRETS['hex']}; {DUMP}"}}
REPLIES = {
    "DUMP": [
        [
            {"thinking": SAY, "text": SAY, "tool_calls": [CALL]},
            {"text": f"FOUND: {SAY}\n", "chars_per_second": 20_000},
        ]
    ],
    "READ": [[{"tool_calls": [{"name": "read", "arguments": {"path": "notes.md"}}]}, {"text": f"SEEN: {KEY}"}]],
    "FAIL": [
        [{"tool_calls": [{"name": "fail", "arguments": {"error": f"bad {SAY}", "details": KEY}}]}],
        {"error": {"class": "provider_rejected", "message": f"Incorrect key: {SAY}, sk-of-the-server"}},
    ],
}
REPLIES["chat:spy"] = [*REPLIES["DUMP"], REPLIES["FAIL"][1]]


def traces(value: str) -> set[bytes]:
    forms = {value, quote(value, safe=""), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms.add(base64.b64encode(value.encode()).decode()[:-4])
    forms |= {line for line in value.splitlines() if len(line) > 24 and not line.startswith("--")}
    return {form.encode() for form in forms}


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("platform"), SERVERS_OWN_API_KEY="sk-of-the-server")


class Listener(threading.Thread):
    """Collects what goes over Redis, until Redis ends."""

    def __init__(self, platform) -> None:
        super().__init__(daemon=True)
        self.redis = redis.Redis(unix_socket_path=str(platform.folder / "redis.sock"))
        self.feed = self.redis.pubsub()
        self.feed.psubscribe("*")
        self.heard = b""
        self.start()

    def run(self) -> None:
        with contextlib.suppress(redis.ConnectionError):
            for message in self.feed.listen():
                self.heard += message["data"] if isinstance(message["data"], bytes) else b""

    def keys(self) -> bytes:
        kept = b""
        for number in (0, 1):
            server = redis.Redis(unix_socket_path=self.redis.connection_pool.connection_kwargs["path"], db=number)
            kept += b"".join(server.dump(key) for key in server.scan_iter())
        return kept


@pytest.fixture(scope="module")
def remains(platform):
    """{place: bytes} of everything that is left of a run that handled every secret."""
    for name, value in SECRETS.items():
        body = {"name": name, "value": value, "secret_type": "other", "agents": ["spy"]}
        assert platform.client.post("/v1/secrets", body)["granted_agents"] == ["spy"]
    platform.script(REPLIES)
    listener = Listener(platform)
    run_id = platform.run(platform.pipeline(PIPELINE))
    stream = httpx.get(
        f"http://127.0.0.1:{platform.port}/v1/events/stream",
        params={"run_id": run_id},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=60,
    ).content
    run = platform.wait(run_id)
    assert run["status"] == "failed", run
    wait_for(lambda: listener.heard.index(b"run_failed"))
    session_id = chatted(platform)
    restart(platform)
    shown = [f"/v1/runs/{run_id}", f"/v1/steps/{run_id}", f"/v1/runs/{run_id}/events?limit=200", "/v1/llm-calls"]
    shown += [
        f"/v1/chat/sessions/{session_id}",
        "/v1/secrets",
        f"/v1/steps/{run_id}/DUMP/output",
        *(f"/v1/secrets/{name}" for name in SECRETS),
    ]
    return {
        "database": b"".join(path.read_bytes() for path in platform.folder.glob("djinnbot.sqlite3*")),
        "logs": b"".join(path.read_bytes() for path in platform.folder.glob("*.log")),
        "stream": stream,
        "answers": json.dumps([platform.client.get(path) for path in shown], ensure_ascii=False).encode(),
        "messages": listener.heard,
        "redis": listener.keys(),
    }


def chatted(platform) -> str:
    """A chat whose agent says all it knows, and then fails."""
    folder = platform.folder / "agents" / "spy"
    folder.mkdir(parents=True)
    (folder / "IDENTITY.md").write_text("Name: Spy", "utf-8")
    session = platform.client.post("/v1/chat/sessions", {"agent_id": "spy", "message": "go"})["id"]
    platform.client.post(f"/v1/chat/sessions/{session}/message", {"message": "again"})

    def answered() -> None:
        assert platform.client.get(f"/v1/chat/sessions/{session}")["status"] == "ready"

    wait_for(answered, 60)
    told = platform.client.get(f"/v1/chat/sessions/{session}")["messages"]
    statuses = [message["status"] for message in told]
    assert statuses == ["completed", "completed", "completed", "failed"]
    return session


def restart(platform) -> None:
    """Every process anew."""
    for kind in ("web", "worker"):
        platform.kill(platform.named(kind)[0], signal.SIGTERM)
        platform.start(kind)
    wait_for(lambda: platform.client.get("/readyz"))


def test_the_agents_really_had_the_secrets(remains) -> None:
    for name in SECRETS:
        assert remains["stream"].count(f"[secret:{name}]".encode()) >= 5, name
    assert b"(exit code 3)" in remains["stream"]
    assert b"[secret:SERVERS_OWN_API_KEY]" in remains["database"]


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_left_anywhere_but_as_ciphertext(remains, name) -> None:
    found = [(place, form) for place, data in remains.items() for form in traces(SECRETS[name]) if form in data]
    assert found == []


def test_no_key_of_the_server_is_left_anywhere(remains) -> None:
    assert [place for place, data in remains.items() if b"sk-of-the-server" in data] == []
