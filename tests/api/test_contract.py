"""The served document against the server: schemathesis tries what the document allows, and what it does not."""

from __future__ import annotations

import contextlib

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from models import config
from tests import github
from tests.api import factories
from tests.api.conftest import AUTH, on_sqlite


def no_fault_of_ours(context, response, case):
    """Nobody is there to be asked: 502 says so where the document has it, which another check looks at."""
    return None if response.status_code == 502 else not_a_server_error(context, response, case)


CHECKS = [
    no_fault_of_ours,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.unsupported_method,
    checks.ignored_auth,
]
REFUSALS = [400, 401, 403, 404, 405, 409, 412, 413, 415, 421, 422]
CONFIG = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}})
PARTS = 8  # side by side
SEARCH = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@on_sqlite
@pytest.mark.timeout(400)  # seconds; it grows with every route
@pytest.mark.parametrize("part", range(PARTS))
def test_the_server_keeps_to_its_document(app, run_id, environment, part):
    factories.visit(run_id, "FIX")
    document = schemathesis.openapi.from_wsgi("/openapi.json", app, config=CONFIG)
    operations = [found.ok() for found in document.get_all_operations() if not is_stream(found.ok())]
    assert len(operations) > 150
    for operation in operations[part::PARTS]:
        for mode in GenerationMode:
            attempt(operation, mode)


@pytest.fixture
def environment(settings):
    """A webhook secret: without one every delivery would be refused as such."""
    settings.setenv("GITHUB_WEBHOOK_SECRET", github.SECRET)
    config.get.cache_clear()


def is_stream(operation) -> bool:
    """It does not end."""
    answer = operation.definition.raw["responses"].get("200", {})
    return "text/event-stream" in answer.get("content", {})


def attempt(operation, mode: GenerationMode) -> None:
    @SEARCH
    @given(case=operation.as_strategy(generation_mode=mode))
    def search(case):
        # A wrong query may be one that vanishes on its way (an empty list), so only wrong bodies must be refused.
        body = case.meta.components.get(ParameterLocation.BODY)
        wrong = body is not None and body.mode is GenerationMode.NEGATIVE
        case.call_and_validate(headers=AUTH, checks=[*CHECKS, *([checks.negative_data_rejection] if wrong else [])])

    with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with an operation that takes nothing
        search()
