"""What requests about memory say, and what is shown of it."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.paging import PageSchema
from api.schemas import MAX_SAFE, AnswerSchema, EitherSpelling, query_integer, slug, text
from models.errors import Invalid
from models.memory_views import SORTS
from pipelines import notes
from workers.memory_search import MODES

LONGEST_QUERY = 2000
CONTENT = 262_144
CREATE_EXAMPLE = {
    "agent_id": "architect",
    "title": "Search index design",
    "content": "We use one table per vault, see [[decision/tokenizer]].",
    "type": "decision",
    "tags": ["search", "sqlite"],
}


STORE_EXAMPLE = {"agent_id": "architect", "category": "decision", "title": "Release day", "content": "Thursdays."}


def choices(**options: Any) -> fields.List:
    """A parameter that may be given several times."""
    return fields.List(fields.Str(validate=validate.Length(1, 300)), load_default=list, **options)


class MemoryFilterSchema(PageSchema):
    limit = query_integer(1, 1000, load_default=500)
    category = choices()
    type = choices()
    tag = choices()
    status = fields.List(fields.Str(validate=validate.OneOf(notes.STATUSES)), load_default=list)
    directory = choices()
    sort = fields.Str(load_default="updated", validate=validate.OneOf(list(SORTS)))


class SharedSearchSchema(ma.Schema):
    """`query`, also called `q`, and what narrows it down."""

    query = text(LONGEST_QUERY)
    q = text(LONGEST_QUERY, metadata={"description": "The same as query"})
    limit = query_integer(1, 100, load_default=20)
    category = choices()
    type = choices()
    tag = choices()
    mode = fields.Str(load_default="hybrid", validate=validate.OneOf(MODES))
    as_of = query_integer(0, MAX_SAFE, load_default=None, metadata={"description": "ms: what held then"})
    include_superseded = fields.Bool(load_default=False)
    explain = fields.Bool(load_default=False)
    min_score = fields.Float(load_default=0.0, validate=validate.Range(0, 1))
    log_gap = fields.Bool(load_default=False, metadata={"description": "Note the question if nothing answers it"})

    NEEDED = False

    @ma.post_load
    def _one_question(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        given = {data.pop(name) for name in ("query", "q") if name in data}
        if len(given) > 1:
            reason = {"q": ["another than query"]}
            raise Invalid("query and q say different things", "conflicting_fields", reason)
        if not given and self.NEEDED:
            raise Invalid("query: Missing data for required field.", errors={"query": ["required"]})
        return data | {"query": given.pop() if given else None}


class VaultSearchSchema(SharedSearchSchema):
    NEEDED = True


class SearchSchema(VaultSearchSchema):
    agent_id = slug(load_default=None, metadata={"description": "A vault; without it all that the token may read"})
    include_shared = fields.Bool(load_default=False, metadata={"description": "With agent_id: also shared"})


class MemoryVaultSchema(AnswerSchema):
    agent_id = fields.Str(required=True)
    file_count = fields.Int(required=True)
    total_size_bytes = fields.Int(required=True)
    kind = fields.Str(required=True, metadata={"enum": ["agent", "shared"]})
    updated_at = fields.Int(required=True, allow_none=True)
    pending = fields.Int(required=True, metadata={"description": "Notes that wait for their vectors"})


class MemorySchema(AnswerSchema):
    """A memory object."""

    id = fields.Str(required=True, allow_none=True, metadata={"description": "null until the API writes the note"})
    agent_id = fields.Str(required=True, metadata={"description": "Its vault"})
    filename = fields.Str(required=True)
    directory = fields.Str(required=True, allow_none=True)
    category = fields.Str(required=True, allow_none=True)
    title = fields.Str(required=True, allow_none=True)
    type = fields.Str(required=True, allow_none=True)
    tags = fields.List(fields.Str(), required=True)
    author = fields.Str(required=True, allow_none=True)
    created_at = fields.Int(required=True, allow_none=True)
    updated_at = fields.Int(required=True)
    valid_from = fields.Int(required=True, allow_none=True)
    valid_to = fields.Int(required=True, allow_none=True)
    superseded_by = fields.Str(required=True, allow_none=True)
    status = fields.Str(required=True, metadata={"enum": list(notes.STATUSES)})
    size_bytes = fields.Int(required=True)
    preview = fields.Str(required=True, allow_none=True)
    usefulness = fields.Float(required=True)
    recalls = fields.Int(required=True)
    version = fields.Str(required=True)
    indexed = fields.Bool(required=True)
    problems = fields.List(fields.Str(), required=True)


class HitSchema(MemorySchema):
    snippet = fields.Str(required=True)
    highlights = fields.List(fields.List(fields.Int()), required=True)
    score = fields.Float(required=True, allow_none=True)
    explain = fields.Dict(keys=fields.Str(), metadata={"description": "With explain=true"})


class MemoryLinkSchema(AnswerSchema):
    target = fields.Str(required=True)
    label = fields.Str(required=True, allow_none=True)
    type = fields.Str(required=True)
    resolved = fields.Str(required=True, allow_none=True)
    ambiguous = fields.Bool(required=True)


class BacklinkSchema(AnswerSchema):
    agent_id = fields.Str(required=True)
    filename = fields.Str(required=True)
    title = fields.Str(required=True)


class MemoryNoteSchema(MemorySchema):
    """A memory with its text."""

    content = fields.Str(required=True)
    body = fields.Str(required=True)
    metadata = fields.Dict(keys=fields.Str(), required=True)
    links = fields.List(fields.Nested(MemoryLinkSchema), required=True)
    backlinks = fields.List(fields.Nested(BacklinkSchema), required=True)


class NearDuplicateSchema(AnswerSchema):
    filename = fields.Str(required=True)
    id = fields.Str(required=True, allow_none=True)
    similarity = fields.Float(required=True)


class RememberedSchema(MemorySchema):
    duplicates = fields.List(fields.Nested(NearDuplicateSchema), required=True)


class CreateMemorySchema(EitherSpelling):
    agent_id = slug(required=True)
    content = text(CONTENT, required=True)
    title = text(notes.MAX_TITLE)
    type = text(notes.MAX_TYPE)
    category = text(notes.MAX_TYPE)
    tags = fields.List(text(notes.MAX_TAG), validate=validate.Length(max=notes.MAX_TAGS))
    author = text(200)
    links = fields.List(text(255), validate=validate.Length(max=100))
    valid_from = fields.Int(strict=True, validate=validate.Range(0, MAX_SAFE))
    supersedes = fields.List(text(255), validate=validate.Length(max=20))
    filename = text(notes.MAX_PATH_BYTES)
    on_duplicate = fields.Str(load_default="warn", validate=validate.OneOf(["warn", "reject", "allow"]))
    metadata = fields.Dict(keys=fields.Str(), load_default=dict)


class WriteNoteSchema(EitherSpelling):
    content = text(CONTENT, required=True)


class WriteQuerySchema(ma.Schema):
    create = fields.Bool(load_default=False)


class WrittenNoteSchema(MemorySchema):
    size = fields.Int(required=True)
    updated = fields.Bool(required=True)


class NewFileSchema(WriteNoteSchema):
    filename = text(notes.MAX_PATH_BYTES)


class NewFileAnswerSchema(MemorySchema):
    size = fields.Int(required=True)
    created = fields.Bool(required=True)


class StoreSchema(EitherSpelling):
    agent_id = slug(required=True)
    category = text(notes.MAX_TYPE, required=True)
    title = text(notes.MAX_TITLE, required=True)
    content = text(CONTENT, required=True)
    frontmatter = fields.Dict(keys=fields.Str(), load_default=dict)
