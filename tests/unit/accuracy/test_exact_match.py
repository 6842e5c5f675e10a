from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.accuracy import every_answer
from harness_llm.accuracy.metrics import Answer, ExactMatch
from harness_llm.accuracy.metrics.exact_match import final_channel, is_right, letter, number
from harness_llm.datasets import SampleTable
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import DatasetError, RunBroken

if TYPE_CHECKING:
    from pathlib import Path

THINK = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant"
FINAL = "<|channel|>final<|message|>{}<|return|>"


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        (FINAL.format("C"), "C"),
        (FINAL.format("**b**"), "B"),
        (FINAL.format("(D) because"), "D"),
        (FINAL.format("The gas expands.\n\nAnswer: A"), "A"),
        (FINAL.format("**Answer: C**"), "C"),
        (FINAL.format("Answer: B. Not answer: C."), "B"),
        (FINAL.format("Both hold.\\nAnswer: B"), "B"),
        (FINAL.format("['C']"), "C"),
        # Reasoning that names other letters is not the answer.
        (THINK.format("Answer: A? No. ANSWER: B.") + FINAL.format("D"), "D"),
        # A marker that the model spelled badly is a marker still.
        ("<|channel|>final 537<|message|>B<|return|>", "B"),
        # Two final channels: the first counts. The end marker may be missing.
        (FINAL.format("A") + FINAL.format("B"), "A"),
        ("<|channel|>final<|message|>Answer: C", "C"),
        # Cut in the middle of the reasoning: what stands there counts, by MLCommons' rule.
        ("<|channel|>analysis<|message|>so I take answer: B", "B"),
        (THINK.format("FINAL ANSWER = (D)") + FINAL.format("see above"), "D"),
        (THINK.format("ANSWER: A then ANSWER: B") + FINAL.format("as I said"), "B"),
        # By the same rule the article "A" at the very beginning is a letter.
        (FINAL.format("A careful look gives Answer: C"), "A"),
        (FINAL.format("E"), None),
        (FINAL.format("Answer: Copper"), None),
        (FINAL.format(""), None),
        ("", None),
        ("   \n", None),
        (THINK.format("I do not know"), None),
    ],
)
def test_the_letter_that_counts(text: str, chosen: str | None) -> None:
    assert letter(text) == chosen


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (r"so \boxed{42}", 42),
        (r"\boxed{1} or rather \boxed{ 204 }", 204),
        (r"\boxed{007}", 7),
        (r"\boxed{0}", 0),
        (r"\boxed{0000999}", 999),
        (r"\boxed{1000}", None),
        (r"\boxed{x} Answer: 12", 12),
        (r"Answer: 3 … answer: 5", 5),
        (r"Answer: 3.5", None),
        (r"\boxed{7} Answer: 9", 7),
        ("204", None),
        ("", None),
        (r"\boxed{" + "9" * 5000 + "}", None),
    ],
)
def test_the_number_that_counts(text: str, given: int | None) -> None:
    assert number(text) == given


@given(st.text(alphabet="ABCDabcd E.:*()[]'\"\\n<|>answerANSWERfinal0123boxed{}\n", max_size=200))
def test_no_text_is_raised_and_only_known_answers_come_out(text: str) -> None:
    assert letter(text) in {None, *"ABCD"}
    found = number(text)
    assert found is None or 0 <= found <= 999
    assert final_channel(text) in text


@pytest.mark.parametrize(
    ("reference", "right"), [("C", True), (" c ", True), ("A", False), ("3", False), ("12", True)]
)
def test_a_reference_is_a_letter_or_a_number(reference: str, right: bool) -> None:
    assert is_right(FINAL.format(r"C, and \boxed{12}"), reference) is right


def _table(references: list[str] | None) -> SampleTable:
    prompts = [[1]] * (len(references) if references else 2)
    return SampleTable.from_prompts("gpqa", prompts, max_tokens=9, min_tokens=2, references=references)


@pytest.mark.parametrize("references", [None, ["A", ""], ["A", "E"], ["A", "AB"], ["A", "1.5"], ["A", "²"]])
def test_references_that_cannot_be_matched_are_refused(references: list[str] | None) -> None:
    with pytest.raises(DatasetError, match=r"gpqa: (has no reference|sample 1 has the reference)"):
        ExactMatch().check(_table(references))
    ExactMatch().check(_table(["A", "d", "204"]))


class _Words:
    """Token n is the n-th of these texts."""

    texts = ("", "<|channel|>final<|message|>", "A", "B", "<|return|>", "thinking")

    def decode(self, answers: Any, *, special_tokens: bool) -> list[str]:
        assert special_tokens, "markers are special tokens"
        return ["".join(self.texts[int(token)] for token in answer) for answer in answers]


def test_a_score_is_the_share_of_right_answers_among_all_logged() -> None:
    table = _table(["A", "B", "A"])
    answers = [Answer(0, [1, 2, 4]), Answer(1, [5]), Answer(2, [1, 3, 4]), Answer(0, [1, 2, 4])]
    words: Any = _Words()
    assert ExactMatch().score(answers, table, words).values == {"exact_match": 50.0}
    assert ExactMatch().score(answers[:3], table, words).values == {"exact_match": 33.333}
    assert ExactMatch().score([], table, words).values == {}


def test_every_answer_of_a_log_counts_and_none_is_to_a_strange_sample(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    lines = [
        json.dumps({"seq_id": 0, "qsl_idx": sample, "data": np.array([7], "<i4").tobytes().hex()})
        for sample in (0, 1, 0)
    ]
    log.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    assert [answer.sample for answer in every_answer(log, 2)] == [0, 1, 0]
    with pytest.raises(RunBroken, match="line 3: answers sample 1 of 1"):
        list(every_answer(log, 1))


def test_text_keeps_the_markers_of_channels(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = {"<|channel|>": 0, "final": 1, "<|message|>": 2, "B": 3, "<|return|>": 4, "[UNK]": 5}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.add_special_tokens([word for word in words if word.startswith("<|")])
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    tokenizer, answer = Tokenizer(tmp_path), np.array([0, 1, 2, 3, 4], np.int32)
    (text,) = tokenizer.decode([answer], special_tokens=True)
    assert "<|channel|>" not in tokenizer.decode([answer])[0]
    assert "<|channel|>" in text and "<|return|>" in text
    assert letter(text.replace(" ", "")) == "B"
