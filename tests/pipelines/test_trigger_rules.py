"""What matches a trigger."""

from types import SimpleNamespace

import pytest

from pipelines import github_events, trigger_rules
from tests.github import AUTHOR, about, closed, commented, labeled


def trigger(**fields):
    given = {"event": "issues", "actions": [], "repositories": [], "conditions": {}, "concurrency_key": "{{number}}"}
    return SimpleNamespace(**(given | fields))


def matches(event, payload, **conditions):
    facts = github_events.facts(event, payload)
    return not trigger_rules.reasons(trigger(event=event, conditions=conditions), facts)


PUSH = about() | {"ref": "refs/heads/main", "commits": [{"added": ["docs/a.md"], "modified": [], "removed": ["b.py"]}]}
PULL = closed(3, "topic", draft=False, labels=[{"name": "Bug"}])


@pytest.mark.parametrize(
    ("event", "payload", "conditions", "expected"),
    [
        ("issues", labeled(), {}, True),
        ("issues", labeled(), {"labels_any": ["RESOLVE", "x"]}, True),
        ("issues", labeled(), {"labels_any": ["x"]}, False),
        ("issues", labeled(), {"labels_none": ["resolve"]}, False),
        ("pull_request", PULL, {"labels_any": ["bug"]}, True),
        ("pull_request", PULL, {"branches": ["ma*"]}, True),
        ("pull_request", PULL, {"branches": ["topic"]}, False),
        ("pull_request", PULL, {"draft": True}, False),
        ("pull_request", PULL, {"draft": False}, True),
        ("push", PUSH, {"branches": ["main"], "paths": ["docs/*"]}, True),
        ("push", PUSH, {"paths": ["src/*"]}, False),
        ("pull_request", PULL, {"paths": ["docs/*"]}, False),
        ("issues", labeled(), {"authors": ["mon?"]}, True),
        ("issues", labeled(), {"authors_exclude": ["*"]}, False),
        ("issues", labeled(user={"login": "dependabot[bot]"}), {"authors_exclude": ["dependabot[bot]"]}, False),
        ("issues", labeled(), {"title_contains": "IS BROKEN"}, True),
        ("issues", labeled(), {"title_contains": "fine"}, False),
        ("issue_comment", commented("/go now"), {"command": "/go"}, True),
        ("issue_comment", commented("/gone"), {"command": "/go"}, False),
    ],
)
def test_all_conditions_must_hold(event, payload, conditions, expected) -> None:
    assert matches(event, payload, **conditions) is expected


@pytest.mark.parametrize(("globs", "expected"), [([], True), (["octo/*"], True), (["*/other"], False)])
def test_repositories_are_patterns(globs, expected) -> None:
    facts = github_events.facts("issues", labeled())
    assert bool(trigger_rules.reasons(trigger(repositories=globs), facts)) is not expected


def test_a_reason_is_given_for_each_condition_that_does_not_hold() -> None:
    facts = github_events.facts("issues", labeled())
    found = trigger_rules.reasons(trigger(event="push", actions=["opened"]), facts)
    assert found == ["the event is issues", "the action is labeled"]


def test_the_key_is_rendered_in_lower_case() -> None:
    facts = github_events.facts("issues", labeled(7))
    mine = trigger(concurrency_key="{{repository.full_name}}#{{number}}")
    assert trigger_rules.key(mine, facts, {}) == "octo/hello#7"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"event": "nonsense"}, "event"),
        ({"repositories": ["a b"]}, "repositories"),
        ({"conditions": {"branches": [""]}}, "conditions.branches"),
        ({"conditions": {"command": "resolve"}}, "conditions.command"),
        ({"task_template": "{% if a %}"}, "task_template"),
        ({"concurrency_key": "{{a"}, "concurrency_key"),
    ],
)
def test_what_is_wrong_is_named(fields, path) -> None:
    assert list(trigger_rules.problems(fields)) == [path]


@pytest.mark.parametrize(
    ("event", "payload", "expected"),
    [
        ("issues", labeled(), "MEMBER"),
        ("issues", labeled(user={"login": "other"}, author_association="NONE"), "COLLABORATOR"),
        ("issue_comment", commented("x", association="FIRST_TIMER"), "FIRST_TIMER"),
        ("push", PUSH, "COLLABORATOR"),
        ("watch", about(), "NONE"),
        ("workflow_run", about(), "NONE"),
        ("watch", about({"login": "octo-org"}), "OWNER"),
        ("issues", labeled(user=AUTHOR, author_association=None), "NONE"),
    ],
)
def test_the_senders_place_in_the_repository_is_read_from_what_cannot_be_forged(event, payload, expected) -> None:
    assert github_events.facts(event, payload).association == expected


def test_our_own_bot_is_trusted_and_others_are_not() -> None:
    facts = github_events.facts("issue_comment", commented("x", association="NONE", sender={"login": "djinn[bot]"}))
    assert github_events.trusted(facts, [], [], "Djinn") and not github_events.trusted(facts, [], [], "other")


@pytest.mark.parametrize("payload", [{}, {"issue": 1}, {"issue": {"labels": [1]}, "sender": []}, {"commits": {}}])
def test_other_forms_than_githubs_say_nothing(payload) -> None:
    assert github_events.facts("push", payload).number is None
