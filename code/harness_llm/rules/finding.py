"""What one rule says of one run, before it starts as after it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict of one rule.

    Attributes:
        name: `area.subject`, as `harness-llm check` lists it.
        passed: True where the rule is kept, False where it is broken; None where nobody knows, or where it is
            worth knowing and against no rule.
        found: What is there.
        required: What the rule asks for.
        source: Where the rule stands, as the table writes it.
        remedy: What to do, as an imperative sentence.
    """

    name: str
    passed: bool | None
    found: str
    required: str
    source: str = ""
    remedy: str = ""
