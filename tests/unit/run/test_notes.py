"""Settings that would do nothing: refused, or said before the start."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from own_benchmark import CONF, OFFICIAL, TEST07, Setup, synthetic

from harness_llm.benchmark import resolve
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError, HostError
from harness_llm.launch import placement as devices
from harness_llm.run import inputs
from harness_llm.run.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_llm.config.harness import RunConfig


def _notes(config: RunConfig, tests: Sequence[str] = ("performance",)) -> tuple[str, ...]:
    return prepare([config], tests).notes


def test_a_setting_that_does_nothing_is_said(setup: Setup) -> None:
    (said,) = _notes(setup.config("Offline", {"max_num_seqs": 4, "dtype": "auto"}))
    assert "llm_config (all but the model and its tokenizer) does nothing with the simulated engine" in said


def test_a_replica_that_is_not_there_to_hang_is_said(setup: Setup) -> None:
    engine = {"kind": "simulated", "hang_after": 9, "hang_replica": 2}
    assert not _notes(setup.config("Offline", engine=engine, replicas=3))
    (said,) = _notes(setup.config("Offline", engine=engine, replicas=2))
    assert said == "Offline: engine.hang_replica 2 does nothing where the last of 2 replicas is 1"


def test_one_sample_asked_again_and_again_is_said_before_the_start(setup: Setup) -> None:
    setup.conf.write_text(CONF + "mine.Offline.performance_issue_same = 1\n")
    (said,) = _notes(setup.config("Offline"))
    assert "performance_issue_same = 1" in said and "one sample is asked again and again" in said
    assert _notes(setup.config("Offline"), ["accuracy"]) == ()


def test_settings_that_do_something_are_not_spoken_of(setup: Setup) -> None:
    engine = {"kind": "simulated", "first_token_ms": 1}
    given = {"offline_backlog": 3, "engine": engine, "dataset": synthetic(seed=5), "replicas": 2}
    assert _notes(setup.config("Offline", **given)) == ()


def test_an_official_benchmark_on_few_samples_or_with_a_reference_says_so(setup: Setup) -> None:
    setup.conf.write_text(OFFICIAL)
    notes = _notes(setup.config("Offline", benchmark="gpt-oss-120b", reference="mine.json"))
    assert (
        "10 samples; the rules of gpt-oss-120b ask for the data set of gpt-oss-120b: 4395 or 6396" in notes[0]
    )
    assert "reference does nothing for an official benchmark" in notes[1]
    assert not _notes(setup.config("Offline", benchmark="gpt-oss-120b", dataset=synthetic("6396:2:2")))


@pytest.mark.parametrize(("limit", "count"), [(1024, 0), (1000, 1)])
def test_an_output_limit_that_is_not_the_rules_is_said(setup: Setup, limit: int, count: int) -> None:
    setup.conf.write_text("llama2-70b.Offline.target_qps = 10\n")
    path = setup.folder / "data.jsonl"
    path.write_text('{"token_ids": [5, 6]}\n')
    config = setup.config(
        "Offline", {"model": setup.checkpoint()}, engine="vllm", benchmark="llama2-70b-99.9", dataset="jsonl",
        dataset_path=str(path), max_tokens=limit,
    )  # fmt: skip
    said = [note for note in _notes(config) if "max_tokens 1000, min_tokens 2; the rules of" in note]
    assert len(said) == count


@pytest.mark.parametrize(
    ("test", "line", "named"),
    [
        ("performance", "*.*.performance_sample_count_override = 11", "override is 11, the data set has 10"),
        ("accuracy", "mine.*.accuracy_sample_count_override = 11", "override is 11, the data set has 10"),
        ("accuracy", "mine.*.accuracy_sample_count_override = 9", "override is 9, the data set has 10"),
    ],
)
def test_a_count_that_loadgen_would_log_and_not_keep_to_is_refused(
    setup: Setup, test: str, line: str, named: str
) -> None:
    config = setup.config("Offline")
    setup.conf.write_text(f"{CONF}{line}\n")
    with pytest.raises(ConfigError, match=named) as caught:
        prepare([config], [test])
    assert str(setup.conf) in str(caught.value)
    setup.conf.write_text(f"{CONF}{line.rpartition(' ')[0]} 10\n")
    assert prepare([config], [test]).tests[0].name == f"Offline/{test}"


def test_samples_for_a_test_that_the_benchmark_does_not_have_are_refused(setup: Setup) -> None:
    setup.conf.write_text("llama3_1-8b.Offline.target_qps = 10\n")
    config = setup.config("Offline", benchmark="llama3.1-8b", tests=TEST07)
    with pytest.raises(ConfigError, match=r"tests\.TEST07: llama3\.1-8b has no such test") as caught:
        prepare([config], ["performance"])
    assert "TEST06" in caught.value.remedy


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"interface": "lo", "port": 65534, "replicas": 2}, "port: 65534 leaves no port for every replica"),
        ({"interface": "lo", "port": 65535}, "port: 65535 leaves no port for every replica"),
        ({"scenario": "Server", "offline_backlog": 3}, "offline_backlog: does nothing in scenario Server"),
        (
            {"min_tokens": 7, "tests": {"accuracy": {**TEST07["TEST07"], "max_tokens": 6}}},
            "tests.accuracy.max_tokens: 6 is below min_tokens 7",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_as_it_is_read(
    setup: Setup, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        setup.config(**{"scenario": "Offline"} | given)
    assert setup.config("Offline", interface="lo", port=65533, replicas=2).harness_config.port == 65533


def test_devices_are_counted_before_the_start(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    path = setup.folder / "data.jsonl"
    path.write_text('{"token_ids": [5, 6], "max_tokens": 4}\n')
    given = {"dataset": "jsonl", "dataset_path": str(path)}
    asked = {"kind": "vllm", "devices_per_replica": 2}
    model = {"model": setup.checkpoint()}
    monkeypatch.setattr(devices.accelerators, "read", lambda: SimpleNamespace(accelerators=()))
    with pytest.raises(ConfigError, match="asks for 2 devices per replica, this host has no GPU"):
        prepare([setup.config("Offline", model, **given, engine=asked)], ["performance"])
    with pytest.raises(ConfigError, match="4000 replicas on"):
        prepare([setup.config("Offline", model, **given, engine="vllm", replicas=4000)], ["performance"])


def test_a_loadgen_that_does_not_load_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(command: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(HostError, match="LoadGen did not start within 120 s"):
        inputs.check_loadgen(resolve("llama3.1-8b"), Scenario.OFFLINE)


@pytest.mark.parametrize(
    ("lines", "unset"),
    [
        ("", "no target_latency"),
        ("mine.*.use_token_latencies = 1", "no ttft_latency and no tpot_latency"),
        ("mine.*.use_token_latencies = 1\nmine.Server.ttft_latency = 9", "no tpot_latency"),
        ("mine.Server.target_latency = 9", ""),
    ],
)
def test_a_limit_that_nobody_chose_is_said(setup: Setup, lines: str, unset: str) -> None:
    setup.conf.write_text(f"mine.Server.target_qps = 5\nmine.Offline.target_qps = 5\n{lines}\n")
    notes = _notes(setup.config("Server"))
    assert [unset in note and "its own default, 100 ms" in note for note in notes] == [True] * bool(unset)
    assert not _notes(setup.config("Offline"))
