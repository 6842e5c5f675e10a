"""What a kind of child process is, so that nobody needs to know one by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness_llm.errors import RunBroken


@dataclass(frozen=True)
class Role:
    """How children of one kind are started, watched and ended.

    Attributes:
        kind: What it is called, e.g. `replica`, `loadgen`, `sampler`, `trainer`.
        module: What runs as `python -m module SPEC`; of any package.
        started: When it counts as started: at its `Ready`, at its first word, or at once.
        first_word_s: Longest time to its first word, seconds, while it imports; None where none is due.
        silence_s: One that has spoken and is silent for longer is lost, seconds; None: only its exit counts.
        lost: What its death or silence is raised as.
        essential: Whether its loss ends the run. The loss of any other child is only recorded.
        ends_by: How it is asked to stop: by `Shutdown` on the control plane, by SIGTERM, or not at all. One
            that has not started cannot be asked.
        grace_s: Time that it is given to end by itself once asked, seconds.
        remedy: What to do about an exception in its log, by its text; empty where nothing is known.
    """

    kind: str
    module: str
    started: Literal["ready", "word", "at once"] = "ready"
    first_word_s: float | None = 60.0
    silence_s: float | None = 8.0
    lost: type[RunBroken] = RunBroken
    essential: bool = True
    ends_by: Literal["shutdown", "signal", "kill"] = "shutdown"
    grace_s: float = 5.0
    remedy: Callable[[str], str] = lambda _: ""
