from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest

from harness_llm.core import GenerationLimits
from harness_llm.datasets import SampleTable, tokenizer, validate_fit
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.kinds import KINDS, dataset_of, load
from harness_llm.errors import DatasetError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} {% endfor %}"
    "{% if messages[-1]['role'] == 'assistant' %}{{ raise_exception('the answer is there') }}{% endif %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_WORDS = ("<unk>", "<s>", "</s>", "<user>", "<system>", "<assistant>", "def", "f", "hello", "world", "you")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with a real tokenizer of eleven words and a chat template."""
    tokenizers = pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("checkpoint")
    vocabulary = {word: index for index, word in enumerate(_WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": _TEMPLATE}))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return folder


def _jsonl(tmp_path: Path, *lines: dict[str, Any]) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _load(kind: str, path: Path, model: Path | None = None, **keys: Any) -> SampleTable:
    reading = Reading(GenerationLimits(min_tokens=2, max_tokens=64), model)
    return load(dataset_of({"kind": kind, "path": path, **keys}), reading)


def _words(table: SampleTable, sample: int) -> str:
    return " ".join(_WORDS[token] for token in table.prompt(sample))


def _human_eval(rows: int) -> bytes:
    row = {
        "task_id": "t",
        "prompt": "def f",
        "canonical_solution": "return 1",
        "entry_point": "f",
        "test": "",
    }
    return b"".join(json.dumps(row).encode() + b"\n" for _ in range(rows))


def test_plain_prompt_is_wrapped_unless_told_not_to(tmp_path: Path, checkpoint: Path) -> None:
    path = _jsonl(
        tmp_path,
        {"prompt": "hello world"},
        {"messages": [{"role": "system", "content": "you"}, {"role": "user", "content": "hello"}]},
    )
    wrapped = _load("jsonl", path, checkpoint)
    assert _words(wrapped, 0) == "<user> hello world <assistant>"
    assert _words(wrapped, 1) == "<system> you <user> hello <assistant>"
    plain = _load("jsonl", path, checkpoint, chat_template=False)
    assert _words(plain, 0) == "hello world"
    assert _words(plain, 1) == "<system> you <user> hello <assistant>"


def test_conversation_that_the_template_refuses_names_its_line(tmp_path: Path, checkpoint: Path) -> None:
    path = _jsonl(tmp_path, {"messages": [{"role": "assistant", "content": "hello"}]})
    with pytest.raises(DatasetError, match="line 1: Cannot apply chat template to an empty conversation"):
        _load("jsonl", path, checkpoint)


@pytest.mark.parametrize("in_folder", [True, False])
def test_humaneval_is_one_user_message_a_sample(tmp_path: Path, checkpoint: Path, in_folder: bool) -> None:
    file = tmp_path / "HumanEval.jsonl.gz"
    file.write_bytes(gzip.compress(_human_eval(164)))
    path = tmp_path if in_folder else file
    table = _load("humaneval", path, checkpoint)
    assert len(table) == 164
    assert _words(table, 163) == "<user> def f <assistant>"
    assert table.references == ("return 1",) * 164


def test_humaneval_of_another_size_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "HumanEval.jsonl").write_bytes(_human_eval(163))
    with pytest.raises(DatasetError, match="found 163 samples, HumanEval has 164"):
        _load("humaneval", tmp_path, checkpoint)


def test_humaneval_row_without_solution_is_named(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "HumanEval.jsonl").write_bytes(_human_eval(3) + b'{"prompt": "def f"}\n')
    with pytest.raises(DatasetError, match="line 4: canonical_solution is None"):
        _load("humaneval", tmp_path, checkpoint)


def test_humaneval_needs_a_model_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds neither"):
        _load("humaneval", tmp_path, tmp_path)
    (tmp_path / "HumanEval.jsonl.gz").write_bytes(gzip.compress(_human_eval(164)))
    with pytest.raises(DatasetError, match="no model is given"):
        _load("humaneval", tmp_path)


def test_folder_without_tokenizer_is_a_model_error(tmp_path: Path) -> None:
    path = _jsonl(tmp_path, {"prompt": "hello"})
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no tokenizer"):
        _load("jsonl", path, tmp_path)


class PanicException(BaseException):
    """As Rust's, in the tokenizers package."""


@pytest.mark.parametrize(
    "raised", [TypeError("a list"), AttributeError("x"), RuntimeError("y"), PanicException("unwrap on None")]
)
def test_whatever_a_library_makes_of_a_damaged_tokenizer_is_a_model_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    def load(_: object) -> None:
        raise raised

    monkeypatch.setattr(tokenizer, "_load", load)
    path = _jsonl(tmp_path, {"prompt": "hello"})
    with pytest.raises(ModelError, match=f"holds no tokenizer .*{type(raised).__name__}: {raised}"):
        _load("jsonl", path, tmp_path)


def test_an_interrupt_while_a_tokenizer_is_loaded_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tokenizer, "_load", load)
    with pytest.raises(KeyboardInterrupt):
        _load("jsonl", _jsonl(tmp_path, {"prompt": "hello"}), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_named_as_its_own_keys_say_and_holds_no_others(kind: str) -> None:
    keys = KINDS[kind].model_fields
    assert kind in get_args(keys["kind"].annotation) and KINDS[kind].__doc__
    needed = {name: "1:2:3" for name, field in keys.items() if field.is_required()}
    assert needed, "a data set comes from somewhere"
    assert dataset_of({"kind": kind, **needed}).samples is None
    with pytest.raises(ValueError, match="Extra inputs"):
        dataset_of({"kind": kind, **needed, "unheard": 1})
    with pytest.raises(ValueError, match="Field required"):
        dataset_of({"kind": kind})


@pytest.mark.parametrize("kind", ["orca", ["jsonl"], None, 7])
def test_a_kind_that_nobody_knows_is_refused_with_those_that_are(kind: object) -> None:
    said = re.escape(f"unknown kind of data set {kind!r}; known: ")
    with pytest.raises(ValueError, match=f"{said}.*openorca"):
        dataset_of({"kind": kind})


def test_first_samples_are_the_same_samples(tmp_path: Path) -> None:
    path = _jsonl(tmp_path, *({"token_ids": [n, n], "reference": str(n)} for n in range(3, 9)))
    table = _load("jsonl", path, samples=2)
    assert [table.prompt(index).tolist() for index in range(len(table))] == [[3, 3], [4, 4]]
    assert table.references == ("3", "4")
    with pytest.raises(DatasetError, match="7 samples are asked for, the data set has 6"):
        _load("jsonl", path, samples=7)


def _table(prompts: list[list[int]], max_tokens: list[int]) -> SampleTable:
    return SampleTable.from_prompts("t", prompts, max_tokens=max_tokens, min_tokens=2)


def test_fit_is_exact_at_the_limit() -> None:
    table = _table([[4] * 10, [4] * 3], [5, 12])
    validate_fit(table, 15, vocab_size=5)
    with pytest.raises(DatasetError) as caught:
        validate_fit(table, 14)
    assert "sample 0 needs 10 prompt tokens + 5 max_tokens = 15 tokens" in caught.value.message
    assert "2 of 2 samples" in caught.value.message


def test_token_beyond_the_vocabulary_names_its_sample() -> None:
    with pytest.raises(DatasetError, match="sample 1 holds token id 9, the model's vocabulary ends at 8"):
        validate_fit(_table([[4, 5], [9], [3]], [2, 2, 2]), 100, vocab_size=9)


def test_saved_table_reads_back_equal(tmp_path: Path) -> None:
    table = _table([[4, 5], [9]], [2, 3])
    table.save(tmp_path / "samples.npz")
    back = SampleTable.load(tmp_path / "samples.npz")
    assert back.digest == table.digest
    assert np.array_equal(back.max_tokens, table.max_tokens)
