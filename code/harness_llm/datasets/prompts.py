"""Prompts as people have them: read row by row, mapped by their columns, tokenized in one place."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from harness_llm.core import GenerationLimits, counted
from harness_llm.datasets.columns import PARTS, Columns, columns_of, inner_names
from harness_llm.datasets.dataset_kind import DatasetKind, Reading
from harness_llm.datasets.messages import Messages, read_messages, split_answer
from harness_llm.datasets.rowfile import read_rows
from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.textfile import shortened
from harness_llm.datasets.tokenizer import MARKERS_REMEDY, Tokenizer
from harness_llm.errors import DatasetError, HarnessError

_LARGEST = 2**31 - 1
_TRUTH = "ground_truth"  # of MLCommons' own files, where a missing reference is an empty one
_REMEDY = (
    "A sample has one of prompt (text), messages (list of role and content) or token_ids (list of integers), "
    "and optionally reference (text), max_tokens, min_tokens; docs/data-sets.md has every form."
)


class Prompts(DatasetKind):
    """Samples of your own; docs/data-sets.md says which files and forms are read.

    Attributes:
        path: JSON lines, a JSON list, CSV, Parquet or plain text.
        columns: Which column holds which part of a sample, where its name does not say; null reads none.
        chat_template: Wrap plain prompts in the model's chat template, where its tokenizer has one.
    """

    kind: Literal["prompts", "jsonl"] = "prompts"
    path: Annotated[Path, Field(examples=["my.jsonl"])]
    columns: dict[Literal[PARTS], str | None] = Field(default_factory=dict)  # type: ignore[valid-type]
    chat_template: bool = True

    def read(self, reading: Reading) -> SampleTable:
        """Every sample of the file, in its order.

        References are for all samples or for none.
        """
        _refuse_missing(self.path)
        rows = _Rows(self, reading)
        samples = list(rows.samples())
        if unseen := sorted(set(filter(None, self.columns.values())) - rows.seen):
            raise DatasetError(
                f"{self.path}: no row has the column {unseen[0]!r}", "Check harness_config.dataset.columns."
            )
        return SampleTable.from_prompts(
            self.path.name.split(".")[0],
            [sample.tokens for sample in samples],
            max_tokens=[sample.limits.max_tokens for sample in samples],
            min_tokens=[sample.limits.min_tokens for sample in samples],
            references=[sample.reference or "" for sample in samples] if rows.has_references else None,
            source=str(self.path),
            notes=tuple(rows.notes()),
            first_sample=rows.first,
        )


@dataclass(frozen=True)
class _Sample:
    tokens: list[int]
    limits: GenerationLimits
    reference: str | None


@dataclass
class _Rows:
    """Turns the rows of a file into samples, and remembers what there is to say of them.

    Attributes:
        data_set: What the user asked for.
        reading: What the run gives.
        seen: Columns of any row.
        first: What was done to the first sample, a line each.
    """

    data_set: Prompts
    reading: Reading
    seen: set[str] = field(default_factory=set)
    first: tuple[str, ...] = ()
    _columns: dict[frozenset[str], Columns] = field(default_factory=dict)
    _counted: Counter[str] = field(default_factory=Counter)
    _with_reference: bool | None = None

    @property
    def has_references(self) -> bool:
        return bool(self._with_reference)

    def samples(self) -> Iterator[_Sample]:
        for where, row in read_rows(self.data_set.path, self._wanted):
            self.seen |= row.keys() | inner_names(row)
            try:
                sample = self._sample(where, row)
            except ValueError as error:
                raise DatasetError(f"{where}: {error}", _REMEDY) from error
            except HarnessError as error:
                said = error.message if error.message.startswith(where) else f"{where}: {error.message}"
                raise type(error)(said, error.remedy) from error
            if sample is not None:
                yield sample

    def notes(self) -> Iterator[str]:
        """What people should know: how columns were understood, which were not read, what was left out."""
        path = self.data_set.path
        yield from dict.fromkeys(
            f"{path}: {columns.note}" for columns in self._columns.values() if columns.note
        )
        read = {name for columns in self._columns.values() for name in columns.top}
        read |= {name.partition(".")[0] for name in filter(None, self.data_set.columns.values())}
        inner = {name for columns in self._columns.values() for name in columns.of.values() if "." in name}
        outer = {name.partition(".")[0] for name in inner}  # of which only the inner columns are read
        unread = sorted(
            name
            for name in self.seen
            if (
                name not in inner
                if name.partition(".")[0] in outer - {name}
                else "." not in name and name not in read
            )
        )
        if unread:
            yield f"{path}: not read: {', '.join(unread[:8])}{', …' if len(unread) > 8 else ''}"
        yield from (f"{path}: {text} ({counted(count, 'sample')})" for text, count in self._counted.items())

    # ------------------------------------------------------------------ one row

    def _wanted(self, names: Collection[str]) -> Collection[str] | None:
        """Of a Parquet file with token ids, which may be long, the columns that are needed."""
        columns = columns_of(names, self.data_set.columns, str(self.data_set.path))
        self.seen |= set(names)
        return columns.top if "token_ids" in columns.of else None

    def _sample(self, where: str, row: dict[str, Any]) -> _Sample | None:
        names = frozenset(row.keys() | inner_names(row))
        if names not in self._columns:
            inner = names - row.keys()
            self._columns[names] = columns_of(row, self.data_set.columns, where, inner)
        columns = self._columns[names]
        asks = [part for part in ("prompt", "messages", "token_ids") if row.get(part) is not None]
        if len(asks) > 1 and not self.data_set.columns:
            raise ValueError(f"expected one of prompt, messages, token_ids; found {' and '.join(asks)}")
        parts = {name: columns.part(row, name) for name in columns.of}
        tokens, answer, how = self._tokens(columns, parts, row)
        if tokens is None:
            return None
        reference = self._reference(where, parts, answer)
        limits = self._limits(parts)
        if not self.first:
            self.first = (where, *how)
        return _Sample(tokens, limits, reference)

    def _tokens(
        self, columns: Columns, parts: dict[str, Any], row: dict[str, Any]
    ) -> tuple[list[int] | None, str | None, tuple[str, ...]]:
        """Token ids, the answer that a conversation held, and what was done; no ids leaves the row out."""
        if parts.get("token_ids") is not None:
            return _token_ids(_from_text(parts["token_ids"])), None, ("token ids, as they are",)
        if parts.get("messages") is not None:
            return self._conversation(columns, read_messages(_from_text(parts["messages"])))
        prompt = parts.get("prompt")
        if not isinstance(prompt, str) or not prompt:
            asked = columns.of.get("prompt", "prompt")
            raise ValueError(f"{asked}: Input should be a text (found {shortened(repr(prompt))})")
        if columns.context and row.get(columns.context):
            context = str(row[columns.context])
            inside = "{input}" in prompt
            prompt = prompt.replace("{input}", context) if inside else f"{prompt}\n\n{context}"
        tokenizer = self.reading.tokenizer
        if not (self.data_set.chat_template and tokenizer.has_chat_template):
            return tokenizer.encode(prompt), None, (_quoted(prompt), "tokenized as it is")
        self._look_for_markers(tokenizer, prompt)
        wrapped = tokenizer.encode_chat([{"role": "user", "content": prompt}])
        return wrapped, None, (_quoted(prompt), "wrapped in the chat template as one user message")

    def _conversation(
        self, columns: Columns, messages: Messages
    ) -> tuple[list[int] | None, str | None, tuple[str, ...]]:
        asked, answer = split_answer(messages, first=not columns.whole_turns)
        if not columns.whole_turns and (answer is None or not any(part["role"] == "user" for part in asked)):
            self._counted["left out, for no question with an answer below begins the conversation"] += 1
            return None, None, ()
        if len(asked) + (answer is not None) < len(messages):
            self._counted["asked up to the first answer; what follows it is not read"] += 1
        tokens = self.reading.tokenizer.encode_chat(asked)
        roles = ", ".join(message["role"] for message in asked)
        return tokens, answer, (f"messages of {roles}", "in the chat template")

    def _reference(self, where: str, parts: dict[str, Any], answer: str | None) -> str | None:
        given = parts.get("reference")
        if given is None and _TRUTH in self.seen:
            given = ""
        if given is None and "reference" not in self.data_set.columns:
            given = answer
        if isinstance(given, list | dict):
            raise ValueError(f"reference: Input should be a text (found {shortened(repr(given))})")
        has = given is not None
        if self._with_reference not in (None, has):
            raise DatasetError(
                f"{where}: {'has' if has else 'lacks'} a reference, unlike the samples before it",
                "Give every sample one, or read none: harness_config.dataset.columns: {reference: null}.",
            )
        self._with_reference = has
        return str(given) if has else None

    def _limits(self, parts: dict[str, Any]) -> GenerationLimits:
        limits = self.reading.limits
        low = _count("min_tokens", parts.get("min_tokens"), limits.min_tokens)
        high = _count("max_tokens", parts.get("max_tokens"), limits.max_tokens)
        if low > high:
            raise ValueError(f"min_tokens {low} is above max_tokens {high}")
        return replace(limits, min_tokens=low, max_tokens=high)

    def _look_for_markers(self, tokenizer: Tokenizer, prompt: str) -> None:
        """Refuse a prompt that begins as a wrapped one; count one that holds a marker elsewhere."""
        marker = tokenizer.chat_marker(prompt)
        if marker and prompt.lstrip().startswith(marker):
            raise DatasetError(
                f"the prompt begins with {marker}: it is in a chat template already, and would be twice",
                MARKERS_REMEDY,
            )
        if marker:
            self._counted[f"a prompt holds the chat marker {marker}, and is wrapped all the same"] += 1


def _token_ids(given: object) -> list[int]:
    if not isinstance(given, list) or not given:
        raise ValueError(f"token_ids: Input should be a list of integers (found {shortened(repr(given))})")
    for place, token in enumerate(given):
        if type(token) is not int or not 0 <= token <= _LARGEST:
            raise ValueError(
                f"token_ids.{place}: Input should be a token id (found {shortened(repr(token))})"
            )
    return given


def _count(name: str, given: object, default: int) -> int:
    if given is None:
        return default
    number = int(given) if isinstance(given, str) and given.strip().isdecimal() else given
    if type(number) is not int or not 2 <= number <= _LARGEST:
        raise ValueError(
            f"{name}: Input should be a whole number of at least 2 (found {shortened(repr(given))})"
        )
    return number


def _from_text(given: object) -> object:
    """A list that a cell of a CSV file holds as JSON."""
    if isinstance(given, str) and given.lstrip().startswith("["):
        return json.loads(given)
    return given


def _quoted(text: str) -> str:
    return f"prompt {shortened(json.dumps(text, ensure_ascii=False), 100)}"


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        from harness_llm.benchmark import command_for

        if (command := command_for(path)) is not None:
            raise DatasetError(f"{path}: cannot be read: no such file", f"Get it: {command}")
