"""An edit of a number, a file or a pair of files at random is refused, or is provably without effect."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from mutation.good_tree import build
from mutation.places import Places
from mutation.random_edits import (
    CHANGES,
    FILE_CHANGES,
    PAIR_CHANGES,
    Edit,
    figure_edit,
    file_edit,
    number_edit,
    pair_edit,
)
from mutation.without_effect import BOUNDED, WITHOUT_EFFECT, reason

from harness_llm.check import check_tree

_SHORT = 45  # edits, about half a second each
_LONG_SECONDS = 600


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(build(tmp_path_factory.mktemp("random") / "tree"))


def judge(places: Places, edit: Edit) -> bool:
    """Whether the edit is refused; one that is not must have a reason, and is no traceback."""
    with edit.applied():
        report = check_tree(places.tree, "v6.1")
    assert not report.passed or reason(edit.key), f"passes: {edit.shown} ({edit.key})"
    return not report.passed


def draw(data: st.DataObject, places: Places) -> Edit | None:
    """An edit of any kind; each kind of number is as likely as any other."""
    kind = data.draw(st.sampled_from(("number", "number", "number", "figure", "file", "pair")))
    if kind == "number":
        numbers = places.by_key[data.draw(st.sampled_from(sorted(places.by_key)))]
        return number_edit(places, data.draw(st.sampled_from(numbers)), data.draw(st.sampled_from(CHANGES)))
    if kind == "figure":
        pair = data.draw(st.sampled_from(places.printed))
        return figure_edit(places, pair, data.draw(st.sampled_from(CHANGES)))
    if kind == "file":
        path, how = data.draw(st.sampled_from(places.files)), data.draw(st.sampled_from(FILE_CHANGES))
        return file_edit(path, how, data.draw(st.floats(0, 1)))
    return pair_edit(data.draw(st.sampled_from(places.twins)), data.draw(st.sampled_from(PAIR_CHANGES)))


def test_there_is_something_to_edit(places: Places) -> None:
    assert len(places.by_key) > 150 and len(places.files) > 30
    assert len(places.twins) > 100 and len(places.printed) > 100
    assert check_tree(places.tree, "v6.1").passed


def test_each_reason_is_a_sentence_and_reads_no_key_of_a_rule() -> None:
    assert all(len(why.split()) > 4 for why in (WITHOUT_EFFECT | BOUNDED).values())
    for key in (
        "performance/run_1/mlperf_log_detail.txt:result_completed_tokens_per_second",
        "both:performance/run_1/mlperf_log_detail.txt:result_completed_tokens_per_second",
        "performance/run_1/mlperf_log_detail.txt:effective_qsl_rng_seed",
        "performance/run_1/mlperf_log_detail.txt:loaded_qsl_set",
        "remove:accuracy/mlperf_log_accuracy.json",
        "copy:accuracy/mlperf_log_detail.txt:accuracy/mlperf_log_detail.txt",
        "swap:performance/run_1/mlperf_log_detail.txt:TEST06/performance/run_1/mlperf_log_detail.txt",
    ):
        assert reason(key) is None, key


@settings(max_examples=_SHORT, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_edit_is_refused_or_without_effect(places: Places, data: st.DataObject) -> None:
    if edit := draw(data, places):
        judge(places, edit)


@pytest.mark.long
@pytest.mark.timeout(2 * _LONG_SECONDS)
def test_ten_minutes_of_edits(places: Places) -> None:
    refused: list[bool] = []
    ends, rounds = time.monotonic() + _LONG_SECONDS, 0
    while time.monotonic() < ends:  # in rounds of other seeds: what a round draws must not depend on the time
        rounds += 1

        @seed(rounds)
        @settings(max_examples=_SHORT, database=None, suppress_health_check=list(HealthCheck))
        @given(data=st.data())
        def edits(data: st.DataObject) -> None:
            if edit := draw(data, places):
                refused.append(judge(places, edit))

        edits()
    print(f"{len(refused)} edits: {sum(refused)} refused, the others without effect")  # noqa: T201
    assert 2 * sum(refused) > len(refused) > _SHORT
