"""/v1/settings"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from models import audit, events, settings, tokens
from models.setting_keys import DECLARED
from models.settings import StoredSetting
from tests.api.conftest import AUTH, on_sqlite


def put(api, body, **headers):
    return api.put("/v1/settings", json=body, headers=headers)


# --- read ---


def test_without_changes_every_setting_is_at_its_default(api):
    answer = api.get("/v1/settings")
    assert answer.json == {key.name: key.default for key in DECLARED}
    assert (answer.status_code, len(answer.json), answer.json["defaultWorkingModel"]) == (200, 29, "")


def test_the_schema_describes_every_setting(api):
    described = {line["key"]: line for line in api.get("/v1/settings/schema").json}
    assert list(described) == list(api.get("/v1/settings").json)
    claim = described["taskClaimTtlSec"]
    assert (claim["type"], claim["range"], claim["default"]) == ("integer", "0 or 30..604800", 1800)
    assert (claim["unit"], claim["nullable"], described["runBudgetUsd"]["nullable"]) == ("seconds", False, True)


def test_who_has_it_already_is_told_so(api):
    tag = api.get("/v1/settings").headers["ETag"]
    assert api.get("/v1/settings", headers={"If-None-Match": tag}).status_code == 304


# --- change ---


def test_sent_keys_are_set_and_others_kept(api):
    put(api, {"defaultStepMaxRetries": 5, "githubReports": "off"})
    changed = put(api, {"chatHardTimeoutSec": 60}).json
    assert (changed["defaultStepMaxRetries"], changed["githubReports"], changed["chatHardTimeoutSec"]) == (5, "off", 60)
    assert api.get("/v1/settings/").json == changed


def test_null_goes_back_to_the_default_and_an_empty_text_is_a_value(api):
    put(api, {"defaultStepMaxRetries": 5, "runBudgetUsd": 2.5, "defaultWorkingModel": "openai/x"})
    changed = put(api, {"defaultStepMaxRetries": None, "runBudgetUsd": None, "defaultWorkingModel": ""}).json
    assert (changed["defaultStepMaxRetries"], changed["runBudgetUsd"], changed["defaultWorkingModel"]) == (2, None, "")
    assert StoredSetting.select().count() == 0


def test_both_spellings_are_read_but_not_with_different_values(api):
    assert put(api, {"default_step_max_retries": 7}).json["defaultStepMaxRetries"] == 7
    assert put(api, {"default_step_max_retries": 8, "defaultStepMaxRetries": 8}).json["defaultStepMaxRetries"] == 8
    answer = put(api, {"default_step_max_retries": 1, "defaultStepMaxRetries": 2})
    assert (answer.status_code, answer.json["code"]) == (422, "conflicting_fields")


def test_a_whole_document_sent_back_changes_nothing(api):
    put(api, {"eventRetentionDays": 7})
    before = events.head_seq("platform"), audit.verify()["rows"]
    document = api.get("/v1/settings").json
    assert put(api, document).json == document
    assert (events.head_seq("platform"), audit.verify()["rows"]) == before


BAD = {
    "defaultWorkingModel": ["x" * 201, 1],
    "defaultWorkingModelThinkingLevel": ["max", "", 0],
    "modelFallbacks": [[], {"a/b": "c/d"}, {"a/b": ["c/d"] * 2}, {"a/b": list("123456")}, {"x" * 201: []}],
    "defaultStepTimeoutSec": [0, 86_401, "1", 1.0, True],
    "defaultStepMaxRetries": [-1, 21],
    "runBudgetUsd": [-0.01, "1", True],
    "taskClaimTtlSec": [1, 29, 604_801],
    "mcpAutoEnableNewTools": ["yes", 1, 0],
    "githubTrustedAssociations": [["NONE"], "OWNER", ["OWNER", "OWNER"]],
    "githubTrustedUsers": [[1], [str(n) for n in range(501)]],
    "auditRetentionDays": [0, 36_501],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
@on_sqlite
def test_values_out_of_range_are_refused(api, key, value):
    answer = put(api, {key: value})
    assert (answer.status_code, answer.json["code"], list(answer.json["errors"])) == (422, "invalid_setting", [key])


GOOD = {
    "defaultPlanningModel": ["x" * 200],
    "modelFallbacks": [{"a/b": ["c/d", "e/f"]}, {str(n): [] for n in range(100)}],
    "defaultStepTimeoutSec": [1, 86_400],
    "dailyBudgetUsd": [0, 0.5, 1_000_000],
    "taskClaimTtlSec": [0, 30, 604_800],
    "mcpIdleShutdownSec": [0, 86_400],
    "githubTrustedUsers": [["ada"]],
    "auditRetentionDays": [1, 36_500],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in GOOD.items() for value in values])
@on_sqlite
def test_what_is_stored_is_what_is_answered_and_what_the_code_reads(api, key, value):
    assert put(api, {key: value}).json[key] == api.get("/v1/settings").json[key] == settings.get(key) == value


def test_one_bad_value_and_nothing_is_stored_but_every_problem_is_named(api):
    answer = put(api, {"defaultStepMaxRetries": 5, "githubReports": "x", "chatIdleTimeoutMin": 0})
    assert set(answer.json["errors"]) == {"githubReports", "chatIdleTimeoutMin"}
    unknown = put(api, {"defaultStepMaxRetries": 5, "colour": "red", "githubReports": "x"}).json
    assert (unknown["code"], set(unknown["errors"])) == ("unknown_setting", {"colour", "githubReports"})
    assert api.get("/v1/settings").json["defaultStepMaxRetries"] == 2


IGNORED = "pulseX wakeEnabled containerImage maxWakesPerDay maxConcurrentPulseSessions defaultPulseX defaultSlackX jfsX"


@on_sqlite
@pytest.mark.parametrize("key", [*IGNORED.split(), "userSlackId", "agentRuntimeImage", "ptcEnabled", "ptc_enabled"])
def test_what_older_clients_send_along_is_accepted_and_left_out(api, key):
    answer = put(api, {key: {"any": "thing"}, "defaultStepMaxRetries": 3})
    assert (answer.status_code, key in answer.json, answer.json["defaultStepMaxRetries"]) == (200, False, 3)


def test_a_change_is_announced_and_recorded_with_old_and_new(api):
    put(api, {"runBudgetUsd": 5, "defaultStepMaxRetries": 2})
    told = events.decode(events.after("platform", 0)[-1]["data"])
    assert (told["type"], told["keys"]) == ("settings_updated", ["runBudgetUsd"])
    row = audit.page(1, None, None, None)[0]
    assert (row.action, row.detail) == ("settings.update", {"runBudgetUsd": {"old": None, "new": 5}})


def test_a_change_of_an_older_version_is_refused(api):
    tag = api.get("/v1/settings").headers["ETag"]
    answers = [put(api, {"defaultStepMaxRetries": n}, **{"If-Match": tag}) for n in (5, 6)]
    assert [answer.status_code for answer in answers] == [200, 412]
    assert settings.get("defaultStepMaxRetries") == 5


def test_of_two_writers_with_one_version_one_wins(app, api):
    sent = {"If-Match": api.get("/v1/settings").headers["ETag"], **AUTH}

    def write(number: int) -> int:
        body = {"defaultStepMaxRetries": number}
        return app.test_client().put("/v1/settings", json=body, headers=sent).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(write, range(3, 7))) == [200, 412, 412, 412]


@on_sqlite
@pytest.mark.parametrize(("scope", "statuses"), [("read", (200, 403)), ("run", (200, 403)), ("worker", (403, 403))])
def test_only_an_admin_changes(anyone, scope, statuses):
    sent = {"Authorization": f"Bearer {tokens.create('t', scope)[1]}"}
    answers = anyone.get("/v1/settings", headers=sent), anyone.put("/v1/settings", json={}, headers=sent)
    assert tuple(answer.status_code for answer in answers) == statuses


# --- favourites ---


def test_favourites_are_kept_in_their_order(api):
    assert api.get("/v1/settings/favorites").json == {"favorites": []}
    marked = {"favorites": ["b/2", "a/1"]}
    assert api.put("/v1/settings/favorites", json=marked).json == api.get("/v1/settings/favorites").json == marked
    assert "favorites" not in api.get("/v1/settings").json


@on_sqlite
@pytest.mark.parametrize("marked", [None, "a/1", [1], ["a/1", "a/1"], [str(n) for n in range(201)]])
def test_bad_favourites_are_refused(api, marked):
    assert api.put("/v1/settings/favorites", json={"favorites": marked}).status_code == 422
