"""accuracy.txt has one writer and one reader."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.results.accuracy_txt import (
    official_lines,
    official_scores,
    scores_in,
    scores_line,
    wrapped_numbers,
)

# submission_checker/constants.py, as the official checker reads a score.
OFFICIAL = r"'{}':\s+'?([0-9][0-9.]*)'?(?=[,}}\s])"


NAMES, NUMBERS = st.from_regex(r"\A[a-zA-Z_]\w{0,9}\Z"), st.floats(0, 1e9) | st.integers(0, 10**12)


@given(st.dictionaries(NAMES, NUMBERS, min_size=1))
def test_what_is_written_is_what_the_official_checker_reads(numbers: dict[str, float]) -> None:
    line = scores_line(numbers)
    assert official_scores(line) == pytest.approx(numbers, abs=1e-9)
    for name, value in numbers.items():
        (found,) = re.findall(OFFICIAL.format(name), line)
        assert float(found) == pytest.approx(value, abs=1e-9)


def test_integers_stay_integers_and_nothing_has_an_exponent() -> None:
    assert scores_line({"gen_len": 29615930, "rouge1": 0.00001, "tokens_per_sample": 294.0}) == (
        "{'gen_len': 29615930, 'rouge1': 0.00001, 'tokens_per_sample': 294}"
    )


@pytest.mark.parametrize(
    ("text", "value", "is_official"),
    [
        ("{'a': 44.43}", 44.43, True),
        ("{'a': '44.43'}", 44.43, True),
        ("'a': 44.43\n", 44.43, True),
        ("'a': 44.43", 44.43, False),  # nothing ends the number
        ("{'a':44.43}", 44.43, False),  # no blank
        ("{'a': -1.0}", -1.0, False),
        ("{'a': 1e-05}", 1e-05, False),
        ("{'a': np.float64(44.4)}", 44.4, False),
        ("{'a': 44.43x}", 44.43, False),
    ],
)
def test_only_the_official_form_counts_for_the_checker(text: str, value: float, is_official: bool) -> None:
    (score,) = scores_in(text)
    assert (score.name, score.value, score.is_official) == ("a", value, is_official)
    assert official_scores(text) == ({"a": value} if is_official else {})
    assert bool(wrapped_numbers(text)) is ("np." in text)


def test_the_last_of_a_name_counts_and_what_is_no_number_is_none() -> None:
    assert official_scores("{'a': 1.0, 'b': 2}\n{'a': 3.5}\n") == {"a": 3.5, "b": 2.0}
    assert scores_in("{'a': 1.2.3, 'b': none}") == []


def test_a_score_that_ends_its_line_counts_as_well_as_one_before_a_brace() -> None:
    text = "'exact_match': 82.888\n\n{'exact_match': 81.0, 'tokens_per_sample': 9.5}\nhash=00\n"
    assert official_lines(text) == {"exact_match": [82.888, 81.0], "tokens_per_sample": [9.5]}
