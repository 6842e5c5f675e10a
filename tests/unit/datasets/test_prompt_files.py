"""Files in which people keep prompts: how each is read, and what is said of what was not."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from word_tokenizer import TEMPLATE, save_tokenizer

from harness_llm.core import GenerationLimits
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.kinds import load
from harness_llm.datasets.prompts import Prompts
from harness_llm.datasets.tokenizer import Tokenizer, TokenizerChoice
from harness_llm.errors import DatasetError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.datasets import SampleTable

CONVERSATION = [
    {"from": "human", "value": "hello you"},
    {"from": "gpt", "value": "bread"},
    {"from": "human", "value": "and cheese"},
]
ANSWER = {"role": "assistant", "content": "x"}
BATCH = {
    "custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions",
    "body": {"model": "m", "messages": [{"role": "user", "content": "hello you"}], "max_tokens": 9},
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tokenizer(tmp_path_factory.mktemp("model"))


def _read(path: Path, model: Path | None, **keys: Any) -> SampleTable:
    return load(Prompts(path=path, **keys), Reading(GenerationLimits(min_tokens=2, max_tokens=64), model))


def _texts(table: SampleTable, model: Path) -> list[str]:
    return Tokenizer(model).decode([table.prompt(n) for n in range(len(table))], special_tokens=True)


@pytest.mark.parametrize(
    ("name", "text", "references"),
    [
        ("a.jsonl", '{"prompt": "hello you"}\n\n{"prompt": "bread"}\n\n', None),
        ("a.ndjson", '{"text": "hello you"}\n{"text": "bread"}\n', None),
        ("a.json", '[{"prompt": "hello you"}, {"prompt": "bread"}]', None),
        ("a.json", '{"prompt": "hello you"}\n{"prompt": "bread"}\n', None),
        ("a.json", '{\n "data": [{"question": "hello you"},\n {"question": "bread"}]}', None),
        ("a.json", '["hello you", "bread"]', None),
        ("a.jsonl", '[{"prompt": "hello you"}, {"prompt": "bread"}]', None),
        ("a.txt", "hello you\n\n bread\r\n".replace(" bread", "bread"), None),
        ("a.csv", "prompt,completion\nhello you,and\nbread,cheese\n", ("and", "cheese")),
        (
            "a.csv",
            '\ufeffid;question;answer\n1;"hello\nyou";"and ""x"""\n\n2;bread;cheese\n',
            ('and "x"', "cheese"),
        ),
        ("a.tsv", "input\toutput\nhello you\tand\nbread\tcheese\n", ("and", "cheese")),
    ],
)
def test_each_form_of_file_gives_its_rows(
    tmp_path: Path, model: Path, name: str, text: str, references: tuple[str, ...] | None
) -> None:
    path = tmp_path / name
    path.write_text(text, newline="")
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    for each in (path, tmp_path / f"{name}.gz"):
        table = _read(each, model, chat_template=False)
        assert _texts(table, model) == ["<s> hello you", "<s> bread"], each
        assert table.references == references


@pytest.mark.parametrize(
    ("rows", "prompt", "reference", "limit", "notes"),
    [
        ([{"id": 7, "conversations": CONVERSATION}], "<s> <u> hello you <a>", "bread", 64,
         ["read conversations as messages", "not read: id", "what follows it is not read (1 sample)"]),
        ([BATCH], "<s> <u> hello you <a>", None, 9,
         ["read body.messages as messages, body.max_tokens as max_tokens",
          "not read: body.model, custom_id, method, url"]),
        ([{"prompt": "hello you", "output_tokens": 10}], "<s> <u> hello you <a>", None, 10,
         ["read output_tokens as max_tokens"]),
        ([{"instruction": "and", "input": "hello", "output": "x"}], "<s> <u> and hello <a>", "x", 64,
         ["input below instruction"]),
        ([{"messages": [{"role": "user", "content": [{"type": "text", "text": "hello you"}]}, ANSWER]}],
         "<s> <u> hello you <a>", "x", 64, []),
        ([{"prompt": "hello", "reference": 7, "topic": "t"}], "<s> <u> hello <a>", "7", 64,
         ["not read: topic"]),
        ([{"input": "{input}", "tok_input": [5, 6], "output": "x"}], None, "x", 64,
         ["read tok_input as token_ids"]),
    ],
)  # fmt: skip
def test_each_layout_gives_its_samples(
    tmp_path: Path, model: Path, rows: list[Any], prompt: str | None, reference: str | None, limit: int,
    notes: list[str],
) -> None:  # fmt: skip
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows))
    table = _read(path, model)
    assert [table.prompt(0).tolist()] == [[5, 6]] if prompt is None else _texts(table, model) == [prompt]
    assert table.references == (None if reference is None else (reference,))
    assert table.max_tokens.tolist() == [limit]
    for note in notes:
        assert any(note in found for found in table.notes), (note, table.notes)
    assert len(table.first_sample) >= 2 and table.first_sample[0] == f"{path}, entry 1"


def test_conversations_without_an_answered_question_are_counted_not_dropped_in_silence(
    tmp_path: Path, model: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps([{"conversations": part} for part in (CONVERSATION, CONVERSATION[1:], CONVERSATION[:1])])
    )
    table = _read(path, model)
    assert len(table) == 1
    assert any("left out" in note and "(2 samples)" in note for note in table.notes)


def test_columns_are_named_by_the_user(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("q,text,truth,prompt_id\nhello you,x,bread,1\n")
    with pytest.raises(DatasetError, match="no row has the column 'qq'"):
        _read(path, model, columns={"reference": "qq"})
    table = _read(path, model, chat_template=False, columns={"prompt": "q", "reference": "truth"})
    assert (_texts(table, model), table.references) == (["<s> hello you"], ("bread",))
    assert f"{path}: not read: prompt_id, text" in table.notes
    path.write_text("prompt,reference\nhello,\nhello,x\n")
    with pytest.raises(DatasetError, match="row 2: has a reference, unlike"):
        _read(path, model)
    assert _read(path, model, columns={"reference": None}).references is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '{"a": 1}', "one JSON object with 0 lists"),
        ("a.json", "[1]", "entry 1: found 1, expected a JSON object or a text"),
        ("a.json", '[\n{"prompt": }]', "line 2: not JSON"),
        ("a.jsonl", '{"promt": "hello"}', "did you mean prompt?"),
        ("a.jsonl", '{"text": "a", "question": "b"}', "question, text may each be the prompt"),
        ("a.jsonl", '{"a": 1, "b": 2}', "no column holds a prompt; found a, b"),
        ("a.csv", "prompt,x\nhello\n", "row 1: has fewer cells"),
        ("a.csv", "prompt,x\nhello,1,2\n", "row 1: has more cells"),
        ("a.csv", "prompt,prompt\na,b\n", "two columns are called 'prompt'"),
        ("a.csv", 'prompt,x\n"hello"u,1\n', "not CSV"),
        ("a.txt", "\n \n", "the file is empty"),
        ("a.parquet", "PAR", "cannot be read as Parquet"),
        (
            "a.jsonl",
            '{"conversations": [{"from": "wizard", "value": "x"}]}',
            "messages.0.role: found 'wizard'",
        ),
        (
            "a.jsonl",
            '{"messages": [{"role": "user", "content": [{"image_url": 1}]}]}',
            "only texts are asked",
        ),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(
    tmp_path: Path, model: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        _read(path, model)
    assert str(path) in caught.value.message and said in caught.value.message
    assert caught.value.remedy


# ---------------------------------------------------------------------------- what a chat template does


def test_a_prompt_that_was_wrapped_already_is_refused_and_a_marker_inside_one_is_counted(
    tmp_path: Path, model: Path
) -> None:
    path = tmp_path / "a.jsonl"
    for text in ("<u> hello you <a>", "  <s> hello", "<|im_start|>user\nhello", "[INST] hello [/INST]"):
        path.write_text(json.dumps({"prompt": text}))
        with pytest.raises(DatasetError, match="in a chat template already") as caught:
            _read(path, model)
        assert "chat_template: false" in caught.value.remedy
        assert len(_read(path, model, chat_template=False)) == 1
    path.write_text(json.dumps({"prompt": "hello <u> you"}))
    assert any("holds the chat marker <u>" in note for note in _read(path, model).notes)
    path.write_text(json.dumps({"prompt": "hello <b> you"}))
    assert _read(path, model).notes == ()


def test_a_begin_token_is_never_doubled(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "<s> hello"}) + "\n" + json.dumps({"prompt": "hello"}))
    assert _texts(_read(path, model, chat_template=False), model) == ["<s> hello"] * 2


def test_a_template_that_writes_the_date_writes_the_same_on_any_day(tmp_path: Path) -> None:
    model = save_tokenizer(
        tmp_path / "model",
        TEMPLATE.replace("<u>", "<u> {{ 'bread ' if strftime_now('%Y') == '2024' else 'cheese ' }}"),
    )
    (tmp_path / "a.txt").write_text("hello\n")
    table = _read(tmp_path / "a.txt", model)
    assert _texts(table, model) == ["<s> <u> bread hello <a>"]
    assert table.notes == ("the chat template writes today's date; it is 2024 in every prompt, on any day",)


def test_the_tokenizer_is_the_one_that_the_engine_is_told(tmp_path: Path, model: Path) -> None:
    other = TokenizerChoice.of(tmp_path / "weights", {"tokenizer": str(model), "trust_remote_code": True})
    assert other == TokenizerChoice(model, "auto", trust_remote_code=True)
    assert Tokenizer(other).encode("hello") == Tokenizer(model).encode("hello")
    assert TokenizerChoice.of(model, {"tokenizer_mode": "HF"}) == TokenizerChoice(model, "hf")
    with pytest.raises(ModelError, match="tokenizer_mode 'deepseek_v32' is vLLM's own code"):
        Tokenizer(TokenizerChoice.of(model, {"tokenizer_mode": "deepseek_v32"}))


def test_code_beside_a_tokenizer_runs_only_where_the_user_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_tokenizer(tmp_path / "model")
    config = json.loads((model / "tokenizer_config.json").read_text())
    config |= {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    (model / "own.py").write_text(
        "from transformers import PreTrainedTokenizerFast\nclass Own(PreTrainedTokenizerFast):\n  pass\n"
    )
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question on stdin"))
    with pytest.raises(ModelError, match="Python code in that folder") as caught:
        Tokenizer(model)
    assert "trust_remote_code: true" in caught.value.remedy
    allowed = Tokenizer(TokenizerChoice(model, trust_remote_code=True))
    assert allowed.encode("hello") == [1, 5]
