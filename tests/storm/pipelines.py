"""The pipelines of the storms, and what their agents say."""

from __future__ import annotations

STEPS = 5
CHAIN = f"""
id: chain
agents: [{{id: a}}]
defaults: {{tools: []}}
steps:
{"".join(f"  - {{id: S{n}, agent: a, input: 'step {n}', outputs: [o{n}]}}" + chr(10) for n in range(1, STEPS + 1))}
"""
FORK = """
id: fork
agents: [{id: a}]
defaults: {tools: []}
steps:
  - {id: A, agent: a, input: "a", outputs: [x], onComplete: [B, C, D]}
  - {id: B, agent: a, input: "b", outputs: [b]}
  - {id: C, agent: a, input: "c", outputs: [c]}
  - {id: D, agent: a, input: "d", outputs: [d]}
  - {id: E, agent: a, input: "e", outputs: [e], needs: [B, C, D]}
"""
ONE = """
id: one
agents: [{id: a}]
defaults: {tools: []}
steps: [{id: ONE, agent: a, input: "one", outputs: [o]}]
"""
SPEECH = """
id: speech
agents: [{id: a}]
defaults: {tools: []}
steps:
  - {id: SAY, agent: a, input: "say", outputs: [text], onComplete: END}
  - {id: END, agent: a, input: "end", outputs: [end]}
"""
FATAL = """
id: fatal
agents: [{id: a}]
defaults: {tools: []}
steps: [{id: FATAL, agent: a, input: "fatal", outputs: [o]}]
"""
STUMBLE = """
id: stumble
agents: [{id: a}]
defaults: {tools: [], retry: {delaySeconds: 0.5}}
steps: [{id: STUMBLE, agent: a, input: "stumble", outputs: [o]}]
"""
TURNS = """
id: turns
agents: [{id: a}]
defaults: {tools: [bash], model: custom-slow/slow}
steps: [{id: TURNS, agent: a, input: "turns", outputs: [o]}]
"""
WAIT = """
id: wait
agents: [{id: a}]
defaults: {tools: [], model: custom-slow/slow}
steps: [{id: WAIT, agent: a, input: "wait {{run_id}}", outputs: [o]}]
"""
GATE = """
id: gate
agents: [{id: a}]
defaults: {tools: []}
steps:
  - {id: S1, agent: a, input: "one", outputs: [o1], onComplete: GATE}
  - {id: GATE, type: approval, approval: {prompt: "Go on?"}, onResult: {APPROVED: {goto: S2}, REJECTED: {goto: S3}}}
  - {id: S2, agent: a, input: "two", outputs: [o2]}
  - {id: S3, agent: a, input: "three", outputs: [o3]}
"""
ALL = (CHAIN, FORK, ONE, SPEECH, FATAL, STUMBLE, TURNS, WAIT, GATE)

LINE = "What is said is stored piece by piece and heard once. "


def said(seconds: float, rate: int = 100) -> dict:
    """A reply that takes so long to say."""
    count = int(seconds * rate)
    return {"text": (LINE * (count // len(LINE) + 1))[:count], "chars_per_second": rate}


REPLIES = {
    **{f"S{n}": [{"text": f"answer {n}", "delay_ms": 150}] for n in range(1, STEPS + 1)},
    **{key: [{"text": f"answer {key}", "delay_ms": 100}] for key in "ABCDE"},
    "ONE": [{"text": "one"}],
    "SAY": [said(6)],
    "FATAL": [{"text": "never said", "delay_ms": 60_000}],
    "STUMBLE": [{"text": "status: failed"}, {"text": "stood up"}],
}
