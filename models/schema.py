"""Every table, and the migrations that bring a database up to them."""

from __future__ import annotations

from pathlib import Path

from playhouse.migrations import Runner

from models import database
from models.agents import AgentVersion
from models.approvals import Approval
from models.audit import AuditRow
from models.calls import LLMCall, ToolUse
from models.chats import ChatMessage, ChatSession
from models.crypto import Canary
from models.deliveries import Delivery
from models.events import StoredEvent
from models.firings import Firing, GitHubComment
from models.github_approvals import GitHubApproval
from models.github_apps import GitHubApp
from models.github_cache import GitHubInstallation, GitHubQuestion, GitHubRepository, GitHubState
from models.idempotency import IdempotencyKey
from models.leases import Lease
from models.logins import Login, LoginLink
from models.mcp import McpServer, McpTool
from models.mcp_calls import McpCall
from models.mcp_grants import McpGrant
from models.mcp_logins import McpLogin
from models.memories import Memory, MemoryChunk, MemoryLink, MemoryName, MemoryVersion, MemoryWords
from models.memory_life import Changeset, MemoryGap, MemoryRecall, MemoryVote, RecallTests
from models.memory_vaults import Vault
from models.outbox import Outbox
from models.projects import BoardColumn, Project, ProjectAgent, Workflow
from models.provider_checks import ProviderState, ProviderTest
from models.providers import StoredProvider
from models.runs import Run, RunAgent, RunInput, RunTag
from models.secrets import Secret, SecretGrant, SecretUse, SecretVersion
from models.settings import StoredSetting
from models.skill_grants import SkillGrant, SkillPin
from models.skill_imports import SkillImport
from models.skills import Skill, SkillBlob, SkillVersion
from models.snapshots import Snapshot
from models.tasks import Dependency, Task, TaskEvent, TaskRun
from models.tokens import Ticket, Token
from models.triggers import Trigger
from models.versions import Version
from models.visits import Attempt, VisitRow
from models.workers import Worker

TABLES = [
    AgentVersion,
    Approval,
    Attempt,
    AuditRow,
    BoardColumn,
    Canary,
    Changeset,
    ChatMessage,
    ChatSession,
    Delivery,
    Dependency,
    Firing,
    GitHubApp,
    GitHubApproval,
    GitHubComment,
    GitHubInstallation,
    GitHubQuestion,
    GitHubRepository,
    GitHubState,
    IdempotencyKey,
    LLMCall,
    Lease,
    Login,
    LoginLink,
    McpCall,
    McpGrant,
    McpLogin,
    McpServer,
    McpTool,
    Memory,
    MemoryChunk,
    MemoryGap,
    MemoryLink,
    MemoryName,
    MemoryRecall,
    MemoryVersion,
    MemoryVote,
    MemoryWords,
    Outbox,
    Project,
    ProjectAgent,
    ProviderState,
    ProviderTest,
    RecallTests,
    Run,
    RunAgent,
    RunInput,
    RunTag,
    Secret,
    SecretGrant,
    SecretUse,
    SecretVersion,
    Skill,
    SkillBlob,
    SkillGrant,
    SkillImport,
    SkillPin,
    SkillVersion,
    Snapshot,
    StoredEvent,
    StoredProvider,
    StoredSetting,
    Task,
    TaskEvent,
    TaskRun,
    Ticket,
    Token,
    ToolUse,
    Trigger,
    Vault,
    Version,
    VisitRow,
    Worker,
    Workflow,
]


MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_340_001  # of PostgreSQL's advisory locks: one process migrates at a time


def migrate() -> list[str]:
    """Applies the migrations that are missing; returns their names. Every process may call it. Raises Unavailable."""
    with database.connection():
        runner = Runner(database.db.obj, str(MIGRATIONS))
        if all(migration.applied for migration in runner.status()):
            return []
        with database.transaction():
            if database.dialect() == "postgres":
                database.execute("SELECT pg_advisory_xact_lock(?)", (LOCK,))
            return list(runner.up())
