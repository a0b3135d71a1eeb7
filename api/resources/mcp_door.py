"""`/mcp`: this platform as an MCP server (streamable HTTP, without sessions and streams), so that any client drives it.

Behind the same gate as everything else. Written by hand: the SDK's server is asynchronous and costs every API process
54 MB, for four messages that are questions with answers.
"""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, request

from api import bodies, mcp_tools
from api.blueprint import needs
from workers.version import VERSION

blueprint = Blueprint("mcp_door", __name__)
VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")  # of the protocol, newest first
INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32600, -32601, -32602  # JSON-RPC 2.0, section 5.1
ABOUT = "Runs teams of AI agents through pipelines. Start one with run_pipeline, then ask run_status."


@blueprint.post("/mcp")
@needs("read")
def mcp_door():
    """One message of the protocol"""
    message = bodies.parse(request.get_data())
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or not isinstance(message.get("method"), str):
        return sent(error(None, INVALID_REQUEST, "not a request of JSON-RPC 2.0"), 400)
    if "id" not in message:  # a notification, which wants no answer
        return Response(status=202)
    return sent(answered(message))


def answered(message: dict[str, Any]) -> dict[str, Any]:
    number, params = message["id"], message.get("params", {})
    if not isinstance(params, dict) or not isinstance(number, str | int):
        return error(None, INVALID_PARAMS, "params must be an object, and id a text or a number")
    method = METHODS.get(message["method"])
    if method is None:
        return error(number, NO_METHOD, f"no method {message['method'][:100]}")
    try:
        return {"jsonrpc": "2.0", "id": number, "result": method(params)}
    except ValueError as problem:
        return error(number, INVALID_PARAMS, str(problem))


def initialize(params: dict[str, Any]) -> dict[str, Any]:
    wanted = params.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": {"name": "djinnbot", "version": VERSION},
        "instructions": ABOUT,
    }


def list_tools(_: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [tool.as_dict() for tool in mcp_tools.DECLARED]}


def call_tool(params: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError."""
    name, given = params.get("name"), params.get("arguments", {})
    if name not in mcp_tools.TOOLS or not isinstance(given, dict):
        raise ValueError(f"there is no tool {str(name)[:100]!r}, or its arguments are no object")
    result, failed = mcp_tools.called(name, given)
    text = orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()
    return {"content": [{"type": "text", "text": text}], "structuredContent": result, "isError": failed}


METHODS = {"initialize": initialize, "ping": lambda _: {}, "tools/list": list_tools, "tools/call": call_tool}


def error(number: Any, code: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}}


def sent(message: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(message), status, content_type="application/json")
