"""The rate of a test that is asked at a share of what the machine holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_llm.core import Mode
from harness_llm.errors import ConfigError
from harness_llm.results.paths import RUN_JSON
from harness_llm.results.reading import read_record
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import TestFolder
from harness_llm.run.execute import execute
from harness_llm.run.groups import measure_once
from harness_llm.run.prepare import prepare
from harness_llm.testing import RecordingView

if TYPE_CHECKING:
    from pathlib import Path

    from own_benchmark import Setup

    from harness_llm.fleet.fleet import Fleet
    from harness_llm.fleet.measurement import TestResult
    from harness_llm.transport.spec import LoadgenTest

ENGINE = {"kind": "simulated", "first_token_ms": 2, "per_token_ms": 2, "concurrent": 4}
CONF = """\
mine.*.use_token_latencies = 1
mine.Server.ttft_latency = {ttft}
mine.Server.tpot_latency = 10000
mine.Server.target_qps = 100000
mine.Server.min_duration = 1
mine.Server.min_query_count = 459
"""


class _TooFastAtFirst:
    """Measures the first performance test at a rate that nobody holds."""

    def __init__(self) -> None:
        self.performance = 0

    def __call__(self, fleet: Fleet, test: LoadgenTest, folder: Path) -> TestResult:
        self.performance += test.mode is Mode.PERFORMANCE
        return measure_once(fleet, test.with_qps(1e5) if self.performance == 1 else test, folder)


def test_tests_of_a_scenario_are_asked_at_a_share_of_what_a_closed_loop_held(setup: Setup) -> None:
    """The rate of user.conf would end INVALID: this engine holds some hundred samples/s."""
    setup.conf.write_text(CONF.format(ttft=60_000))  # a pause of a busy machine is no second try
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


def test_a_test_that_was_too_fast_is_asked_again_at_less_with_room_for_one_more(setup: Setup) -> None:
    setup.conf.write_text(CONF.format(ttft=800))
    prepared = prepare(
        [setup.config("Server", engine=ENGINE, measured_rate=0.5)], ["performance", "accuracy"]
    )
    view, run, measure = RecordingView(), setup.folder / "run", _TooFastAtFirst()
    execute(prepared, run, view, resume=False, measure=measure)
    rate = read_record(run / RUN_JSON, RunRecord).rates["Server"]
    assert measure.performance == 2 and rate.tries == 2 and rate.share == pytest.approx(0.35)
    assert "min_query_count = 662" in (run / "Server" / "performance" / "user.conf").read_text()
    assert TestFolder(run / "Server" / "performance.broken-1").record().target_qps == 1e5
    assert TestFolder(run / "Server" / "performance").record().target_qps == rate.target_qps
    assert TestFolder(run / "Server" / "accuracy").record().target_qps == rate.target_qps
    assert any("asked again at a lower rate, try 2 of 3" in line for line in view.said)


def test_where_no_rate_helps_none_is_tried(setup: Setup) -> None:
    setup.conf.write_text(CONF.format(ttft=1))  # its fastest first token takes 2 ms
    prepared, view = (
        prepare([setup.config("Server", engine=ENGINE, measured_rate=0.5)], ["performance"]),
        RecordingView(),
    )
    execute(prepared, setup.folder / "run", view, resume=False)
    assert read_record(setup.folder / "run" / RUN_JSON, RunRecord).rates["Server"].tries == 1
    assert not any("asked again" in line for line in view.said)


def test_an_official_benchmark_has_the_rate_that_its_submitter_chose(setup: Setup) -> None:
    setup.conf.write_text("gpt-oss-120b.Server.target_qps = 10\n")
    config = setup.config("Server", benchmark="gpt-oss-120b", measured_rate=0.5)
    with pytest.raises(ConfigError, match="measured_rate is not for gpt-oss-120b"):
        prepare([config], ["performance"])


def test_offline_has_no_rate_to_measure(setup: Setup) -> None:
    with pytest.raises(ConfigError, match="measured_rate: does nothing in Offline"):
        setup.config("Offline", measured_rate=0.5)
