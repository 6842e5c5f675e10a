from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from word_tokenizer import save_tokenizer

from harness_llm.core import GenerationLimits
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.kinds import dataset_of, load
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import DatasetError

HELLO, YOU, BREAD, USER, ANSWER = 5, 6, 7, 3, 4


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return save_tokenizer(folder)


def _load(kind: str, path: Path, model: Path, context: int | None = None, **keys: Any) -> SampleTable:
    reading = Reading(GenerationLimits(2, 8), model, context=context)
    return load(dataset_of({"kind": kind, "path": str(path), **keys}), reading)


def _prompts(table: SampleTable) -> list[list[int]]:
    return [table.prompt(place).tolist() for place in range(len(table))]


def _message(number: str, parent: str | None, role: str, text: str, **more: Any) -> dict[str, Any]:
    return {"message_id": number, "parent_id": parent, "role": role, "text": text, "lang": "en", **more}


TREE = [
    _message("1", None, "prompter", "hello"),
    _message("2", "1", "assistant", "you"),
    _message("3", "2", "prompter", "bread"),
    _message("4", "1", "assistant", "gone", deleted=True),
    _message("5", "4", "prompter", "you"),
    _message("6", "2", "prompter", "you you you you"),
]


def _lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def test_each_message_of_a_person_is_asked_with_all_before_it(tmp_path: Path, checkpoint: Path) -> None:
    path = _lines(tmp_path / "oasst_ready.messages.jsonl.gz", TREE)
    table = _load("oasst1", path, checkpoint)
    assert _prompts(table)[:2] == [
        [1, USER, HELLO, ANSWER],
        [1, USER, HELLO, USER, YOU, USER, BREAD, ANSWER],
    ]
    assert len(table) == 3 and "a message before it is not in the file (1 conversation)" in table.notes[0]
    assert set(table.max_tokens.tolist()) == {8} and set(table.min_tokens.tolist()) == {2}
    assert len(_load("oasst1", path, checkpoint, samples=1)) == 1
    short = _load("oasst1", path, checkpoint, context=16)
    assert len(short) == 2 and any("longer than the model's context (1 conv" in it for it in short.notes)


def test_a_folder_is_read_train_before_validation(tmp_path: Path, checkpoint: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    (tmp_path / "data").mkdir()
    for name, text in (("validation", "bread"), ("train", "you")):
        rows = [_message(f"{name}", None, "prompter", text, deleted=False)]
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data" / f"{name}-00000.parquet")
    assert [it[2] for it in _prompts(_load("oasst1", tmp_path / "data", checkpoint))] == [YOU, BREAD]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds none of"):
        _load("oasst1", tmp_path / "empty", checkpoint)


def test_what_is_no_file_of_messages_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(DatasetError, match=r"line 1: is no message.*needs message_id"):
        _load("oasst1", _lines(tmp_path / "t.jsonl.gz", [{"message_tree_id": "1"}]), checkpoint)
    loop = [_message("1", "2", "prompter", "hello"), _message("2", "1", "assistant", "you")]
    with pytest.raises(DatasetError, match="holds no conversation that can be asked"):
        _load("oasst1", _lines(tmp_path / "loop.jsonl.gz", loop), checkpoint)
    with pytest.raises(DatasetError, match="has no conversations"):
        _load("sharegpt", _lines(tmp_path / "s.jsonl.gz", [{"id": "1"}]), checkpoint)


def test_sharegpt_is_asked_up_to_the_last_question(tmp_path: Path, checkpoint: Path) -> None:
    def turns(*said: tuple[str, str]) -> dict[str, Any]:
        return {"id": "x", "conversations": [{"from": who, "value": text} for who, text in said]}

    rows = [
        turns(("human", "hello"), ("gpt", "you"), ("human", "bread"), ("gpt", "cheese")),
        turns(("human", "you")),
        turns(("gpt", "hello")),
        turns(("human", "hello"), ("bing", "you")),
        {"id": "empty", "conversations": []},
    ]
    path = tmp_path / "ShareGPT_V3_unfiltered_cleaned_split_no_imsorry.json"
    path.write_text(json.dumps(rows))
    table = _load("sharegpt", path, checkpoint)
    assert _prompts(table) == [[1, USER, HELLO, USER, YOU, USER, BREAD, ANSWER], [1, USER, YOU, ANSWER]]
    assert "(3 conversations)" in table.notes[0]
