"""Chats: sessions with an agent, and the messages in them."""

from __future__ import annotations

from typing import Any

from flask import g
from flask.views import MethodView

from api import agent_views, auth
from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.idempotency import idempotent
from api.paging import decode, link
from api.resources import chat_schemas as schemas
from api.resources.runs import usable_project
from models import chat_views, chats
from models.errors import Conflict
from workers import chats as commands

blueprint = Blueprint("chat", "chat", url_prefix="/v1/chat", description="Talking with an agent")


@blueprint.route("/sessions")
class ChatSessions(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.ChatFilterSchema, location="query")
    @blueprint.response(200, schemas.SessionSchema(many=True))
    def get(self, query):
        """Sessions, those with the latest activity first"""
        cursor, limit, counted = decode(query.pop("cursor")), query.pop("limit"), query.pop("count")
        page, headers = link(chat_views.page(limit + 1, cursor, **query), limit, chat_views.key)
        if counted:
            headers["X-Total-Count"] = str(chat_views.count(**query))
        return [chat_views.session(row) for row in page], headers

    @needs("run")
    @idempotent
    @blueprint.arguments(schemas.StartChatSchema, example=schemas.START_EXAMPLE)
    @blueprint.response(201, schemas.StartedSchema)
    @blueprint.errors(404, 409, 429)
    def post(self, body):
        """Open a session with an agent"""
        agent_id = body.pop("agent_id")
        refuse_disabled(agent_id)
        if body["project_id"] is not None:
            usable_project(body["project_id"])
        made = commands.start(agent_id, **body, created_by=g.token.name)
        session_id = made["session_id"]
        shown = chat_views.session(chats.get(session_id)) | {"messages": [], "first_message": made["first"]}
        return shown, located(session_id)


def refuse_disabled(agent_id: str) -> None:
    """An agent whose files cannot be read talks to nobody. Raises NotFound, Conflict."""
    agent = agent_views.find(agent_id)
    if not agent.valid:
        raise Conflict(f"{agent_id} cannot work: {'; '.join(agent.problems)}", "agent_disabled")


def located(session_id: str) -> dict[str, str]:
    return {"Location": f"/v1/chat/sessions/{session_id}"}


@blueprint.route("/sessions/<id:session_id>")
class ChatSessionById(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.ChatLookSchema, location="query")
    @blueprint.response(200, schemas.SessionDetailSchema)
    @blueprint.errors(404)
    def get(self, query, session_id):
        """One session with its last messages; a running answer as far as it has got"""
        return detail(session_id, query["messages_limit"], query["before_seq"], query["superseded"])

    @needs("run")
    @blueprint.arguments(schemas.PurgeSchema, location="query")
    @blueprint.response(204)
    @blueprint.errors(404)
    def delete(self, query, session_id):
        """End a session; it stays readable unless purged"""
        if not query["purge"]:
            commands.end(session_id)
            return
        auth.demand("admin")
        with recorded("chat.purge", "chat_session", session_id):
            commands.purge(session_id)


def detail(session_id: str, limit: int, before_seq: int | None, superseded: bool) -> dict[str, Any]:
    """The Session with its messages."""
    shown = chat_views.session(chats.get(session_id))
    messages, truncated = chat_views.messages(session_id, limit, before_seq, superseded)
    return shown | {"messages": messages, "messages_truncated": truncated}


@blueprint.route("/sessions/<id:session_id>/message")
class ChatMessages(MethodView):
    @needs("run")
    @idempotent
    @blueprint.arguments(schemas.PostMessageSchema, example=schemas.MESSAGE_EXAMPLE)
    @blueprint.response(202, schemas.QueuedSchema, example=schemas.QUEUED_EXAMPLE)
    @blueprint.errors(404, 409, 429)
    def post(self, body, session_id):
        """Say something to the agent; the answer comes as events and as a message"""
        attachments = body.pop("attachment_ids")
        return commands.post(session_id, **body, attachments=attachments), located(session_id)


@blueprint.route("/sessions/<id:session_id>/stop")
class ChatStop(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.StopSchema, required=False, example={"clear_queue": False})
    @blueprint.response(200, schemas.StoppedSchema, example=schemas.STOPPED_EXAMPLE)
    @blueprint.errors(404, 409)
    def post(self, body, session_id):
        """End the answer that is being written, keeping the text it has"""
        return commands.stop(session_id, body["clear_queue"])


@blueprint.route("/sessions/<id:session_id>/regenerate")
class ChatRegenerate(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.RegenerateSchema, required=False, example=schemas.REGENERATE_EXAMPLE)
    @blueprint.response(202, schemas.QueuedSchema, example=schemas.QUEUED_EXAMPLE)
    @blueprint.errors(404, 409)
    def post(self, body, session_id):
        """Answer a message anew, or as if something else had been said; what followed it is superseded"""
        return commands.regenerate(session_id, **body), located(session_id)


@blueprint.route("/sessions/<id:session_id>/fork")
class ChatFork(MethodView):
    @needs("run")
    @blueprint.arguments(schemas.ForkChatSchema, required=False, example=schemas.FORK_EXAMPLE)
    @blueprint.response(201, schemas.SessionDetailSchema)
    @blueprint.errors(404, 429)
    def post(self, body, session_id):
        """A new session that begins with what was said here"""
        made = commands.fork(session_id, **body, created_by=g.token.name)
        return detail(made, 200, None, False), located(made)
