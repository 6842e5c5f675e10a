"""The rate of a test that is asked at a share of what the machine holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_llm.errors import ConfigError
from harness_llm.results.paths import RUN_JSON
from harness_llm.results.reading import read_record
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import TestFolder
from harness_llm.run.execute import execute
from harness_llm.run.prepare import prepare
from harness_llm.testing import RecordingView

if TYPE_CHECKING:
    from own_benchmark import Setup

ENGINE = {"kind": "simulated", "first_token_ms": 5, "per_token_ms": 5, "concurrent": 4}
CONF = """\
mine.*.use_token_latencies = 1
mine.Server.ttft_latency = 2000
mine.Server.tpot_latency = 200
mine.Server.target_qps = 100000
mine.Server.min_duration = 1
mine.Server.min_query_count = 120
"""


def test_tests_of_a_scenario_are_asked_at_a_share_of_what_a_closed_loop_held(setup: Setup) -> None:
    """The rate of user.conf would end INVALID: this engine holds a few hundred samples/s."""
    setup.conf.write_text(CONF)
    config = setup.config("Server", engine=ENGINE, measured_rate=0.5)
    prepared, view, run = (
        prepare([config], ["performance", "accuracy"]),
        RecordingView(),
        setup.folder / "run",
    )
    assert any("50% of what the machine holds" in note for note in prepared.notes)
    execute(prepared, run, view, resume=False)
    rate = read_record(run / RUN_JSON, RunRecord).rates["Server"]
    assert rate.samples == 64 and 20 < rate.held_samples_per_s < 1000
    assert rate.target_qps == pytest.approx(rate.held_samples_per_s / 2, rel=0.01)
    for test in ("performance", "accuracy"):
        assert TestFolder(run / "Server" / test).record().target_qps == rate.target_qps
        conf = (run / "Server" / test / "user.conf").read_text()
        assert f"mine.Server.target_qps = {rate.target_qps}" in conf and f"# unofficial: {rate}" in conf
        assert "100000" not in conf
    assert [line for line in view.said if str(rate) in line] == [f"Server: {rate} (unofficial)"]
    assert sum(line == "Server/rate: begins" for line in view.said) == 1


def test_an_official_benchmark_has_the_rate_that_its_submitter_chose(setup: Setup) -> None:
    setup.conf.write_text("gpt-oss-120b.Server.target_qps = 10\n")
    config = setup.config("Server", benchmark="gpt-oss-120b", measured_rate=0.5)
    with pytest.raises(ConfigError, match="measured_rate is not for gpt-oss-120b"):
        prepare([config], ["performance"])


def test_offline_has_no_rate_to_measure(setup: Setup) -> None:
    with pytest.raises(ConfigError, match="measured_rate: does nothing in Offline"):
        setup.config("Offline", measured_rate=0.5)
