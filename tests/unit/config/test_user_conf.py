from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.benchmark import resolve
from harness_llm.config.user_conf import UserConf, parse_conf
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
# comment
#
#word
smollm2-135m.*.use_token_latencies = 1
smollm2-135m.Server.ttft_latency = 4000
  smollm2-135m.Server.target_qps\t=  1.8
smollm2-135m.Offline.target_qps = 2
*.Offline.min_duration = 10000
llama2-70b-interactive.Server.target_qps = 30
resnet50.Offline.target_qps = 3
"""


def conf(tmp_path: Path, text: str) -> UserConf:
    path = tmp_path / "user.conf"
    path.write_text(text)
    return UserConf.read(path)


def test_a_good_file_for_several_benchmarks(tmp_path: Path) -> None:
    found = conf(tmp_path, GOOD)
    found.validate(resolve("smollm2-135m"), [Scenario.OFFLINE, Scenario.SERVER])
    assert found.settings_for("smollm2-135m", Scenario.SERVER) == {
        "use_token_latencies": 1,
        "ttft_latency": 4000,
        "target_qps": 1.8,
    }
    assert found.settings_for("smollm2-135m", Scenario.OFFLINE) == {
        "use_token_latencies": 1,
        "target_qps": 2.0,
        "min_duration": 10000,
    }
    assert found.settings_for("llama2-70b-interactive", Scenario.INTERACTIVE) == {"target_qps": 30.0}


def test_lookup_order_is_loadgens(tmp_path: Path) -> None:
    lines = [
        "m.Server.min_duration = 1",
        "*.Server.min_duration = 2",
        "m.*.min_duration = 3",
        "*.*.min_duration = 4",
    ]
    for kept in range(4):
        found = conf(tmp_path, "\n".join(lines[kept:])).settings_for("m", "Server")
        assert found == {"min_duration": kept + 1}
    assert conf(tmp_path, "\n".join(lines)).settings_for("other", "Offline") == {"min_duration": 4}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("m.Server.target_qps=5", "not of the form"),
        ("m.Server.target_qps =5", "not of the form"),
        ("m.Server.target_qps", "not of the form"),
        ("m.Server.target_qps =", "not of the form"),
        ("m.Server.target_qps = 5 6", "not of the form"),
        ("m.Server.target_qps = 5 # fast", "comment after a value makes LoadGen refuse"),
        ("target_qps = 5", "three parts"),
        ("Server.target_qps = 5", "three parts"),
        (".Server.target_qps = 5", "three parts"),
        ("m.Server.target_qbs = 5", "Write `m.Server.target_qps`."),
        ("m.server.target_qps = 5", "Write `m.Server.target_qps`."),
        ("m.Interactive.target_qps = 5", "Write `m-interactive.Server.target_qps`"),
        ("m.Server.target_qps = fast", "no decimal number"),
        ("m.Server.target_qps = -5", "negative"),
        ("m.Server.target_qps = nan", "no decimal number"),
        ("m.Server.target_qps = inf", "no decimal number"),
        ("m.Server.target_qps = 1e999", "no decimal number"),
        ("m.Server.target_qps = 0x10", "no decimal number"),
        ("m.Server.min_duration = 600000.5", "cut it to 600000"),
        ("m.Server.min_duration = 6e5", "cut it to 6"),
        ("m.Server.min_duration = 0600000", "octal"),
        ("m.Server.min_duration = 0x10", "no whole decimal number"),
        ("m.Server.min_duration = -1", "negative"),
        ("m.Server.min_query_count = 9223372036854775808", "overflows"),
        ("m.Server.ttft_latency = 9223372036855", "overflows"),
        ("m.Server.max_async_queries = 2147483648", "overflows"),
        ("m.*.use_token_latencies = 2", "must be 0 or 1"),
        ("*.*.mode = 2", "the harness sets the mode"),
        ("*.*.accuracy_log_sampling_target = 100", "audit.config"),
        ("m.Server.target_qps = 5\nm.Server.target_qps = 6", "set on line 1 already"),
    ],
)
def test_what_loadgen_swallows_is_an_error_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        conf(tmp_path, line)
    assert message in str(caught.value)
    number = 1 + line.count("\n")
    assert f"user.conf:{number}: " in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("#m.Server.target_qps = 5", "put a space after `#`"),
        ("*.*.qsl_rng_seed = 1", "embedded mlperf.conf"),
        ("*.Server.target_duration = 1", "never reads"),
        ("m.Offline.ttft_latency = 5", "under Server only"),
        ("m.Interactive.samples_per_query = 5", "does not read samples_per_query"),
        ("m.Offline.target_latency_percentile = 90", "under Server and SingleStream and MultiStream only"),
        ("*.Offline.performance_sample_count = 13368", "knows no key `performance_sample_count`"),
        ("*.*.gpu_batch_size = 1024", "knows no key `gpu_batch_size`"),
        ("m.Server.target_qps = 5\nm.Server.target_qps = 5.0", "was set on line 1 already"),
    ],
)
def test_a_line_that_changes_nothing_is_a_note(tmp_path: Path, line: str, message: str) -> None:
    found = conf(tmp_path, line)
    (note,) = found.notes
    assert message in note and "The line changes nothing" in note
    assert note.startswith(f"{tmp_path / 'user.conf'}:{1 + line.count(chr(10))}: ")


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        conf(tmp_path, "a\nb.Server.target_qps = x\n\nc.Server.min_durations = 1\n")
    assert [line.split(": ")[0].rsplit(":", 1)[1] for line in str(caught.value).splitlines()] == [
        "1",
        "2",
        "4",
    ]


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("llama2-70.Server.target_qps = 1", "llama2-70b"),
        ("llama3.1-8b.Server.target_qps = 1", "llama3_1-8b"),
        ("smollm-135m.Server.target_qps = 1", "smollm2-135m"),
        ("llama2-70b-interactve.Server.target_qps = 1", "llama2-70b-interactive"),
    ],
)
def test_mistyped_models_name_the_nearest(tmp_path: Path, line: str, near: str) -> None:
    found = conf(tmp_path, GOOD + line)
    with pytest.raises(ConfigError, match=f"Did you mean `{near}`"):
        found.validate(resolve("smollm2-135m"), [Scenario.OFFLINE])
    model = line.partition(".Server")[0]
    found.validate(resolve("smollm2-135m"), [Scenario.OFFLINE], models=[model])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m.Offline.target_qps = 5", "no target_qps for Server"),
        ("m-interactive.Server.target_qps = 5", "Add `m.Server.target_qps"),
        ("m.Server.target_qps = 0", "is 0"),
        ("m.Server.target_qps = 5\nm.Server.tpot_latency = 9", "does nothing without use_token_latencies"),
        (
            "m.Server.target_qps = 5\nm.Server.min_duration = 9\n*.Server.max_duration = 8",
            "max_duration 8 is below min_duration 9",
        ),
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        conf(tmp_path, text).validate(resolve("m"), [Scenario.SERVER])


def test_official_models_need_no_switch_for_token_latencies(tmp_path: Path) -> None:
    text = "llama2-70b.Server.target_qps = 5\nllama2-70b.Server.ttft_latency = 1000"
    found = conf(tmp_path, text)
    found.validate(resolve("llama2-70b-99.9"), [Scenario.SERVER])
    assert [entry.name for entry in found.open_only("llama2-70b")] == ["llama2-70b.Server.ttft_latency"]


def test_unreadable_files_are_configuration_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.conf: no such file") as caught:
        UserConf.read(tmp_path / "absent.conf")
    assert "`harness-llm init` writes one" in caught.value.remedy
    with pytest.raises(ConfigError, match="cannot read"):
        UserConf.read(tmp_path)
    (tmp_path / "bad.conf").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read"):
        UserConf.read(tmp_path / "bad.conf")


def test_blanks_are_those_of_cpp() -> None:
    entries, problems = parse_conf("m.Server.target_qps\u00a0= 5")
    assert entries == [] and len(problems) == 1
    entries, problems = parse_conf("m.Server.target_qps = 5\r\n")
    assert [entry.value for entry in entries] == [5.0] and problems == []


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    entries, problems = parse_conf(text)
    for entry in entries:
        assert entry.value >= 0
    assert all(problem.partition(":")[0].isdigit() for problem in problems)
