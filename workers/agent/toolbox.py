"""The tools that one step has been given."""

from __future__ import annotations

from collections.abc import Sequence

from workers.clients.llm.base import ToolCall, ToolSpec
from workers.tools import base, registry
from workers.tools.base import Context, Outcome, Tool

REPEATABLE = ("pure", "idempotent")


class Toolbox:
    """`names` as the step lists them; names that no tool has are left out (the catalogue warns of them).

    `asks`: tools whose every call a person must allow (setting APPROVE_TOOLS). `more`: tools that are nobody else's.
    """

    def __init__(self, names: tuple[str, ...], asks: tuple[str, ...] = (), more: Sequence[Tool] = ()) -> None:
        known = registry.tools()
        self._tools = {name: known[name] for name in names if name in known}
        self._tools |= {tool.name: tool for tool in more}
        self.own: tuple[ToolSpec, ...] = tuple(tool.spec for tool in self._tools.values())
        # With the two that end a step; without tools it is a plain call.
        self.specs: tuple[ToolSpec, ...] = (*self.own, base.COMPLETE, base.FAIL) if self.own else ()
        self.asks = frozenset(asks) & set(self._tools)

    def has(self, name: str) -> bool:
        return name in self._tools

    def repeats(self, name: str) -> bool:
        """Whether a call whose outcome is unknown may simply be made again."""
        tool = self._tools.get(name)
        return tool is None or tool.effect in REPEATABLE

    def call(self, context: Context, call: ToolCall) -> Outcome:
        """The result for the model, errors included."""
        tool = self._tools.get(call.name)
        if tool is None:
            return Outcome(f"There is no tool {call.name!r}. You have: {', '.join(self._tools) or 'none'}.", True)
        if call.problem:
            return Outcome(f"The arguments could not be read: {call.problem}", True)
        return base.run(tool, context, call.arguments)
