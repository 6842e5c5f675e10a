"""One benchmark by any of its names, and never a wrong one in silence."""

from __future__ import annotations

import pytest

from harness_llm import rules
from harness_llm.benchmark import all_facts, facts_of, loadgen_names, resolve
from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("llama2-70b", "llama2-70b-99.9"), ("Llama-2-70b", "llama2-70b-99.9"),
        ("Llama-2-70b-chat-hf", "llama2-70b-99.9"), ("Llama2-70b-99.9", "llama2-70b-99.9"),
        ("LLAMA2_70B_99", "llama2-70b-99"), ("llama3_1-8b", "llama3.1-8b"),
        ("llama3.1-8b-instruct", "llama3.1-8b"), ("Llama-3.1-8B", "llama3.1-8b"),
        ("gpt-oss-120B", "gpt-oss-120b"), ("gpt_oss_120b", "gpt-oss-120b"), ("DeepSeek-R1", "deepseek-r1"),
        ("Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"), ("llama3_1-405b", "llama3.1-405b"),
    ],
)  # fmt: skip
def test_what_people_call_a_benchmark_is_that_benchmark_and_the_note_says_so(asked: str, name: str) -> None:
    found, right = resolve(asked), resolve(name)
    assert (found.name, found.rules, found.conf_name) == (name, right.rules, right.conf_name)
    assert found.is_official and asked in found.note and name in found.note
    assert not right.note


def test_every_name_that_the_files_give_means_its_own_benchmark() -> None:
    seen = 0
    for facts in all_facts().values():
        for alias in facts.aliases:
            assert resolve(alias).name in facts.benchmarks
            seen += 1
    for name, row in rules.table().benchmarks.items():
        assert resolve(name).name == name
        if not row.conf_name.endswith("-interactive"):
            assert resolve(row.conf_name).conf_name == row.conf_name
    assert seen > 10


@pytest.mark.parametrize(
    ("asked", "round_name", "named"),
    [
        ("llama2-70b", "v6.0", ("llama2-70b-99.9 or llama2-70b-99",)),
        (
            "llama2-70b-interactive", None,
            ("llama2-70b-interactive-99.9 or", "llama2-70b-99.9 with scenario Interactive"),
        ),
        ("llama3_1-8b-interactive", None, ("benchmark llama3.1-8b with scenario Interactive",)),
        ("gptj", None, ("LoadGen judges by limits of its own", "my-gptj")),
        ("llama3_1-8b-edge", None, ("LoadGen judges by limits of its own",)),
    ],
)  # fmt: skip
def test_a_name_by_which_loadgen_would_judge_otherwise_is_refused(
    asked: str, round_name: str | None, named: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(asked, round_name)
    for text in named:
        assert text in str(caught.value)


def test_no_name_of_mlperf_conf_is_a_benchmark_of_ones_own() -> None:
    names = rules.conf_names()
    assert len(names) > 20
    for name in names:
        try:
            assert resolve(name).is_official, name
        except ConfigError:
            continue


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("llama2-70b-fp8", "llama2-70b-99.9"), ("lama3.1-8b", "llama3.1-8b"), ("gpt-oss-120", "gpt-oss-120b"),
        ("mine", ""), ("smollm2-135m", ""), ("qwen3-32b", ""),
    ],
)  # fmt: skip
def test_a_name_of_ones_own_that_is_close_to_an_official_one_is_told(asked: str, near: str) -> None:
    found = resolve(asked)
    assert (found.name, found.is_official, found.loadgen_model(Scenario.SERVER)) == (asked, False, asked)
    assert (f"did you mean {near}," in found.note) if near else not found.note


def test_a_benchmark_says_all_that_is_known_of_it() -> None:
    found = resolve("llama3.1-8b")
    assert (found.round, found.gates) == ("v6.1", found.rules.accuracy if found.rules else ())
    assert found.metrics == ("rouge1", "rouge2", "rougeL", "rougeLsum")
    assert found.end_tokens == {128001, 128008, 128009}
    assert found.loadgen_model(Scenario.INTERACTIVE) == "llama3_1-8b-interactive"
    assert found.output_limit(Mode.ACCURACY) == 128
    assert found.model is not None and found.model.hub == "meta-llama/Llama-3.1-8B-Instruct"
    assert set(found.datasets) == {"cnn_dailymail", "cnn_dailymail_calibration"}
    own = resolve("mine")
    assert (own.round, own.gates, own.metrics, own.end_tokens, own.model, own.datasets) == (
        None, (), (), frozenset(), None, {},
    )  # fmt: skip
    assert own.output_limit(Mode.PERFORMANCE) is None
    assert resolve("smollm2-135m").metrics == ("rouge1", "rouge2", "rougeL")


def test_rules_are_of_the_round_asked_for_or_the_newest_that_has_it() -> None:
    assert resolve("llama2-70b-99").round == "v6.0"
    old = resolve("llama2-70b-99.9", "v5.0")
    assert old.round == "v5.0" and old.rules == rules.lookup("llama2-70b-99.9", "v5.0")
    gone = resolve("llama2-70b-99", "v6.1")
    assert (gone.is_official, gone.loadgen_model(Scenario.OFFLINE)) == (False, "llama2-70b")
    assert resolve("llama2-70b", "v6.1").name == "llama2-70b-99.9"
    assert not resolve("gpt-oss-120B", "v5.0").is_official, "known, and not of that round"


def test_every_official_benchmark_has_a_file_with_its_end_tokens() -> None:
    for name in rules.table().benchmarks:
        facts = facts_of(name)
        assert facts is not None and facts.end_tokens is not None, name


def test_loadgens_names_of_what_is_here_are_known_with_those_of_the_rules() -> None:
    assert {"smollm2-135m", "smollm2-135m-interactive"} <= loadgen_names()
    assert not loadgen_names() & rules.conf_names()
