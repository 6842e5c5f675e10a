"""Which columns of a row hold which part of a sample, for the forms in which people keep prompts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from harness_llm.errors import DatasetError

_NAMES: Mapping[str, tuple[str, ...]] = {
    "token_ids": ("token_ids", "tok_input", "input_tokens", "prompt_token_ids", "input_ids"),
    "messages": ("messages", "conversations", "conversation", "body.messages"),
    "prompt": ("prompt", "body.prompt", "body.input", "text", "question", "query", "instruction", "input"),
    "reference": (
        "reference", "completion", "answer", "response", "output", "ground_truth", "expected_output",
        "canonical_solution",
    ),
    "max_tokens": ("max_tokens", "output_tokens", "body.max_completion_tokens", "body.max_tokens"),
    "min_tokens": ("min_tokens",),
}  # fmt: skip
"""Part of a sample to the columns that may hold it; the first is our own name.

`tok_input` and `input_tokens` (older and newer), `ground_truth`: language/gpt-oss-120b, utils/tokenization.py
lines 121-124, eval_mlperf_accuracy.py line 384, @b66003e1; `tok_input`, `output`: language/llama3.1-8b,
download_cnndm.py; `output_tokens`: `vllm bench`'s custom files; `conversations`: ShareGPT; `body`: OpenAI's
batches.
"""

PARTS = tuple(_NAMES)
_ASKS = ("token_ids", "messages", "prompt")
_MISSPELT = 0.88  # nearer than `prompt_id` is to `prompt`; `max_token` is 0.95 from `max_tokens`


@dataclass(frozen=True)
class Columns:
    """Where a row holds what; made from the names of a file's columns.

    Attributes:
        of: Part of a sample to the column, `body.messages` being one inside another.
        context: Column with what the prompt is about, put below it (Alpaca's `input`); empty for none.
        note: What was understood, for people; empty where every column has our own name.
        whole_turns: Whether a conversation goes up to its last answer, not only to the first one.
    """

    of: Mapping[str, str]
    context: str = ""
    note: str = ""
    whole_turns: bool = True

    @property
    def top(self) -> tuple[str, ...]:
        """Names of the columns that are read, those inside others by the outer ones."""
        return tuple(
            dict.fromkeys(name.partition(".")[0] for name in (*self.of.values(), self.context) if name)
        )

    def part(self, row: Mapping[str, Any], name: str) -> Any:
        """What a row holds of one part; None where it has nothing."""
        return _at(row, self.of[name]) if name in self.of else None


def columns_of(
    names: Collection[str], given: Mapping[str, str | None], place: str, inner: Collection[str] = ()
) -> Columns:
    """How a file's columns are understood.

    Args:
        names: Its columns.
        given: What the user said: part to column; None reads no such part.
        place: The file, for messages.
        inner: Columns inside others, `body.messages`.

    Raises:
        DatasetError: No column is known to hold a prompt, two may hold the same part, or a name is misspelt.
    """
    known = {*names, *inner}
    found = {part: column for part, column in given.items() if column is not None}
    own = next((ask for ask in _ASKS if ask in names), None)
    context = ""
    for part in PARTS:
        asked = part in _ASKS and any(ask in found for ask in _ASKS)
        if part in given or asked or (part in _ASKS and own not in (None, part)):
            continue
        candidates = [name for name in _NAMES[part] if name in known]
        if part == "prompt" and {"instruction", "input"} <= set(candidates):
            candidates.remove("input")
            context = "input"
        if part in candidates or len(candidates) == 1:
            found[part] = part if part in candidates else candidates[0]
        elif candidates:
            raise DatasetError(
                f"{place}: the columns {_listed(candidates)} may each be the {part}",
                f"Say which: harness_config.dataset.columns: {{{part}: {candidates[0]}}}.",
            )
    _refuse_misspelt(names, set(found.values()), given, place)
    if not any(ask in found for ask in _ASKS):
        raise DatasetError(
            f"{place}: no column holds a prompt; found {_listed(names)}",
            "Call it prompt, messages or token_ids, or say which it is: "
            "harness_config.dataset.columns: {prompt: NAME, reference: NAME}.",
        )
    read_as = [
        f"{column} as {part}" for part, column in found.items() if column != part and part not in given
    ]
    if context:
        read_as.append(f"{context} below {found['prompt']}")
    return Columns(
        found,
        context if "prompt" in found else "",
        f"read {', '.join(read_as)}" if read_as else "",
        whole_turns=found.get("messages") not in ("conversations", "conversation"),
    )


def inner_names(row: Mapping[str, Any]) -> set[str]:
    """Names of the columns inside the columns of a row, as `columns_of` takes them."""
    return {f"{name}.{key}" for name, value in row.items() if isinstance(value, dict) for key in value}


def _refuse_misspelt(names: Collection[str], read: set[str], given: Mapping[str, object], place: str) -> None:
    for name in names:
        near = get_close_matches(name, [part for part in PARTS if part not in given], n=1, cutoff=_MISSPELT)
        if name not in read and near and near[0] not in names:
            raise DatasetError(
                f"{place}: {name}: no column of a sample is called so; did you mean {near[0]}?",
                f"Rename it; if it is something else: harness_config.dataset.columns: {{{near[0]}: null}}.",
            )


def _at(row: Mapping[str, Any], column: str) -> Any:
    if column in row:
        return row[column]
    value: Any = row
    for key in column.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:12]) + (", …" if len(names) > 12 else "")
