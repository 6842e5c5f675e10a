"""Samples of your own: one JSON object a line, or one row of a Parquet file a sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness_llm.datasets.dataset_kind import DatasetKind, Reading
from harness_llm.datasets.parquet import read_rows
from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.textfile import read_objects
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import DatasetError, HarnessError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness_llm.core import GenerationLimits


_REMEDY = (
    "A sample is an object with one of prompt (text), messages (list of role and content) or token_ids "
    "(list of integers), and optionally reference (text), max_tokens, min_tokens."
)


class Jsonl(DatasetKind):
    """Samples of your own in a `.jsonl`, `.jsonl.gz` or `.parquet` file.

    Attributes:
        path: The file.
        chat_template: Wrap plain prompts in the model's chat template, where its tokenizer has one.
    """

    kind: Literal["jsonl"] = "jsonl"
    path: Annotated[Path, Field(examples=["my.jsonl"])]
    chat_template: bool = True

    def read(self, reading: Reading) -> SampleTable:
        """See `load_jsonl`."""
        return load_jsonl(self.path, reading.model_path, reading.limits, chat_template=self.chat_template)


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "user", "assistant"]
    content: str


_TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Count = Annotated[int, Field(ge=2, le=2**31 - 1)]


class _Line(BaseModel):
    """One sample as the user writes it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Annotated[str, Field(min_length=1)] | None = None
    messages: Annotated[list[_Message], Field(min_length=1)] | None = None
    token_ids: Annotated[list[_TokenId], Field(min_length=1)] | None = None
    reference: str | None = None
    max_tokens: _Count | None = None
    min_tokens: _Count | None = None

    @model_validator(mode="after")
    def _has_one_prompt(self) -> Self:
        given = [key for key in ("prompt", "messages", "token_ids") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected one of prompt, messages, token_ids; found {' and '.join(given) or 'none'}"
            )
        return self


@dataclass(frozen=True)
class _Reader:
    """Turns checked lines into token ids; loads the tokenizer only if a line needs it."""

    model_path: Path | None
    limits: GenerationLimits
    chat_template: bool

    @cached_property
    def tokenizer(self) -> Tokenizer:
        if self.model_path is None:
            raise DatasetError(
                "text prompts need a tokenizer and no model is given",
                "Set llm_config.model to a checkpoint folder, or give token_ids instead of text.",
            )
        return Tokenizer(self.model_path)

    def tokens(self, line: _Line) -> list[int]:
        if line.token_ids is not None:
            return line.token_ids
        if line.messages is not None:
            return self.tokenizer.encode_chat([message.model_dump() for message in line.messages])
        assert line.prompt is not None
        if self.chat_template and self.tokenizer.has_chat_template:
            return self.tokenizer.encode_chat([{"role": "user", "content": line.prompt}])
        return self.tokenizer.encode(line.prompt)

    def limits_of(self, line: _Line) -> GenerationLimits:
        low = self.limits.min_tokens if line.min_tokens is None else line.min_tokens
        high = self.limits.max_tokens if line.max_tokens is None else line.max_tokens
        if low > high:
            raise ValueError(f"min_tokens {low} is above max_tokens {high}")
        return replace(self.limits, min_tokens=low, max_tokens=high)


def load_jsonl(
    path: Path, model_path: Path | None, limits: GenerationLimits, *, chat_template: bool = True
) -> SampleTable:
    """Read a `.jsonl`, `.jsonl.gz` or `.parquet` file of prompts, conversations or token ids.

    Of MLCommons' own Parquet files, token ids and references are read and other columns are left alone.

    Plain prompts are wrapped in the model's chat template as one user message, if `chat_template` is
    true and the tokenizer has one; otherwise they are tokenized as they are. References are for all samples
    or for none.

    Args:
        path: The file.
        model_path: Checkpoint folder with the tokenizer; None if every sample gives token ids.
        limits: Output limits of samples that set none of their own.
        chat_template: Whether plain prompts are wrapped.

    Raises:
        DatasetError: A file that cannot be read or a sample that cannot be used, with its place.
        ModelError: The folder holds no tokenizer, or no chat template where one is needed.
    """
    reader = _Reader(model_path, limits, chat_template)
    prompts: list[list[int]] = []
    bounds: list[GenerationLimits] = []
    references: list[str] = []
    for where, found in _rows(path):
        line = _validated(where, found)
        try:
            tokens = reader.tokens(line)
            bounds.append(reader.limits_of(line))
        except ValueError as error:
            raise DatasetError(f"{where}: {error}", _REMEDY) from error
        except HarnessError as error:
            raise type(error)(f"{where}: {error.message}", error.remedy) from error
        if prompts and (line.reference is not None) != bool(references):
            raise DatasetError(
                f"{where}: {'lacks' if references else 'has'} a reference, unlike the samples before it",
                "Give every sample a reference, or none.",
            )
        prompts.append(tokens)
        if line.reference is not None:
            references.append(line.reference)
    return SampleTable.from_prompts(
        path.name.split(".")[0],
        prompts,
        max_tokens=[bound.max_tokens for bound in bounds],
        min_tokens=[bound.min_tokens for bound in bounds],
        references=references or None,
        source=str(path),
    )


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.exists():
        from harness_llm.benchmark import command_for

        if (command := command_for(path)) is not None:
            raise DatasetError(f"{path}: cannot be read: no such file", f"Get it: {command}")
    kind, rows = ("row", read_rows(path)) if path.suffix == ".parquet" else ("line", read_objects(path))
    for number, found in rows:
        yield f"{path}, {kind} {number}", found


def _validated(where: str, found: dict[str, Any]) -> _Line:
    try:
        return _Line.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        value = "" if first["type"] == "value_error" else f" (found {_shortened(repr(first['input']))})"
        raise DatasetError(f"{where}: {f'{key}: ' if key else ''}{first['msg']}{value}", _REMEDY) from error


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
