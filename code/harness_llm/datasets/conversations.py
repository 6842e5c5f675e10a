"""Public collections of conversations, from the files that are published: OpenAssistant's and ShareGPT's.

Both are asked whole: a prompt is a conversation up to what a person said last, in the chat template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from harness_llm.core import counted
from harness_llm.datasets.dataset_kind import DatasetKind, Reading
from harness_llm.datasets.messages import Messages, read_messages, split_answer
from harness_llm.datasets.rowfile import read_rows
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import DatasetError

_OASST_COLUMNS = ("message_id", "parent_id", "text", "role", "deleted")
_OASST_ROLES = {"prompter": "user", "assistant": "assistant"}
_SPLITS = ("train", "validation")
_FILES = (".parquet", ".jsonl", ".jsonl.gz")
_LOST = "left out, for a message before it is not in the file"
_LONG = "left out, for it and its answer are longer than the model's context"
_STRANGE = "left out, for no question of a person ends it, or its roles are not known to the chat template"


class ShareGpt(DatasetKind):
    """ShareGPT's conversations, each one a sample.

    Attributes:
        path: ShareGPT_V3_unfiltered_cleaned_split_no_imsorry.json, or another file of that form.
    """

    kind: Literal["sharegpt"] = "sharegpt"
    path: Annotated[Path, Field(examples=["ShareGPT_V3_unfiltered_cleaned_split_no_imsorry.json"])]

    def read(self, reading: Reading) -> SampleTable:
        """Each conversation up to the last thing that the person said."""
        return _table(self, self.path, _sharegpt(self.path), reading)


class Oasst1(DatasetKind):
    """OpenAssistant's conversation trees: each message of a person is a sample, with all before it.

    Attributes:
        path: The published messages (`.messages.jsonl.gz`), a Parquet file of them, or a folder of several,
            of which those of `train` come first.
    """

    kind: Literal["oasst1"] = "oasst1"
    path: Annotated[Path, Field(examples=["2023-04-12_oasst_ready.messages.jsonl.gz"])]

    def read(self, reading: Reading) -> SampleTable:
        """Every path from a root to a message of a person, in the order of the messages."""
        return _table(self, self.path, _oasst1(_files(self.path)), reading)


def _table(
    kind: DatasetKind, path: Path, found: Iterator[tuple[str, Messages | None]], reading: Reading
) -> SampleTable:
    """The conversations as samples, as many as are wanted; those that cannot be asked are counted."""
    left_out: Counter[str] = Counter()
    prompts: list[list[int]] = []
    limits, context = reading.limits, reading.context
    for why, messages in found:
        if kind.samples is not None and len(prompts) == kind.samples:
            break  # there are many, and each takes a while
        if messages is None:
            left_out[why] += 1
            continue
        try:
            tokens = reading.tokenizer.encode_chat(messages)
        except ValueError:  # the template refuses it
            left_out[_STRANGE] += 1
            continue
        if context is not None and len(tokens) + limits.max_tokens > context:
            left_out[_LONG] += 1
        else:
            prompts.append(tokens)
    said = tuple(f"{path}: {why} ({counted(count, 'conversation')})" for why, count in left_out.items())
    if not prompts:
        raise DatasetError("\n".join((f"{path}: holds no conversation that can be asked", *said)))
    return SampleTable.from_prompts(
        kind.kind,
        prompts,
        max_tokens=limits.max_tokens,
        min_tokens=limits.min_tokens,
        source=str(path),
        notes=said,
    )


def _sharegpt(path: Path) -> Iterator[tuple[str, Messages | None]]:
    for where, row in read_rows(path, lambda _: None):
        if "conversations" not in row:
            raise DatasetError(f"{where}: has no conversations", "Give ShareGPT's file as it is published.")
        try:
            asked, _ = split_answer(read_messages(row["conversations"]), first=False)
        except ValueError:
            asked = []
        is_question = bool(asked) and asked[-1]["role"] == "user"
        yield _STRANGE, asked if is_question else None


def _files(path: Path) -> list[Path]:
    """The file, or those of a folder, train before validation."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.name.endswith(_FILES))
    order = [[file for file in files if split in file.name] for split in _SPLITS]
    if not (found := order[0] + order[1] or files):
        raise DatasetError(f"{path}: holds none of *{', *'.join(_FILES)}", "Name the file of the messages.")
    return found


def _oasst1(files: list[Path]) -> Iterator[tuple[str, Messages | None]]:
    rows: dict[str, dict[str, Any]] = {}
    for file in files:
        for where, row in read_rows(file, lambda names: [it for it in _OASST_COLUMNS if it in names]):
            if row.get("role") not in _OASST_ROLES or not isinstance(row.get("text"), str):
                raise DatasetError(
                    f"{where}: is no message of OpenAssistant: needs message_id, text and a role of "
                    f"{' or '.join(_OASST_ROLES)}",
                    "Give the file of messages, not of trees.",
                )
            if not row.get("deleted"):
                rows[str(row.get("message_id"))] = row
    for row in rows.values():
        if row["role"] == "prompter":
            yield _LOST, _path_to(row, rows)


def _path_to(row: dict[str, Any], rows: dict[str, dict[str, Any]]) -> Messages | None:
    """Messages from the root of a tree to one of it; None where one of them is missing."""
    path: Messages = []
    seen: set[str] = set()
    while True:
        path.append({"role": _OASST_ROLES[row["role"]], "content": row["text"]})
        parent = row.get("parent_id")
        if not parent:
            return path[::-1]
        if str(parent) in seen or str(parent) not in rows:
            return None
        seen.add(str(parent))
        row = rows[str(parent)]
