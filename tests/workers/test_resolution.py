"""Which model works: step over agent over setting over what is there."""

from __future__ import annotations

import pytest

from models import catalogue, config, database, settings
from tests.api.conftest import on_sqlite
from tests.engine import Engine
from workers import walks
from workers.agent import resolution
from workers.agent import settings as attempts
from workers.clients.llm import local

pytestmark = [on_sqlite, pytest.mark.usefixtures("store")]
PIPELINE = """
id: NAME
agents: [{id: writer}]
steps: [{id: A, agent: writer, input: go, outputs: [x]MORE}]
"""


def put(**changes) -> None:
    with database.transaction():
        settings.update(changes)


def run(more: str = "", name: str = "one", agent: str = "", replies: dict | None = None, **request) -> Engine:
    folder = config.get().agents_dir / "writer"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(agent, "utf-8")
    attempts._agent.cache_clear()
    return Engine(PIPELINE.replace("MORE", more).replace("NAME", name), replies, **request).finish()


def model_of(*given, **more) -> str:
    return run(*given, **more).of("A")[0].model


def test_the_step_wins_over_the_agent_and_the_run_over_both() -> None:
    agent = "model: scripted/agent"
    assert model_of(", model: scripted/step", agent=agent) == "scripted/step"
    assert model_of(", model: scripted/step", agent=agent, model_override="scripted/run") == "scripted/run"
    assert model_of(agent=agent) == "scripted/agent"


def test_the_agents_model_for_executing_wins_over_its_general_one() -> None:
    assert model_of(agent="model: scripted/a\nexecutorModel: scripted/b") == "scripted/b"
    assert model_of(agent="model: scripted/a\nplanningModel: scripted/b") == "scripted/a"


def test_planning_pipelines_and_thinking_steps_have_models_of_their_own() -> None:
    agent = "executorModel: scripted/e\nplanningModel: scripted/p\nthinkingModel: scripted/t"
    assert model_of(name="planning-mine", agent=agent) == "scripted/p"
    assert model_of(", thinkingLevel: high", agent=agent) == "scripted/t"
    assert model_of(", thinkingLevel: 'off'", agent=agent) == "scripted/e"


def test_a_setting_stands_in_for_what_the_agent_does_not_say() -> None:
    put(defaultWorkingModel="scripted/w")
    assert (model_of(), model_of(agent="model: scripted/a")) == ("scripted/w", "scripted/a")
    put(defaultExecutorModel="scripted/e", defaultPlanningModel="scripted/p", defaultThinkingModel="scripted/t")
    assert (model_of(), model_of(name="planning-x")) == ("scripted/e", "scripted/p")
    assert model_of(", thinkingLevel: low") == "scripted/t"
    put(defaultExecutorModel=None)
    assert model_of() == "scripted/w"


def test_without_any_model_the_step_fails_and_says_what_is_missing(monkeypatch) -> None:
    monkeypatch.setattr(local, "is_installed", lambda: False)
    for info in catalogue.catalogue():
        monkeypatch.setenv(info.key_variable, "")
    monkeypatch.setenv("DEFAULT_MODEL", "")
    config.get.cache_clear()
    failed = run().run
    assert (failed.status, failed.error_code) == ("failed", "no_model_configured")
    assert "OPENAI_API_KEY" in failed.error


def test_a_pipeline_repeats_as_often_as_the_setting_says() -> None:
    rejected = {"A": [{"error": {"class": "provider_transient"}}]}
    put(defaultStepMaxRetries=0)
    assert run(replies=rejected).of("A")[0].attempt == 1
    assert run(", maxRetries: 1, retry: {delaySeconds: 0}", replies=rejected).of("A")[0].attempt == 2
    assert run(agent="maxRetries: 1", replies={"A": ["fine"]}).of("A")[0].max_retries == 1


def test_an_attempt_takes_as_long_as_the_setting_says() -> None:
    put(defaultStepTimeoutSec=7)
    assert (seconds_of(run()), seconds_of(run(", timeoutSeconds: 9"))) == (7, 9)
    assert seconds_of(run(agent="timeout: 8")) == 8


def seconds_of(engine: Engine) -> float:
    walk = walks.load(engine.run_id)
    return attempts.resolve(walk, walk.state.visits[0]).timeout_seconds


def test_fallbacks_come_from_who_named_the_model_else_from_the_setting() -> None:
    put(modelFallbacks={"custom-gone/m": ["scripted/setting"]})
    assert run(", model: custom-gone/m").run.status == "completed"
    named = run(", model: custom-gone/m, fallbackModels: [scripted/step]")
    assert [event["model"] for event in named.events if event["type"] == "llm_call"][-1] == "step"
    assert run(model_override="custom-gone/m").run.status == "completed"
    assert resolution.fallbacks("custom-gone/m", ()) == ()


@pytest.mark.parametrize(
    ("role", "agent", "wanted", "level"),
    [
        ("executor", {}, None, None),
        ("executor", {"thinking_level": "low"}, None, "low"),
        ("executor", {"thinking_level": "low"}, "high", "high"),
        ("executor", {"thinking_level": "off"}, None, "off"),
        ("thinking", {"thinking_level": "low"}, None, "medium"),
        ("thinking", {"thinking_model_thinking_level": "xhigh"}, None, "xhigh"),
    ],
)
def test_how_hard_a_model_thinks(role, agent, wanted, level) -> None:
    assert resolution.thinking_level(role, agent, wanted) == level


def test_a_setting_says_how_hard_models_think() -> None:
    put(defaultWorkingModelThinkingLevel="minimal")
    assert resolution.thinking_level("working", {}, None) == "minimal"


def test_a_run_that_names_no_limit_gets_the_settings() -> None:
    put(runBudgetUsd=0.25)
    assert run().run.max_cost_usd == 0.25
    assert run(max_cost_usd=3.0).run.max_cost_usd == 3.0
