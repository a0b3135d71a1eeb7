"""What requests about skills say, and what is shown of them."""

from __future__ import annotations

import base64
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.paging import CatalogueSchema
from api.schemas import AnswerSchema, EitherSpelling, RequestSchema, slug, text
from models.skill_imports import STATUSES
from models.skills import SCOPES
from pipelines import skills as pages

SOURCES = ("builtin", "api", "disk", "import")
LONGEST_DOCUMENT = pages.MAX_HEAD_BYTES + pages.MAX_CONTENT_BYTES
CREATE_EXAMPLE = {
    "name": "release-notes",
    "description": "Write release notes. Use it when a version is cut.",
    "content": "# Release notes\n\n1. Read the commits since the last tag.",
    "tags": ["writing"],
}
IMPORT_EXAMPLE = {"url": "https://github.com/example/skills", "path": "skills/release-notes"}
PARSE_EXAMPLE = {"content": "---\nname: greet\ndescription: Greets.\n---\n\nSay hello."}


class CompanionSchema(EitherSpelling):
    """A companion: `content` as text, or `content_base64`."""

    path = fields.Str(required=True, validate=validate.Length(1, pages.MAX_PATH_BYTES))
    content = fields.Str()
    content_base64 = fields.Str()

    @ma.post_load
    def _decoded(self, data: dict[str, str], **_: Any) -> tuple[str, bytes]:
        if ("content" in data) == ("content_base64" in data):
            raise ma.ValidationError("content or content_base64, one of them", "content")
        if "content" in data:
            return data["path"], data["content"].encode()
        try:
            return data["path"], base64.b64decode(data["content_base64"], validate=True)
        except ValueError:
            raise ma.ValidationError("not base64", "content_base64") from None


def files(**options) -> fields.List:
    return fields.List(fields.Nested(CompanionSchema), validate=validate.Length(max=pages.MAX_FILES), **options)


def tag() -> fields.Str:
    return fields.Str(validate=validate.Length(1, pages.MAX_TAG))


class SkillFilterSchema(CatalogueSchema):
    enabled = fields.Bool(load_default=None)
    scope = fields.Str(load_default=None, validate=validate.OneOf(SCOPES))
    tag = fields.Str(load_default=None)
    q = fields.Str(load_default=None, metadata={"description": "Part of the name or description"})
    content = fields.Bool(load_default=True, metadata={"description": "false: `content` is null"})


class SkillQuerySchema(ma.Schema):
    version = fields.Int(load_default=None, validate=validate.Range(1, 2**31 - 1))


class CreatorSchema(ma.Schema):
    created_by = fields.Str(metadata={"description": "Ignored"})


class UpdateSkillSchema(EitherSpelling):
    description = text(pages.MAX_DESCRIPTION)
    content = text(LONGEST_DOCUMENT, metadata={"description": "May begin with front matter"})
    tags = fields.List(
        fields.Str(validate=validate.Length(1, pages.MAX_TAG)), validate=validate.Length(max=pages.MAX_TAGS)
    )
    enabled = fields.Bool(truthy={True}, falsy={False})
    scope = fields.Str(validate=validate.OneOf(SCOPES))
    owner_agent_id = slug(allow_none=True)
    default_grant = fields.Bool(truthy={True}, falsy={False})
    files = files(metadata={"description": "The whole set"})
    has_files = fields.Raw(allow_none=True, metadata={"description": "Ignored"})

    NULLABLE = frozenset({"owner_agent_id"})

    @ma.post_load
    def _by_path(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data.pop("has_files", None)
        if "files" in data:
            if len(dict(data["files"])) < len(data["files"]):
                raise ma.ValidationError("a path is given twice", "files")
            data["files"] = dict(data["files"])
        return data


class CreateSkillSchema(UpdateSkillSchema):
    name = fields.Str(required=True, validate=validate.Length(1, 200))
    description = text(pages.MAX_DESCRIPTION, required=True)
    content = text(LONGEST_DOCUMENT, required=True, metadata={"description": "May begin with front matter"})


class EnabledSchema(RequestSchema):
    enabled = fields.Bool(truthy={True}, falsy={False})


class EnabledQuerySchema(ma.Schema):
    enabled = fields.Str(load_default=None, validate=validate.OneOf(["true", "false"]))


class RevokeQuerySchema(ma.Schema):
    legacy = fields.Bool(load_default=False, metadata={"description": "true: 200 with an object instead of 204"})


class ParseSchema(RequestSchema):
    content = fields.Str(required=True, validate=validate.Length(max=LONGEST_DOCUMENT))


class FileQuerySchema(ma.Schema):
    file = fields.Str(load_default=None)


class DiffQuerySchema(ma.Schema):
    to = fields.Int(load_default=None, validate=validate.Range(1, 2**31 - 1))


class ImportSchema(EitherSpelling):
    url = fields.Str(required=True, validate=validate.Length(1, 2000))
    ref = fields.Str(validate=validate.Regexp(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z"))
    path = fields.Str(validate=validate.Length(1, 500))
    sha256 = fields.Str(validate=validate.Regexp(r"[0-9a-f]{64}\Z"))


class ListedFileSchema(AnswerSchema):
    path = fields.Str(required=True)
    size = fields.Int(required=True)
    sha256 = fields.Str(required=True)


class SkillSchema(AnswerSchema):
    """A Skill object."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    description = fields.Str(required=True)
    tags = fields.List(fields.Str(), required=True)
    content = fields.Str(required=True, allow_none=True)
    enabled = fields.Bool(required=True)
    scope = fields.Str(required=True, metadata={"enum": list(SCOPES)})
    owner_agent_id = fields.Str(required=True, allow_none=True)
    default_grant = fields.Bool(required=True)
    has_files = fields.Bool(required=True)
    files = fields.List(fields.Nested(ListedFileSchema), required=True)
    frontmatter = fields.Dict(keys=fields.Str(), required=True)
    version = fields.Int(required=True)
    sha256 = fields.Str(required=True)
    source = fields.Str(required=True, metadata={"enum": list(SOURCES)})
    created_by = fields.Str(required=True, allow_none=True)
    uses = fields.Int(required=True)
    last_used_at = fields.Int(required=True, allow_none=True)
    valid = fields.Bool(required=True)
    problems = fields.List(fields.Str(), required=True)
    created_at = fields.Int(required=True)
    updated_at = fields.Int(required=True)


class SkillVersionSchema(AnswerSchema):
    version = fields.Int(required=True)
    sha256 = fields.Str(required=True)
    created_by = fields.Str(required=True, allow_none=True)
    created_at = fields.Int(required=True)
    current = fields.Bool(required=True)


class SkillVersionDetailSchema(SkillVersionSchema):
    name = fields.Str(required=True)
    description = fields.Str(required=True)
    tags = fields.List(fields.Str(), required=True)
    content = fields.Str(required=True)
    frontmatter = fields.Dict(keys=fields.Str(), required=True)
    files = fields.List(fields.Nested(ListedFileSchema), required=True)


class SkillDiffSchema(AnswerSchema):
    name = fields.Str(required=True)
    version = fields.Int(required=True)
    to = fields.Int(required=True)
    diff = fields.Str(required=True, metadata={"description": "Unified, of SKILL.md"})
    files = fields.Dict(
        keys=fields.Str(),
        values=fields.Str(),
        required=True,
        metadata={"description": "added, removed, changed by path"},
    )


class ParsedSchema(AnswerSchema):
    valid = fields.Bool(required=True)
    problems = fields.List(fields.Str(), required=True)
    name = fields.Str(required=True)
    description = fields.Str(required=True)
    tags = fields.List(fields.Raw(), required=True)
    enabled = fields.Bool(required=True)
    content = fields.Str(required=True)
    frontmatter = fields.Dict(keys=fields.Str(), required=True)


class AgentSkillSchema(AnswerSchema):
    id = fields.Str(required=True)
    description = fields.Str(required=True)
    tags = fields.List(fields.Str(), required=True)
    enabled = fields.Bool(required=True)
    scope = fields.Str(required=True, metadata={"enum": list(SCOPES)})
    owner_agent_id = fields.Str(required=True, allow_none=True)
    granted_by = fields.Str(required=True, allow_none=True)
    granted_at = fields.Int(required=True, allow_none=True)


class ManifestEntrySchema(AnswerSchema):
    id = fields.Str(required=True)
    description = fields.Str(required=True)
    tags = fields.List(fields.Str(), required=True)
    version = fields.Int(required=True)


class ManifestSchema(AnswerSchema):
    skills = fields.List(fields.Nested(ManifestEntrySchema), required=True)
    manifest_text = fields.Str(required=True)


class RevokedSchema(AnswerSchema):
    revoked = fields.Str(required=True)
    agent_id = fields.Str(required=True)


class ContentSchema(AnswerSchema):
    id = fields.Str(required=True)
    version = fields.Int(required=True)
    file = fields.Str(required=True, allow_none=True)
    content = fields.Str(required=True, allow_none=True)
    content_base64 = fields.Str(required=True, allow_none=True, metadata={"description": "of a file that is not text"})


class ProposedSchema(AnswerSchema):
    name = fields.Str(required=True)
    description = fields.Str(required=True)
    files = fields.List(fields.Nested(ListedFileSchema), required=True)
    problems = fields.List(fields.Str(), required=True)
    replaces = fields.Int(required=True, allow_none=True)


class SkillImportSchema(AnswerSchema):
    id = fields.Str(required=True)
    status = fields.Str(required=True, metadata={"enum": list(STATUSES)})
    url = fields.Str(required=True)
    ref = fields.Str(required=True, allow_none=True)
    path = fields.Str(required=True, allow_none=True)
    archive_sha256 = fields.Str(required=True, allow_none=True)
    error = fields.Str(required=True, allow_none=True)
    created_by = fields.Str(required=True, allow_none=True)
    created_at = fields.Int(required=True)
    updated_at = fields.Int(required=True)
    skills = fields.List(fields.Nested(ProposedSchema), required=True)
