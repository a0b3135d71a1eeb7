"""The settings that the API keeps: one declaration each, from which validation, defaults and documents follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.setting_kinds import Amount, Flag, Integer, Kind, Mapping, OneOf, Several, Text

DAY_SECONDS = 86_400
THINKING_LEVELS = ("off", "minimal", "low", "medium", "high", "xhigh")
ASSOCIATIONS = ("OWNER", "MEMBER", "COLLABORATOR", "CONTRIBUTOR")
MODEL = Text(200)


@dataclass(frozen=True, slots=True)
class Key:
    """`nullable`: null is a value, not only the way back to the default."""

    name: str
    kind: Kind
    default: Any
    description: str
    unit: str | None = None
    nullable: bool = False

    def problem(self, value: Any) -> str | None:
        return None if value is None and self.nullable else self.kind.problem(value)

    def as_dict(self) -> dict[str, Any]:
        """Its line in the schema of the API."""
        shown = {"key": self.name, "type": self.kind.type, "nullable": self.nullable, "range": self.kind.range}
        return shown | {"default": self.default, "unit": self.unit, "description": self.description}


def _model(name: str, purpose: str) -> Key:
    return Key(name, MODEL, "", f"provider/model {purpose}; empty: the first configured provider's")


def _seconds(name: str, low: int, high: int, default: int, description: str, or_zero: bool = False) -> Key:
    return Key(name, Integer(low, high, or_zero), default, description, "seconds")


def _days(name: str, default: int, description: str) -> Key:
    return Key(name, Integer(1, 3650), default, description, "days")


def _usd(name: str, description: str) -> Key:
    return Key(name, Amount(), None, description, "USD", nullable=True)


DECLARED = (
    _model("defaultWorkingModel", "of agents that name none"),
    _model("defaultPlanningModel", "of agents that plan"),
    _model("defaultExecutorModel", "of agents at the steps of a run"),
    _model("defaultThinkingModel", "of agents that think hard"),
    Key("defaultWorkingModelThinkingLevel", OneOf(THINKING_LEVELS), "off", "how hard models think"),
    Key("defaultThinkingModelThinkingLevel", OneOf(THINKING_LEVELS), "medium", "how hard thinking models think"),
    Key("modelFallbacks", Mapping(MODEL, Several(MODEL, 5), 100), {}, "models that stand in for one that fails"),
    _seconds("defaultStepTimeoutSec", 1, DAY_SECONDS, 1800, "what an attempt at a step may take"),
    Key("defaultStepMaxRetries", Integer(0, 20), 2, "how often a failed step is repeated"),
    Key("chatIdleTimeoutMin", Integer(1, 10_080), 30, "a chat unused for this long is closed", "minutes"),
    _seconds("chatInactivityTimeoutSec", 5, DAY_SECONDS, 180, "a turn of a chat without a sign of life is given up"),
    _seconds("chatHardTimeoutSec", 5, DAY_SECONDS, 900, "what a turn of a chat may take"),
    Key("maxAutoContinuations", Integer(0, 1000), 50, "how often a chat goes on by itself"),
    _seconds("reaperIntervalSec", 5, 3600, 60, "between looks for chats to close"),
    _usd("runBudgetUsd", "what a run may cost that names no limit"),
    _usd("dailyBudgetUsd", "what all runs together may cost in a day (UTC)"),
    _seconds("taskClaimTtlSec", 30, 604_800, 1800, "a claim on a task ends after this; 0: never", or_zero=True),
    Key("memoryHistoryPerNote", Integer(1, 10_000), 100, "versions kept of a note"),
    Key("memoryRecencyHalfLifeDays", Integer(1, 3650), 90, "after which a memory counts half", "days"),
    _seconds("mcpHealthIntervalSec", 10, 3600, 60, "between checks of an MCP server"),
    _seconds(
        "mcpIdleShutdownSec", 0, DAY_SECONDS, 900, "an MCP server that nobody calls for this long sleeps; 0: never"
    ),
    Key("mcpAutoEnableNewTools", Flag(), False, "whether tools that an MCP server adds may be used at once"),
    Key("githubReconcileMin", Integer(5, 1440), 60, "between looks for missed deliveries", "minutes"),
    Key("githubReports", OneOf(("off", "check", "comment", "both")), "both", "how a run reports to GitHub"),
    Key(
        "githubTrustedAssociations",
        Several(OneOf(ASSOCIATIONS), len(ASSOCIATIONS)),
        ["OWNER", "MEMBER", "COLLABORATOR"],
        "who may start work from GitHub",
    ),
    Key("githubTrustedUsers", Several(Text(100), 500), [], "further logins that may"),
    _days("eventRetentionDays", 30, "events of finished runs are kept this long"),
    _days("webhookRetentionDays", 30, "deliveries are kept this long"),
    Key(
        "auditRetentionDays", Integer(1, 36_500), None, "the audit log is kept this long; null: for ever", "days", True
    ),
)
KEYS = {key.name: key for key in DECLARED}
FAVORITES = Key("favorites", Several(MODEL, 200), [], "models that people have marked")  # beside the document
