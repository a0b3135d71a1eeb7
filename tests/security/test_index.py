"""Where each rule of the security page, and each hole that peers had, has its test."""

from __future__ import annotations

import re

import pytest

from tests.api.conftest import ROOT

SUBJECT_TO_COME: set[int] = set()
RULES = {
    1: [
        "security/test_gate.py::test_no_route_opens_without_a_token",
        "security/test_gate.py::test_no_route_opens_with_a_wrong_token",
        "security/test_gate.py::test_no_route_opens_with_a_revoked_token",
        "security/test_gate.py::test_no_route_opens_with_an_expired_token",
        "security/test_gate.py::test_open_routes_are_exactly_the_declared_ones",
        "security/test_gate.py::test_no_scope_reaches_what_needs_a_higher_one",
        "security/test_gate.py::test_a_route_that_declares_nothing_needs_an_admin",
    ],
    2: [
        "security/test_gate.py::test_foreign_hosts_and_pages_are_refused_on_every_method_of_every_route",
        "security/test_gate.py::test_no_answer_allows_other_pages_anything",
        "api/test_access.py::test_bodies_are_json_or_nothing",
        "api/test_logins.py::test_the_cookie_is_of_no_use_to_other_pages",
    ],
    3: [
        "api/test_tokens.py::test_only_the_hash_of_a_token_is_stored",
        "api/test_tokens.py::test_a_revoked_token_ends_at_once_and_is_not_found_the_second_time",
        "api/test_access.py::test_the_use_of_a_token_is_noted",
        "api/test_access.py::test_authentication_is_off_only_on_loopback",
        "api/test_logins.py::test_neither_the_link_nor_the_cookie_holds_the_token_and_only_hashes_are_stored",
    ],
    4: [
        "security/test_secrets_at_rest.py::test_a_row_copied_over_another_does_not_decrypt",
        "security/test_secrets_at_rest.py::test_without_its_key_file_it_does_not_start_and_makes_no_second_key",
        "security/test_secrets_at_rest.py::test_with_another_key_it_does_not_start",
        "security/test_secrets_at_rest.py::test_a_key_file_that_others_can_read_is_refused",
        "security/test_secrets_at_rest.py::test_a_rotation_brings_everything_under_the_new_key_and_the_old_one_may_go",
    ],
    5: [
        "security/test_never_shown.py::test_no_secret_is_left_anywhere_but_as_ciphertext",
        "security/test_never_shown.py::test_no_key_of_the_server_is_left_anywhere",
        "security/test_redaction.py::test_every_form_is_replaced_by_the_name",
        "security/test_redaction.py::test_a_form_in_pieces_is_found_wherever_it_is_cut",
        "security/test_injection.py::test_a_secret_typed_into_a_task_is_not_shown_with_the_step",
    ],
    6: [
        "security/test_provider_keys.py::test_a_key_is_left_nowhere_and_never_follows_a_moved_address",
        "workers/clients/llm/test_contract.py::test_a_redirect_to_another_origin_gets_no_key",
        "security/test_gate.py::test_definitions_are_not_taken_from_a_run_request",
    ],
    7: [
        "workers/clients/test_http.py::test_no_spelling_of_a_private_address_is_called",
        "workers/clients/test_http.py::test_the_address_that_was_checked_is_the_one_called",
        "workers/clients/test_http.py::test_a_redirect_to_another_origin_is_refused",
        "workers/clients/test_http.py::test_an_answer_that_is_too_large_is_cut_off",
        "workers/clients/test_http.py::test_an_answer_that_takes_too_long_is_given_up",
        "workers/clients/test_mcp_web.py::test_the_address_is_checked_at_every_connect",
    ],
    8: [
        "security/test_mcp_attacks.py::test_nothing_runs_before_it_is_approved",
        "api/test_mcp.py::test_only_an_admin_registers",
        "api/test_mcp.py::test_where_programs_are_not_run_they_are_not_approved_either",
        "api/test_mcp.py::test_another_program_folder_variable_or_sandbox_waits_again",
        "workers/clients/test_mcp_sessions.py::test_a_program_sees_no_variables_but_its_own_and_its_secrets_are_taken_out",
        "workers/clients/test_mcp_sessions.py::test_no_sandbox_opens_the_server_s_own_files",
        "workers/clients/test_mcp_sessions.py::test_after_a_hundred_restarts_no_process_is_left",
        "workers/clients/test_mcp_sessions.py::test_what_a_tool_says_of_itself_is_capped_and_shows_all_there_is",
        "security/test_mcp_attacks.py::test_a_tool_that_has_changed_is_not_called_until_it_is_approved_again",
    ],
    9: [
        "workers/clients/test_sandbox.py::test_more_rights_cannot_be_had",
        "workers/clients/test_sandbox.py::test_without_bubblewrap_nothing_runs_bare",
        "workers/tools/test_shell.py::test_without_a_sandbox_it_is_disabled_and_says_so",
    ],
    10: [
        "workers/tools/test_files.py::test_a_link_is_not_followed",
        "workers/tools/test_files.py::test_a_folder_swapped_for_a_link_meanwhile_leads_nowhere",
        "workers/clients/test_sandbox.py::test_proc_and_dots_lead_nowhere_else",
        "security/test_injection.py::test_an_id_is_never_a_path",
        "security/test_memory_attacks.py::test_no_name_leads_out_of_a_vault",
        "security/test_memory_attacks.py::test_no_address_leads_out_of_a_vault",
        "security/test_memory_attacks.py::test_no_link_is_followed_neither_in_reading_nor_in_writing",
    ],
    11: [
        "pipelines/test_template.py::test_what_is_not_in_the_grammar_stays_as_it_is",
        "pipelines/test_template.py::test_an_inserted_value_is_never_expanded",
        "pipelines/test_text.py::test_nested_aliases_count_every_expansion",
        "pipelines/test_catalog.py::test_a_file_over_the_limit_is_broken_not_read",
        "security/test_index.py::test_our_own_code_runs_no_code_from_data",
    ],
    12: [
        "security/test_gate.py::test_a_body_of_more_than_a_megabyte_is_refused",
        "security/test_gate.py::test_queued_runs_are_capped",
        "api/test_bodies.py::test_what_two_readers_could_take_differently_is_refused",
        "api/test_streams.py::test_a_token_has_twenty_streams",
    ],
    13: [
        "security/test_webhook_attacks.py::test_a_forged_signature_leaves_no_row_and_says_nothing",
        "security/test_webhook_attacks.py::test_nothing_of_a_body_is_read_before_its_signature",
        "security/test_webhook_attacks.py::test_a_captured_body_under_another_id_is_a_duplicate",
        "security/test_webhook_attacks.py::test_one_delivery_ten_times_at_once_has_one_effect",
    ],
    14: [
        "security/test_webhook_attacks.py::test_the_text_of_an_issue_is_data_and_taints_the_run",
        "security/test_mcp_attacks.py::test_what_a_server_says_taints_the_run_and_shows_no_secret",
        "workers/tools/test_mcp.py::test_a_result_taints_the_run_and_the_first_reason_stays",
        "workers/tools/test_mcp.py::test_what_destroys_asks_a_person_unless_it_was_granted_by_name",
        "workers/test_recall.py::test_what_a_tainted_run_wants_to_share_is_held_back",
        "api/test_memories.py::test_what_a_tainted_run_shares_waits_for_an_admin",
        "workers/test_recall.py::test_another_agents_memories_are_never_recalled",
    ],
    15: [
        "security/test_gate.py::test_every_kind_of_answer_carries_the_protective_headers",
        "security/test_smuggling.py::test_headers_of_streams_and_of_errors_are_protective",
    ],
    16: [
        "api/test_audit.py::test_an_entry_says_who_where_and_what",
        "api/test_audit.py::test_only_an_admin_reads_it_and_nobody_changes_it",
        "security/test_gate.py::test_a_refused_token_is_recorded_with_who_where_and_why",
        "security/test_gate.py::test_the_first_token_is_recorded",
    ],
    17: ["security/test_index.py::test_every_dependency_is_pinned_with_its_hash_and_audited"],
}
HOLES = {
    "code before the check": ["security/test_gate.py::test_nothing_of_a_body_is_looked_at_before_the_token"],
    "definitions smuggled in": ["security/test_gate.py::test_definitions_are_not_taken_from_a_run_request"],
    "public by suffix": ["security/test_gate.py::test_no_path_is_open_because_of_how_it_ends"],
    "streams not wired": ["security/test_gate.py::test_streams_are_behind_the_gate"],
    "foreign host": ["security/test_gate.py::test_foreign_hosts_and_pages_are_refused_on_every_method_of_every_route"],
    "SSRF by redirect": ["workers/clients/test_http.py::test_a_redirect_to_another_origin_is_refused"],
    "SSRF by DNS": ["workers/clients/test_http.py::test_the_address_that_was_checked_is_the_one_called"],
    "SSRF by spelling": [
        "workers/clients/test_http.py::test_no_spelling_of_a_private_address_is_called",
        "security/test_injection.py::test_a_webhook_never_leads_to_a_private_address",
    ],
    "key mailed away": ["workers/clients/llm/test_contract.py::test_a_redirect_to_another_origin_gets_no_key"],
    "template injection": ["security/test_injection.py::test_a_template_in_a_task_stays_as_it_was_typed"],
    "SQL": [
        "security/test_injection.py::test_a_filter_is_a_value_and_never_sql",
        "security/test_injection.py::test_a_search_is_words_and_never_a_query_language",
        "security/test_memory_attacks.py::test_a_question_is_words_and_never_a_query_language",
        "security/test_injection.py::test_a_forged_cursor_is_refused_or_finds_nothing_more",
        "security/test_injection.py::test_no_list_takes_an_order_from_outside",
    ],
    "frames of MCP servers": [
        "workers/clients/test_mcp_web.py::test_a_hostile_answer_ends_the_session_with_its_reason",
        "workers/clients/test_mcp_sessions.py::test_a_server_that_never_gets_to_work_says_why_and_is_gone",
        "security/test_mcp_attacks.py::test_each_fails_for_its_own_reason_and_the_others_work_on",
    ],
    "path escapes": ["workers/tools/test_files.py::test_a_linked_folder_is_not_followed"],
    "objects of another": ["security/test_injection.py::test_what_is_under_another_run_is_not_found"],
    "TE and CL": ["security/test_smuggling.py::test_a_request_whose_end_is_in_doubt_hides_no_second_one"],
    "webhook replay": [
        "security/test_webhook_attacks.py::test_a_captured_body_under_another_id_is_a_duplicate",
    ],
    "multipart": ["security/test_gate.py::test_a_form_of_many_parts_is_not_json"],
}


@pytest.mark.parametrize("node", sorted({node for nodes in [*RULES.values(), *HOLES.values()] for node in nodes}))
def test_the_test_of_a_rule_is_there(node) -> None:
    file, _, name = node.partition("::")
    assert re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text())


def test_every_rule_has_a_test_but_those_whose_subject_is_to_come() -> None:
    assert RULES.keys() | SUBJECT_TO_COME == set(range(1, 18))
    assert not RULES.keys() & SUBJECT_TO_COME


DANGEROUS = r"\beval\(|\bexec\(|\bpickle\b|shell=True|os\.system|\bmarshal\b|from_string\(|\|safe\b|Markup\("
UNSAFE_YAML = r"(?m)^import yaml$(?s:.)*yaml\.(load|unsafe_load|full_load)\("  # ruamel's is safe by default


def test_our_own_code_runs_no_code_from_data() -> None:
    files = [path for package in ("api", "models", "pipelines", "workers") for path in (ROOT / package).rglob("*.*")]
    texts = {path: path.read_text() for path in files if path.suffix in (".py", ".html")}
    assert len(texts) > 100
    assert [path.name for path, text in texts.items() if re.search(DANGEROUS, text)] == []
    assert [path.name for path, text in texts.items() if re.search(UNSAFE_YAML, text)] == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_dependency_is_pinned_with_its_hash_and_audited(lock) -> None:
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    pinned = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(pinned) > 30
    assert [line for line in pinned if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []
    makefile = (ROOT / "Makefile").read_text()
    assert "--require-hashes" in makefile and "pip-audit" in makefile
