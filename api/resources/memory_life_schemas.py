"""What requests about the life of memories say: versions, votes, gaps, the graph, proposals, recall tests."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.paging import CatalogueSchema
from api.resources.memory_schemas import CONTENT, LONGEST_QUERY
from api.schemas import MAX_SAFE, AnswerSchema, EitherSpelling, Flag, RequestSchema, integer, query_integer, slug, text
from models.errors import Invalid

SUPERSEDE_EXAMPLE = {"content": "We ship on Fridays from now on.", "note": "decided by the team"}
CONTEXT_EXAMPLE = {"task": "Plan the next release", "agent_id": "architect", "limit": 5}
TESTS_EXAMPLE = [{"query": "when do we ship?", "expect": ["decision/release-day.md"]}]


class MemoryVersionSchema(AnswerSchema):
    n = fields.Int(required=True)
    version = fields.Str(required=True)
    source = fields.Str(required=True, metadata={"enum": ["api", "agent", "disk"]})
    author = fields.Str(required=True, allow_none=True)
    created_at = fields.Int(required=True)
    size_bytes = fields.Int(required=True)
    current = fields.Bool(required=True)


class MemoryVersionDetailSchema(MemoryVersionSchema):
    content = fields.Str(required=True)
    diff = fields.Str(required=True)


class SupersedeSchema(EitherSpelling):
    """`content` of the new memory, or the id of one that is there."""

    content = text(CONTENT)
    by = fields.Str(validate=validate.Length(1, 64))
    valid_from = integer(0, MAX_SAFE)
    note = text(1000)

    @ma.validates_schema
    def _one_of_them(self, data: dict[str, Any], **_: Any) -> None:
        if ("content" in data) == ("by" in data):
            raise ma.ValidationError("content or by, one of them", "content")


class RateSchema(EitherSpelling):
    useful = Flag(required=True)
    run_id = fields.Str(validate=validate.Length(1, 64))
    agent_id = slug()


class ContextSchema(EitherSpelling):
    """`task`, also called `query`."""

    ALIASES = {"query": "task"}

    task = text(LONGEST_QUERY, required=True)
    agent_id = slug()
    limit = integer(1, 100, load_default=5)
    budget = integer(50, 100_000, load_default=4000, metadata={"description": "tokens"})
    include_shared = Flag(load_default=True)


class ContextItemSchema(AnswerSchema):
    id = fields.Str(required=True, allow_none=True)
    agent_id = fields.Str(required=True)
    filename = fields.Str(required=True)
    title = fields.Str(required=True)
    score = fields.Float(required=True)
    passage = fields.Str(required=True)


class MemoryContextSchema(AnswerSchema):
    context = fields.Str(required=True, metadata={"description": "Markdown with the paths of its sources"})
    entries = fields.Int(required=True)
    tokens = fields.Int(required=True)
    items = fields.List(fields.Nested(ContextItemSchema), required=True)


class GapFilterSchema(CatalogueSchema):
    agent_id = slug(load_default=None)


class GapSchema(AnswerSchema):
    id = fields.Str(required=True)
    agent_id = fields.Str(required=True, allow_none=True, metadata={"description": "null: asked of all vaults"})
    question = fields.Str(required=True)
    count = fields.Int(required=True)
    first_at = fields.Int(required=True)
    last_at = fields.Int(required=True)
    resolved_at = fields.Int(required=True, allow_none=True)
    task_id = fields.Str(required=True, allow_none=True)


class GapTaskSchema(EitherSpelling):
    project_id = fields.Str(required=True, validate=validate.Length(1, 64))


class ReindexSchema(EitherSpelling):
    agent_id = slug(allow_none=True)
    full = Flag(load_default=False, metadata={"description": "Read every note again, not only those that differ"})


class MemoryVaultStatusSchema(AnswerSchema):
    agent_id = fields.Str(required=True)
    files = fields.Int(required=True)
    indexed = fields.Int(required=True)
    pending = fields.Int(required=True)
    generation = fields.Int(required=True)
    problems = fields.List(fields.Str(), required=True)


class MemoryStatusSchema(AnswerSchema):
    vaults = fields.List(fields.Nested(MemoryVaultStatusSchema), required=True)
    model = fields.Str(required=True, allow_none=True)
    dimensions = fields.Int(required=True, allow_none=True)
    mode = fields.Str(required=True, metadata={"enum": ["hybrid", "keyword"]})


class MemoryGraphQuerySchema(ma.Schema):
    center = fields.Str(load_default=None, validate=validate.Length(1, 320))
    hops = query_integer(1, 3, load_default=1)


class NeighborsQuerySchema(ma.Schema):
    max_hops = query_integer(1, 3, load_default=1)


class MemoryGraphSchema(AnswerSchema):
    nodes = fields.List(fields.Dict(keys=fields.Str()), required=True)
    edges = fields.List(fields.Dict(keys=fields.Str()), required=True)
    stats = fields.Dict(keys=fields.Str(), required=True)


class ChangesetSchema(AnswerSchema):
    id = fields.Str(required=True)
    agent_id = fields.Str(required=True)
    status = fields.Str(required=True, metadata={"enum": ["queued", "proposed", "applied", "empty"]})
    changes = fields.List(fields.Dict(keys=fields.Str()), required=True)
    created_by = fields.Str(required=True, allow_none=True)
    created_at = fields.Int(required=True)
    applied_at = fields.Int(required=True, allow_none=True)


class RecallTestSchema(RequestSchema):
    query = text(LONGEST_QUERY, required=True)
    expect = fields.List(text(320), required=True, validate=validate.Length(1, 50))


class RecallResultSchema(AnswerSchema):
    tests = fields.Int(required=True)
    recall5 = fields.Float(required=True, allow_none=True, data_key="recall@5")
    recall10 = fields.Float(required=True, allow_none=True, data_key="recall@10")
    misses = fields.List(fields.Dict(keys=fields.Str()), required=True)


def few(tests: list[Any]) -> list[Any]:
    """Raises Invalid for more tests than a vault may have."""
    if len(tests) > 500:
        raise Invalid("A vault has at most 500 recall tests", errors={"tests": ["more than 500"]})
    return tests
