"""What a login at an MCP server brings."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas import AnswerSchema

LONGEST = 4096  # characters of what a browser comes back with


class McpLoginSchema(AnswerSchema):
    authorization_url = fields.Str(required=True)
    expires_in = fields.Int(required=True, metadata={"description": "seconds"})


class McpLandingSchema(ma.Schema):
    """What a server sends a browser back with; it may add more."""

    class Meta:
        unknown = ma.EXCLUDE

    state = fields.Str(required=True, validate=validate.Length(1, LONGEST))
    code = fields.Str(load_default="", validate=validate.Length(max=LONGEST))
    iss = fields.Str(load_default="", validate=validate.Length(max=LONGEST))
    error = fields.Str(load_default="", validate=validate.Length(max=LONGEST))

    @ma.validates_schema
    def check_outcome(self, data, **_) -> None:
        if not (data.get("code") or data.get("error")):
            raise ma.ValidationError("required, or error", "code")
