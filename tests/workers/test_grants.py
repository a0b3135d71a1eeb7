"""Secrets of a step: who gets them, and what a step without any costs."""

from __future__ import annotations

import pytest

from models import database, secrets
from models.audit import AuditRow
from models.secrets import Secret, SecretUse, SecretVersion
from tests.engine import Engine

VALUE = "a value that nobody may see"
PIPELINE = """
id: two
agents: [{id: one, tools: [bash]}, {id: other, tools: [bash]}]
steps:
  - {id: A, agent: one, input: a, outputs: [x], onComplete: B}
  - {id: B, agent: other, input: b, outputs: [y, z]}
"""
COMMAND = {"command": "echo [${TOKEN_X-none}] $(echo -n $TOKEN_X | wc -c)"}
LOOK = [{"tool_calls": [{"name": "bash", "arguments": COMMAND}]}]
REPLIES = {"A": [[*LOOK, "X: done"]], "B": [[*LOOK, "Y: done\nZ: done"]]}


def plant(*agents: str) -> Secret:
    with database.transaction():
        return secrets.create("token-x", VALUE, secret_type="token", agents=agents)


def results(engine: Engine) -> dict[str, str]:
    return {event["step_id"]: event["result"].strip() for event in engine.events if event["type"] == "tool_call_end"}


def test_the_commands_of_a_granted_agent_see_the_secret_and_nobody_elses(store) -> None:
    secret = plant("one")
    engine = Engine(PIPELINE, REPLIES).finish()
    assert results(engine) == {"A": f"[[secret:token-x]] {len(VALUE)}", "B": "[none] 0"}
    used = Secret.get_by_id(secret.id)
    assert (used.last_used_by, used.last_used_at is not None, SecretUse.select().count()) == ("one", True, 1)


def test_the_use_of_a_secret_is_recorded_once_per_run(store) -> None:
    secret = plant("one")
    engine = Engine(PIPELINE.replace("agent: other", "agent: one"), REPLIES).finish()
    uses = list(AuditRow.select().where(AuditRow.action == "secret.use"))
    assert [(use.kind, use.actor, use.object_id) for use in uses] == [("system", "one", secret.id)]
    assert uses[0].detail == {"run_id": engine.run_id, "name": "token-x"}


def test_what_one_agent_leaves_in_the_workspace_is_not_shown_by_the_next(store) -> None:
    plant("one")
    write = {"name": "bash", "arguments": {"command": "echo $TOKEN_X > Y.md"}}
    read = {"name": "bash", "arguments": {"command": "cat Y.md; touch Y.md"}}
    replies = {"A": [[{"tool_calls": [write]}, "X: done"]], "B": [[{"tool_calls": [read]}, "Z: done"]]}
    engine = Engine(PIPELINE, replies).finish()
    assert results(engine)["B"] == "[secret:token-x]"
    assert engine.of("B")[0].outputs["y"].strip() == "[secret:token-x]"


def test_a_step_whose_secret_does_not_decrypt_fails(store) -> None:
    plant("one")
    SecretVersion.update(value="v1.k1.x.x").execute()
    engine = Engine(PIPELINE, REPLIES).finish()
    assert (engine.run.status, engine.run.error_code) == ("failed", "secret_unreadable")


def test_a_secret_of_another_agent_that_does_not_decrypt_stops_nobody(store) -> None:
    plant("nobody-here")
    SecretVersion.update(value="v1.k1.x.x").execute()
    assert Engine(PIPELINE, REPLIES).finish().run.status == "completed"


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_without_grants_a_walk_looks_once(store, monkeypatch) -> None:
    looks, execute = [], database.execute
    monkeypatch.setattr(database, "execute", lambda sql, params=(): looks.append(sql) or execute(sql, params))
    Engine(PIPELINE, REPLIES).finish()
    assert sum("secret_grants" in sql for sql in looks) == 1


def test_a_grant_is_deleted_with_the_run_it_was_used_in(store) -> None:
    from workers import runs

    plant("one")
    engine = Engine(PIPELINE, REPLIES).finish()
    runs.remove(engine.run_id)
    assert SecretUse.select().count() == 0
