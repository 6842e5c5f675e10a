"""Keys of user.conf that LoadGen reads and does not look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_llm.benchmark import resolve
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def _validate(folder: Path, benchmark: str, lines: str, scenario: Scenario = Scenario.SERVER) -> None:
    path = folder / "user.conf"
    path.write_text(lines)
    UserConf.read(path).validate(resolve(benchmark), [scenario])


@pytest.mark.parametrize(
    ("line", "needs"),
    [
        ("m.Server.ttft_latency = 9", "use_token_latencies"),
        ("m.Server.tpot_latency = 9", "use_token_latencies"),
        ("m.*.token_latency_scaling_factor = 9", "infer_token_latencies"),
        ("m.*.performance_issue_same_index = 9", "performance_issue_same"),
    ],
)
def test_a_key_that_needs_a_switch_is_refused_without_it(tmp_path: Path, line: str, needs: str) -> None:
    lines = f"m.Server.target_qps = 5\n{line}\n"
    with pytest.raises(ConfigError, match=f"does nothing without {needs}. Add `m.*.{needs} = 1`"):
        _validate(tmp_path, "m", lines)
    with pytest.raises(ConfigError, match=f"does nothing without {needs}"):
        _validate(tmp_path, "m", f"{lines}m.*.{needs} = 0\n")
    _validate(tmp_path, "m", f"{lines}m.*.{needs} = 1\n")


def test_a_limit_on_whole_answers_is_refused_where_tokens_are_judged(tmp_path: Path) -> None:
    lines = "{0}.Server.target_qps = 5\n{0}.Server.target_latency = 9\n"
    _validate(tmp_path, "m", lines.format("m"))
    with pytest.raises(ConfigError, match="m.Server.target_latency does nothing with use_token_latencies"):
        _validate(tmp_path, "m", lines.format("m") + "m.*.use_token_latencies = 1\n")
    with pytest.raises(ConfigError, match="does nothing with use_token_latencies"):
        _validate(tmp_path, "llama2-70b-99.9", lines.format("llama2-70b"))


def test_an_official_model_has_its_switch_from_mlperf_conf(tmp_path: Path) -> None:
    lines = "llama2-70b.Server.target_qps = 5\nllama2-70b.Server.ttft_latency = 9\n"
    _validate(tmp_path, "llama2-70b-99.9", lines)
