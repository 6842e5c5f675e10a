"""Rules of how answers are made: how tokens are chosen, where answers end, what is reused or left out.

An engine kind states its own `Decoding` (`EngineKind.decoding`), from what the user wrote before a run and
from what the engine said of itself after it; the functions here know no engine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness_llm.core import Scenario
from harness_llm.rules import access as rules
from harness_llm.rules.by_round import BenchmarkRules
from harness_llm.rules.finding import Finding

_NEUTRAL = {"top_p": (1, 1.0), "top_k": (0, -1), "min_p": (0, 0.0)}
_UNKNOWN = "not known"


@dataclass(frozen=True)
class Draft:
    """What proposes tokens for speculative decoding.

    Attributes:
        method: `eagle3`, `mtp`, or the engine's own name of another one.
        tokens: Tokens that are proposed at a time; None where the engine decides.
        head: The model that proposes them, as the user names it; empty where it is a part of the model.
        changes: Settings by which it is not the reference head or algorithm, such as its quantization.
    """

    method: str
    tokens: int | None
    head: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        head = f" by {self.head}" if self.head else ""
        changed = f", {_listed(self.changes)}" if self.changes else ""
        return f"{self.method}{head}, {self.tokens} tokens{changed}"


@dataclass(frozen=True)
class Decoding:
    """How an engine makes answers, by its own facts; each mapping is a setting and its value.

    Attributes:
        engine: Its kind.
        temperature: 0 is greedy; None where nobody knows.
        top_p: Share of the probability that tokens are chosen from; 1 for all.
        top_k: Tokens that are chosen from; 0 or -1 for all.
        min_p: Least probability, relative to the best token's; 0 for none.
        can_choose: Whether the user can set how tokens are chosen.
        alters: What changes which token is chosen beside these, such as penalties.
        ends: What ends answers elsewhere than the model does, such as ignore_eos.
        end_tokens: Further token ids that end an answer.
        reuses: What takes work over from one sample to another, such as prefix caching; None where nobody
            knows.
        draft: What proposes tokens for speculative decoding; None where nothing does.
        omits: What leaves a part of the model out or adds to it, such as sparsity.
    """

    engine: str
    temperature: float | None = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    can_choose: bool = True
    alters: Mapping[str, Any] = field(default_factory=dict)
    ends: Mapping[str, Any] = field(default_factory=dict)
    end_tokens: frozenset[int] = frozenset()
    reuses: Mapping[str, Any] | None = field(default_factory=dict)
    draft: Draft | None = None
    omits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0 or self.top_k == 1

    @property
    def is_plain_sampling(self) -> bool:
        """Whether tokens are drawn at temperature 1 from the model's own probabilities."""
        chosen = {"top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p}
        return self.temperature == 1 and all(value in _NEUTRAL[key] for key, value in chosen.items())


def decoding_findings(
    known: BenchmarkRules, scenario: Scenario, found: Decoding, end_tokens: Collection[int] = ()
) -> Iterator[Finding]:
    """Every rule of decoding for an official benchmark in one scenario, each with the rule's sentence.

    Args:
        known: The rules of the benchmark.
        scenario: The scenario.
        found: What the engine does.
        end_tokens: The tokens that end an answer of the benchmark's model.
    """
    yield _sampling(known, found)
    yield _finding("decoding.alters", known, _choice(known), found.alters)
    further = {"stop_token_ids": sorted(found.end_tokens - set(end_tokens))}
    ends = {**found.ends, **(further if further["stop_token_ids"] else {})}
    yield _finding("decoding.ends", known, "ends", ends)
    yield _speculation(known, scenario, found)
    yield _finding("decoding.reuses", known, "reuses", found.reuses)
    yield _finding("decoding.omits", known, "omits", found.omits)


def _sampling(known: BenchmarkRules, found: Decoding) -> Finding:
    if known.generation.greedy:
        passed, remedy = found.is_greedy, "Remove the temperature."
    else:
        passed, remedy = found.is_plain_sampling, "Set temperature 1.0, top_p 1.0 and top_k 0."
    rule = rules.decoding_rule(_choice(known), known.round)
    return Finding(
        "decoding.sampling",
        None if found.temperature is None else passed,
        _UNKNOWN
        if found.temperature is None
        else f"temperature {found.temperature:g}, top_p {found.top_p:g}, top_k {found.top_k:g}, "
        f"min_p {found.min_p:g}",
        rule.says,
        f"{rule.source}; {known.generation.source}",
        remedy if found.can_choose else f"The engine {found.engine} cannot do it: run with another engine.",
    )


def _choice(known: BenchmarkRules) -> str:
    return "greedy" if known.generation.greedy else "sampling"


def _finding(name: str, known: BenchmarkRules, rule_name: str, found: Mapping[str, object] | None) -> Finding:
    """A rule that allows nothing of its kind."""
    rule = rules.decoding_rule(rule_name, known.round)
    return Finding(
        name,
        None if found is None else not found,
        _UNKNOWN if found is None else _listed(found) or "none",
        rule.says,
        rule.source,
        f"Remove {' and '.join(found or ())}.",
    )


def _speculation(known: BenchmarkRules, scenario: Scenario, found: Decoding) -> Finding:
    rule = rules.decoding_rule("speculation", known.round)
    draft, allowed = found.draft, known.row.speculation
    required, wrong = rule.says, ["speculative decoding"] if draft else []
    if draft is not None and allowed is not None and scenario is allowed.scenario:
        required = f"{allowed.method}, {allowed.tokens} tokens, {allowed.head} as it is published"
        wrong = [f"method {draft.method}"] if draft.method != allowed.method else []
        wrong += [f"{draft.tokens} tokens"] if draft.tokens != allowed.tokens else []
        wrong += list(draft.changes)
    return Finding(
        "decoding.speculation",
        not wrong,
        "none" if draft is None else str(draft),
        required,
        f"{rule.source}; {allowed.source}" if allowed and allowed.source else rule.source,
        f"Remove {', '.join(wrong)}.",
    )


def _listed(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
