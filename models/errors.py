"""Every error the platform raises on purpose.

DjinnBotError                 code, message
├── NotFound                  no such thing
├── Conflict                  the state forbids it; `allowed` lists what it would permit
│   └── Unreadable            an encrypted value that no key of the ring decrypts
├── BadKeys                   the encryption keys are missing, malformed or not those of the database
├── Invalid                   well-formed but wrong; `errors` says why by field path
├── Unauthorized              no token, or a bad one
├── Forbidden                 the token lacks the scope, or the origin is refused
├── PreconditionFailed        If-Match names another version
├── TooLarge                  more bytes than the limit
├── TooMany                   a cap is reached; `retry_after` seconds
├── Unavailable               a dependency is down; `retry_after` seconds
├── OutsideError              an outside service refused or does not answer; `retry_after` seconds, if it said so
│   └── OutsideTimeout        it did not answer in time
├── LeaseLost                 this worker no longer owns the step: stop, write nothing
├── NeedsPerson               the attempt waits for a person's decision
├── StaleState                another worker planned this run meanwhile: reload and decide again
├── IllegalTransition         a status change that the tables in `status.py` do not list
└── StepError                 an attempt failed; what that means is decided in `workers/steps.py`
    ├── ProviderTransient     429, 5xx, reset, overload (`retry_after`)
    ├── ProviderRejected      401, 403, unknown model
    ├── ContextTooLong        the conversation does not fit the model
    ├── Refused               the provider's content filter
    ├── AgentFailed           the agent itself says it failed
    ├── BadOutput             a needed output is missing or invalid
    ├── AttemptTimeout        the whole attempt took too long
    ├── IdleTimeout           no token, no tool result for too long
    ├── QueueTimeout          queued but not started in time
    ├── TurnLimit             too many LLM calls
    ├── ToolLoop              the same call with the same result, again and again
    ├── ConfigError           no model, agent deleted, schema gone
    ├── WorkerLost            three workers died in this visit
    ├── LoopSourceInvalid     the list of a loop is not a list
    ├── TooManyItems          the list of a loop is longer than `maxItems`
    ├── TooManyVisits         a cycle that does not end
    ├── JoinStarved           a join whose needs can no longer be met
    ├── RunTimeout            the epoch's wall clock is used up
    ├── ChildFailed           the run of a child pipeline did not complete
    ├── ApprovalRejected      a person said no, and nothing else follows from that
    ├── BudgetExceeded        no money or no tokens are left
    └── EffectUnknown         nobody knows whether a tool call took effect, and a person gave up on it
"""

from __future__ import annotations

from typing import Any


class DjinnBotError(Exception):
    """Base of the tree. `code` is a stable slug for programs, `message` one sentence for people."""

    code = "error"

    def __init__(self, message: str, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.details = details


class NotFound(DjinnBotError):
    code = "not_found"


class Conflict(DjinnBotError):
    code = "conflict"

    def __init__(self, message: str, code: str | None = None, allowed: list[str] | None = None, **details: Any) -> None:
        super().__init__(message, code, **details)
        self.allowed = allowed


class Unreadable(Conflict):
    code = "unreadable"


class BadKeys(DjinnBotError):
    code = "bad_keys"


class Invalid(DjinnBotError):
    code = "validation_error"

    def __init__(self, message: str, code: str | None = None, errors: dict | None = None, **details: Any) -> None:
        super().__init__(message, code, **details)
        self.errors = errors or {}


class Unauthorized(DjinnBotError):
    code = "unauthorized"


class Forbidden(DjinnBotError):
    code = "forbidden"


class PreconditionFailed(DjinnBotError):
    code = "precondition_failed"


class TooLarge(DjinnBotError):
    code = "body_too_large"


class TooMany(DjinnBotError):
    code = "too_many"

    def __init__(self, message: str, code: str | None = None, retry_after: int = 1, **details: Any) -> None:
        super().__init__(message, code, **details)
        self.retry_after = retry_after


class Unavailable(DjinnBotError):
    code = "unavailable"

    def __init__(self, message: str, code: str | None = None, retry_after: int = 1, **details: Any) -> None:
        super().__init__(message, code, **details)
        self.retry_after = retry_after


class OutsideError(DjinnBotError):
    code = "outside_error"

    def __init__(self, message: str, code: str | None = None, retry_after: int | None = None, **details: Any) -> None:
        super().__init__(message, code, **details)
        self.retry_after = retry_after


class OutsideTimeout(OutsideError):
    code = "outside_timeout"


class LeaseLost(DjinnBotError):
    code = "lease_lost"


class NeedsPerson(DjinnBotError):
    """`kind`, `prompt`, `options` and `data` of the approval to ask for."""

    code = "needs_person"

    def __init__(self, kind: str, prompt: str, options: tuple[str, ...], **data: Any) -> None:
        super().__init__(prompt)
        self.kind, self.options, self.data = kind, options, data


class StaleState(DjinnBotError):
    code = "stale_state"


class IllegalTransition(DjinnBotError):
    code = "illegal_transition"


class StepError(DjinnBotError):
    """`repeats`: whether the engine may try the step again. `hint`: what a person can do about it."""

    code = "step_error"
    repeats = False

    def __init__(self, message: str, code: str | None = None, hint: str | None = None, **details: Any) -> None:
        super().__init__(message, code, **details)
        self.hint = hint


class ProviderTransient(StepError):
    code = "provider_transient"
    repeats = True

    def __init__(self, message: str, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class ProviderRejected(StepError):
    code = "provider_rejected"


class ContextTooLong(StepError):
    code = "context_too_long"


class Refused(StepError):
    code = "refused"


class AgentFailed(StepError):
    code = "agent_failed"
    repeats = True


class BadOutput(StepError):
    code = "bad_output"
    repeats = True


class AttemptTimeout(StepError):
    code = "timeout"
    repeats = True


class IdleTimeout(StepError):
    code = "idle_timeout"
    repeats = True


class QueueTimeout(StepError):
    code = "queue_timeout"


class TurnLimit(StepError):
    code = "turn_limit"


class ToolLoop(StepError):
    code = "tool_loop"


class ConfigError(StepError):
    code = "config_error"


class WorkerLost(StepError):
    code = "worker_lost"


class LoopSourceInvalid(StepError):
    code = "loop_source_invalid"


class TooManyItems(StepError):
    code = "too_many_items"


class TooManyVisits(StepError):
    code = "too_many_visits"


class JoinStarved(StepError):
    code = "join_starved"


class RunTimeout(StepError):
    code = "run_timeout"


class ChildFailed(StepError):
    code = "child_failed"


class ApprovalRejected(StepError):
    code = "approval_rejected"


class BudgetExceeded(StepError):
    code = "budget_exceeded"


class EffectUnknown(StepError):
    code = "effect_unknown"
