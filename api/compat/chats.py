"""Aliases of the routes of chats, below the agent that one talks with."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import g
from flask.views import MethodView
from marshmallow import fields, validate

from api.blueprint import needs
from api.compat.blueprint import Aliases, OlderSchema
from api.resources.chat import located, refuse_disabled
from api.resources.chat_schemas import THINKING_LEVELS, ChatRequestSchema, PostMessageSchema, model
from api.schemas import query_integer, text
from models import chat_views, chats
from models.chats import ChatSession, SessionStatus
from models.errors import NotFound
from workers import chats as commands

blueprint = Aliases("alias_chats", "alias_chats", url_prefix="/v1/agents", description="Aliases: chats of an agent")
SHOWN = {SessionStatus.ENDED: "completed"}
STORED = {"completed": SessionStatus.ENDED}
STATUSES = ["active", "all", *SessionStatus, *STORED]
MOST_SKIPPED = 10_000


class OpenChatSchema(ChatRequestSchema):
    model = model()
    system_prompt_supplement = text(32_768, allow_none=True, load_default=None)
    thinking_level = fields.Str(allow_none=True, load_default=None, validate=validate.OneOf(THINKING_LEVELS))


class SayingSchema(PostMessageSchema):
    class Meta:
        exclude = ("if_busy",)


class ChatOffsetSchema(ma.Schema):
    status = fields.Str(load_default="all", validate=validate.OneOf(STATUSES))
    limit = query_integer(1, 100, load_default=50)
    offset = query_integer(0, MOST_SKIPPED, load_default=0)


@blueprint.route("/<id:agent_id>/chat/start")
class AliasChatStart(MethodView):
    @needs("run")
    @blueprint.arguments(OpenChatSchema, required=False, example={"model": "openai/gpt-4o-mini"})
    @blueprint.response(201, OlderSchema)
    @blueprint.errors(404, 409, 429)
    def post(self, body, agent_id):
        """As POST /chat/sessions"""
        refuse_disabled(agent_id)
        session_id = commands.start(agent_id, **body, created_by=g.token.name)["session_id"]
        return shown(chats.get(session_id)) | {"sessionId": session_id, "message": ""}, located(session_id)


@blueprint.route("/<id:agent_id>/chat/sessions")
class AliasChatSessions(MethodView):
    @needs("read")
    @blueprint.arguments(ChatOffsetSchema, location="query")
    @blueprint.response(200, OlderSchema)
    def get(self, query, agent_id):
        """As GET /chat/sessions?agent_id="""
        wanted = {"status": STORED.get(query["status"], query["status"]), "agent_id": agent_id}
        end = query["offset"] + query["limit"]
        found = chat_views.page(end + 1, None, **wanted)
        sessions = [shown(row) for row in found[query["offset"] : end]]
        return {"sessions": sessions, "total": chat_views.count(**wanted), "has_more": len(found) > end}


@blueprint.route("/<id:agent_id>/chat/<id:session_id>/status")
class AliasChatStatus(MethodView):
    @needs("read")
    @blueprint.response(200, OlderSchema)
    def get(self, agent_id, session_id):
        """Whether there is such a chat, and what it is at"""
        facts = dict.fromkeys(("messageCount", "model", "error", "createdAt", "lastActivityAt"))
        try:
            session = of_agent(agent_id, session_id)
        except NotFound:
            return facts | {"sessionId": session_id, "status": "not_found", "exists": False}
        return {
            "sessionId": session.id,
            "status": status_of(session),
            "exists": True,
            "messageCount": session.message_count,
            "model": session.model,
            "error": session.error,
            "createdAt": session.created_at,
            "lastActivityAt": session.last_activity_at,
        }


@blueprint.route("/<id:agent_id>/chat/<id:session_id>/message")
class AliasChatMessage(MethodView):
    @needs("run")
    @blueprint.arguments(SayingSchema, example={"message": "Hello"})
    @blueprint.response(202, OlderSchema)
    @blueprint.errors(404, 409, 429)
    def post(self, body, agent_id, session_id):
        """As POST /chat/sessions/{id}/message"""
        of_agent(agent_id, session_id)
        queued = commands.post(session_id, body["message"], model=body["model"], attachments=body["attachment_ids"])
        ids = {"userMessageId": queued["user_message_id"], "assistantMessageId": queued["assistant_message_id"]}
        return {"status": "queued", "sessionId": session_id, **ids}


@blueprint.route("/<id:agent_id>/chat/<id:session_id>/stop")
class AliasChatStop(MethodView):
    @needs("run")
    @blueprint.response(200, OlderSchema)
    @blueprint.errors(404, 409)
    def post(self, agent_id, session_id):
        """As POST /chat/sessions/{id}/stop"""
        commands.stop(of_agent(agent_id, session_id).id, False)
        return {"status": "stopped", "sessionId": session_id}


@blueprint.route("/<id:agent_id>/chat/<id:session_id>/end")
class AliasChatEnd(MethodView):
    @needs("run")
    @blueprint.response(200, OlderSchema)
    @blueprint.errors(404)
    def post(self, agent_id, session_id):
        """As DELETE /chat/sessions/{id}, also of one that has ended"""
        if of_agent(agent_id, session_id).status != SessionStatus.ENDED:
            commands.end(session_id)
        return {"status": "ended", "sessionId": session_id}


def of_agent(agent_id: str, session_id: str) -> ChatSession:
    """Raises NotFound, also for the chat of another agent."""
    session = chats.get(session_id)
    if session.agent_id != agent_id:
        raise NotFound(f"Chat session {session_id} not found", "session_not_found")
    return session


def shown(session: ChatSession) -> dict[str, Any]:
    return chat_views.session(session) | {"status": status_of(session)}


def status_of(session: ChatSession) -> str:
    return SHOWN.get(session.status, session.status)
