r"""Exact-match scores of reasoning models: a letter (GPQA) or a whole number (AIME) out of a long answer.

Which part of the text counts is MLCommons' rule for gpt-oss-120b, kept to the letter so that the score is the
one that its own evaluation gives (language/gpt-oss-120b/eval_accuracy.py lines 110-305 and
eval_mlperf_accuracy.py, @b66003e1): gpt-oss reasons in a channel `analysis` and answers in a channel `final`.

- A letter A to D: the first letter of the final channel if it stands alone, else the first `Answer: X` in
  it, else the last `Answer: X` anywhere. A text without a final channel (cut by the output limit) is searched
  as a whole.
- A number: the last `\boxed{digits}` anywhere, else the last `Answer: digits`; 0 to 999.

One consequence of that rule: a final channel that begins with the article "A" answers A.
"""

import re
from collections.abc import Collection, Iterable

from harness_llm.accuracy.metrics.metric import Answer, Scores
from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import DatasetError

_FINAL = re.compile(r"<\|channel\|>final[^<]*<\|message\|>(.*?)(?:<\|return\|>|\Z)", re.DOTALL)
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_ALONE = re.compile(r"[^a-zA-Z]*([A-D])(?![a-zA-Z])", re.IGNORECASE)
_NAMED = re.compile(r"\bAnswer\s*[:.]?\s*([A-D])\b", re.IGNORECASE)
_NAMED_ANYWHERE = re.compile(
    r"\b(?:FINAL\s*)?ANSWER\b\s*[:=]?\s*\(?\s*([A-D])\s*\)?(?:\s*\Z|[^A-Za-z])", re.IGNORECASE
)
_BOXED = re.compile(r"\\boxed\{\s*(\d+)\s*\}")
_NUMBERED = re.compile(r"Answer:\s*(\d+)(?!\.)\b", re.IGNORECASE)
_LETTERS = frozenset("ABCD")
_LARGEST_NUMBER = 999
_DECIMALS = 3  # as the official script prints its score


class ExactMatch:
    """Share of right answers in percent, to 3 decimals."""

    name = "exact_match"
    scores: tuple[str, ...] = ("exact_match",)

    def check(self, table: SampleTable, wanted: Collection[str] = ()) -> None:
        """Whether every sample's reference is a letter A to D or a whole number."""
        where = table.source or table.name
        if table.references is None:
            raise DatasetError(
                f"{where}: has no reference answers, so exact match cannot be scored",
                "Take the data set whose samples have a ground truth.",
            )
        for index, reference in enumerate(table.references):
            expected = reference.strip()
            if expected.upper() not in _LETTERS and not (expected.isascii() and expected.isdigit()):
                raise DatasetError(
                    f"{where}: sample {index} has the reference {reference[:40]!r}, neither a letter A to D "
                    "nor a whole number",
                    "Exact match scores GPQA and AIME samples; other kinds need MLCommons' own script.",
                )

    def score(self, answers: Iterable[Answer], table: SampleTable, tokenizer: Tokenizer) -> Scores:
        """The share of right answers; every answer counts, as MLCommons counts.

        Answers become text with special tokens, because channels are marked by them.
        """
        assert table.references is not None
        right = total = 0
        for answer in answers:
            (text,) = tokenizer.decode([answer.tokens], special_tokens=True)
            right += is_right(text, table.references[answer.sample])
            total += 1
        return Scores({self.name: round(100 * right / total, _DECIMALS)} if total else {})


def final_channel(text: str) -> str:
    """What stands in the first channel `final`, stripped; the whole text where there is none."""
    text = text.strip()
    found = _FINAL.search(text)
    return found[1].strip() if found else text


def letter(text: str) -> str | None:
    """The letter that an answer chose, `A` to `D`; None where it chose none."""
    final = _unescaped(_BOLD.sub(r"\1", final_channel(text)))
    found = _ALONE.match(final) or _NAMED.search(final)
    if found:
        return found[1].upper()
    anywhere = _NAMED_ANYWHERE.findall(_unescaped(text.strip()))
    return str(anywhere[-1]).upper() if anywhere else None


def number(text: str) -> int | None:
    """The whole number that an answer gave, 0 to 999; None where it gave none."""
    found = _BOXED.findall(text) or _NUMBERED.findall(text)
    digits = str(found[-1]).lstrip("0") if found else None
    if digits is None or len(digits) > len(str(_LARGEST_NUMBER)):
        return None
    return int(digits or "0")


def is_right(text: str, reference: str) -> bool:
    """Whether an answer chose the letter, or gave the number, that the reference has."""
    wanted = reference.strip().upper()
    return letter(text) == wanted if wanted in _LETTERS else number(text) == int(wanted)


def _unescaped(text: str) -> str:
    return text.replace(r"\n", "\n").replace(r"\'", "'")
