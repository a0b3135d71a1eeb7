"""The tools that one step has been given."""

from __future__ import annotations

from workers.clients.llm.base import ToolCall, ToolSpec
from workers.tools import base, registry
from workers.tools.base import Context, Outcome

INTERRUPTED = (
    "The worker was lost while this call ran, so nobody knows whether it took effect."
    " Look at the workspace before you decide whether to repeat it."
)


class Toolbox:
    """`names` as the step lists them; names that no tool has are left out (the catalogue warns of them)."""

    def __init__(self, names: tuple[str, ...]) -> None:
        known = registry.tools()
        self._tools = {name: known[name] for name in names if name in known}
        own = tuple(tool.spec for tool in self._tools.values())
        self.specs: tuple[ToolSpec, ...] = (*own, base.COMPLETE, base.FAIL) if own else ()  # none: a plain call

    def call(self, context: Context, call: ToolCall, interrupted: bool) -> Outcome:
        """The result for the model, errors included. `interrupted`: an earlier worker died during this call."""
        tool = self._tools.get(call.name)
        if tool is None:
            return Outcome(f"There is no tool {call.name!r}. You have: {', '.join(self._tools) or 'none'}.", True)
        if call.problem:
            return Outcome(f"The arguments could not be read: {call.problem}", True)
        if interrupted and tool.effect not in ("pure", "idempotent"):
            return Outcome(INTERRUPTED, True)
        return base.run(tool, context, call.arguments)
