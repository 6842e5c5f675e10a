"""What may be asked of a simulation, and how a wrong question is answered."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from golden.recorded import unpack_run
from hidden_engine import future as hidden_future
from msgspec import structs

from harness_llm.cli.simulate import _speeds, simulate_verb
from harness_llm.cli.tune import _seconds
from harness_llm.core import GenerationLimits, Scenario
from harness_llm.datasets.synthetic import load_synthetic
from harness_llm.errors import ConfigError, EngineError, FolderError
from harness_llm.results.observed import OthersRecord
from harness_llm.results.paths import RUN_JSON, SHARED_SAMPLES, TEST_JSON
from harness_llm.results.reading import read_record, write_record
from harness_llm.results.recompute import percentile
from harness_llm.results.records import RunRecord, TestRecord
from harness_llm.rules import SIMULATED
from harness_llm.tune.batching import StepLimits
from harness_llm.tune.fleet_prediction import Prediction, Recorded, settings_of
from harness_llm.tune.seen_run import Observed
from harness_llm.tune.tries import RecordedEngines, engine_limits, known_runs, require_same_samples


def test_every_combination_of_what_is_set_is_simulated() -> None:
    found = dict(
        settings_of(["max_num_seqs=8,16", "llm_config.max_num_batched_tokens=512"], StepLimits(kv_tokens=7))
    )
    assert found == {
        "max_num_seqs=8, max_num_batched_tokens=512": StepLimits(8, 512, 7),
        "max_num_seqs=16, max_num_batched_tokens=512": StepLimits(16, 512, 7),
    }
    assert list(settings_of([], StepLimits())) == [("as recorded", StepLimits())]
    others = {"replicas": "3", "speeds": "1,1,0.5"}
    assert [name for name, _ in settings_of([], StepLimits(), others)] == ["replicas=3, speeds=1,1,0.5"]
    again = settings_of(["max_num_seqs=4,4", "llm_config.max_num_seqs=16"], StepLimits())
    assert [name for name, _ in again] == ["max_num_seqs=4", "max_num_seqs=16"]


@pytest.mark.parametrize("text", ["dtype=float16", "max_num_seqs", "max_num_seqs=", "max_num_seqs=8,-1"])
def test_what_cannot_be_simulated_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        list(settings_of([text], StepLimits()))


@pytest.mark.parametrize("text", ["1,x", "0,1", "nan", ""])
def test_speeds_are_numbers(text: str) -> None:
    assert _speeds("1,0.5") == (1, 0.5) and _speeds(None) == ()
    with pytest.raises(ConfigError, match="--speeds"):
        _speeds(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"highest": True, "qps": 3.0}, "--max and --qps"),
        ({"offline": True, "qps": 3.0}, "--offline and --qps"),
        ({"offline": True, "highest": True}, "--offline and --max"),
        ({"check": Path("other"), "replicas": 2}, "--check and --replicas"),
        ({"check": Path("other"), "settings": ["max_num_seqs=4"]}, "--check and --set"),
        ({"check": Path("other"), "highest": True}, "--check and --max"),
        ({"check": Path("other"), "qps": 3.0}, "--check and --qps"),
        ({"qps": 0.0}, "--qps 0"),
        ({"qps": float("inf")}, "--qps inf"),
    ],
)
def test_options_that_do_not_go_together_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        simulate_verb(Path("no such run"), **given)


@pytest.mark.parametrize("text", ["0m", "30", "m", "-3s", "1d"])
def test_a_budget_is_a_length_of_time(text: str) -> None:
    assert (_seconds("90s"), _seconds("1.5m"), _seconds("2h")) == (90, 90, 7200)
    with pytest.raises(ConfigError, match="--budget"):
        _seconds(text)


@pytest.mark.parametrize("qps", [1e7, 1e9, 1e-9])
def test_what_cannot_be_simulated_in_a_sane_time_is_refused(qps: float) -> None:
    future, model = hidden_future(100, ttft_ms=500, tpot_ms=50, seconds=10), _model(1)
    known = Recorded(model, future, qps, None, 1, Path(), "")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="can be simulated"):
        known.predict(model, qps)
    with pytest.raises(ConfigError, match="can be simulated"):
        known.highest(model)
    with pytest.raises(ConfigError, match="1,000,000 replicas: at most"):
        known.fleet(10**6, (), StepLimits())
    fast = SimpleNamespace(limits=StepLimits(), run=lambda due, *_, **__: _at_once(len(due)))
    with pytest.raises(ConfigError, match="Offline: .* can be simulated"):
        known.offline(fast)  # type: ignore[arg-type]


def _model(replicas: int) -> Any:
    return SimpleNamespace(limits=StepLimits(), slowness=np.ones(replicas), unexplained=0.01)


def _at_once(count: int) -> Observed:
    """A run of which every answer ends within a microsecond."""
    ones = np.ones(count, np.int64)
    return Observed(np.zeros(count), 1e-6 * ones, 1e-6 * ones, *[ones] * 4, until=1.0)


@dataclass
class _Known:
    """A recorded run of which no rate of one sequence at a time is VALID, and two at a time barely are."""

    model: Any = field(default_factory=lambda: _model(1))
    qps: float = 3.0
    replicas: int = 1
    seen: Any = field(default_factory=lambda: SimpleNamespace(done=np.ones(5, bool)))

    def fleet(self, count: int, speeds: object, limits: StepLimits) -> StepLimits:
        return limits

    def highest(self, limits: StepLimits) -> Prediction:
        if limits.requests == 1:
            raise EngineError("no rate is likely to be VALID")
        return structs.replace(self.predict(limits, 2.0), confidence=0.3 if limits.requests == 2 else 0.9)

    def predict(self, limits: StepLimits, qps: float) -> Prediction:
        return Prediction(
            qps=qps, tokens_per_s=1.0, ttft_s=(1, 2), tpot_s=(1, 2), over=(0, 0), allowed=0, p_valid=0.3
        )


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder with a marker; everything else comes from `_Known`."""
    write_record(tmp_path / RUN_JSON, structs.replace(RunRecord.blank(), marker=SIMULATED))
    monkeypatch.setattr(Recorded, "read", lambda *_: _Known())
    return tmp_path


@pytest.mark.parametrize("seqs", ["1", "1,1"])
@pytest.mark.parametrize("as_json", [False, True])
def test_settings_without_any_valid_rate_are_no_table(
    seqs: str, as_json: bool, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [f"max_num_seqs={seqs}", "kv_tokens=50,60"]
    with pytest.raises(typer.Exit) as raised:
        simulate_verb(simulated, highest=True, settings=settings, as_json=as_json)
    out, errors = capsys.readouterr()
    assert raised.value.exit_code == 1
    assert "max_num_seqs=1, kv_tokens=60: no rate is likely to be VALID" in errors
    assert json.loads(out)["predictions"] == {} if as_json else not out


def test_a_prediction_bears_the_mark_and_names_of_what_differs(
    simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate_verb(simulated, highest=True, settings=["max_num_seqs=1,2,4"])
    out = capsys.readouterr().out
    assert out.startswith(SIMULATED)
    assert "max_num_seqs=2: the highest rate that is VALID with 30%; with 90%" in out
    assert "max_num_seqs=4: the" not in out
    simulate_verb(simulated, qps=4.0, speeds="1,0.5", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["marker"] == SIMULATED
    assert list(found["predictions"]) == ["replicas=2, speeds=1,0.5, qps=4"]
    simulate_verb(simulated, qps=3.0, as_json=True)
    assert list(json.loads(capsys.readouterr().out)["predictions"]) == ["as recorded"]


def test_a_run_without_a_test_to_learn_from_is_refused_for_its_own_reason(tmp_path: Path) -> None:
    server, offline = (unpack_run(name, tmp_path) for name in ("server_h100", "offline_h100"))
    path = server / "Server" / "performance" / TEST_JSON
    write_record(path, structs.replace(read_record(path, TestRecord), state="abandoned"))
    record = read_record(server / RUN_JSON, RunRecord)
    write_record(server / RUN_JSON, structs.replace(record, state="abandoned", reason="no run was VALID"))
    with pytest.raises(FolderError, match="the run is abandoned: no run was VALID") as raised:
        Recorded.read(server)
    assert "Offline" not in str(raised.value)
    with pytest.raises(FolderError, match="Offline's events have no first tokens"):
        Recorded.read(offline)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="not a run folder"):
        Recorded.read(tmp_path)


def test_the_bounds_of_a_step_are_what_the_engine_says() -> None:
    config = {
        "scheduler_config": {"max_num_batched_tokens": 2048},
        "cache_config": {"num_gpu_blocks": 100, "block_size": 16},
        "compilation_config": {"cudagraph_capture_sizes": [8, 4, 1]},
    }
    assert engine_limits({"max_concurrent": 64, "resolved": {"config": config}}) == StepLimits(
        64, 2048, 1600, 16, (1, 4, 8)
    )
    assert engine_limits({"max_concurrent": 64, "resolved": {"batching": {"step_tokens": 9}}}) == StepLimits(
        64, 9
    )
    assert engine_limits({}) == StepLimits()


def test_an_offline_run_of_a_card_is_predicted_from_its_server_run(tmp_path: Path) -> None:
    """Both were measured on one H100, with other bounds of a step (docs/performance.md)."""
    server, offline = (unpack_run(name, tmp_path) for name in ("server_h100", "offline_h100"))
    limits = GenerationLimits(2, 128)
    load_synthetic("13368:400-1156:20-126", limits, seed=0, vocab_size=128256).save(server / SHARED_SAMPLES)
    said, was = Recorded.read(server).beside_offline(offline)
    assert (said.samples, was.samples) == (4224, 4224)
    assert was.tokens_per_s == pytest.approx(4561.6, rel=0.001)  # LoadGen's own figure
    assert said.tokens_per_s == pytest.approx(was.tokens_per_s, rel=0.03)


def test_a_server_run_of_a_card_near_saturation_is_predicted_from_itself(tmp_path: Path) -> None:
    """On one H100 at its power limit, 59 queries/s of at most about 62; vLLM planned each step ahead."""
    server = unpack_run("server_h100", tmp_path)
    limits = GenerationLimits(2, 128)
    load_synthetic("13368:400-1156:20-126", limits, seed=0, vocab_size=128256).save(server / SHARED_SAMPLES)
    known = Recorded.read(server)
    assert known.model.limits.plans_ahead and known.model.unexplained < 0.015
    said, was = known.beside(known)
    assert was.ttft_s[1] == pytest.approx(0.4446, rel=0.01) and was.tpot_s[1] == pytest.approx(
        0.0738, rel=0.01
    )
    assert said.tokens_per_s == pytest.approx(was.tokens_per_s, rel=0.01)
    assert said.tpot_s == pytest.approx(was.tpot_s, rel=0.1)
    assert said.ttft_s == pytest.approx(was.ttft_s, rel=0.1)


def test_only_an_offline_run_of_the_same_data_can_be_compared(tmp_path: Path) -> None:
    server = unpack_run("server_h100", tmp_path)
    limits = GenerationLimits(2, 128)
    load_synthetic("13368:400-1156:20-126", limits, seed=0, vocab_size=128256).save(server / SHARED_SAMPLES)
    known = Recorded.read(server)
    with pytest.raises(FolderError, match="no complete performance test of Offline"):
        known.beside_offline(server)
    with pytest.raises(ConfigError, match=r"not one number per replica \(speeds: 3, replicas: 1\)"):
        known.beside(known, (1, 1, 1))
    require_same_samples(server, known.digest)
    with pytest.raises(ConfigError, match=r"has other samples \(13,368 of synthetic"):
        require_same_samples(server, "another of as many")
    other = read_record(server / RUN_JSON, RunRecord)
    write_record(
        server / RUN_JSON, structs.replace(other, dataset=structs.replace(other.dataset, digest="x"))
    )
    with pytest.raises(ConfigError, match="has other samples"):
        known.beside(known)


def test_a_run_of_both_scenarios_is_not_guessed_at(tmp_path: Path) -> None:
    server = unpack_run("server_h100", tmp_path)
    shutil.copytree(server / "Server", server / "Interactive")
    record = read_record(server / RUN_JSON, RunRecord)
    write_record(server / RUN_JSON, structs.replace(record, tests=(*record.tests, "Interactive/performance")))
    with pytest.raises(ConfigError, match="has tests of Server and Interactive") as raised:
        Recorded.read(server)
    assert "--scenario Server" in str(raised.value.remedy)


def test_percentiles_are_those_of_loadgen() -> None:
    future, count = hidden_future(100, ttft_ms=500, tpot_ms=50, seconds=10), 210
    due, waits = np.zeros(count), np.arange(1.0, 1 + count)
    seen = Observed(due, waits, 2 * waits, *[np.full(count, 2)] * 4, until=1e3)
    found = Prediction.of(seen, future, 1.0)
    assert found.ttft_s == (106, 208)
    assert found.ttft_s[1] * 1e9 == percentile((waits * 1e9).astype(np.int64), 0.99)


def test_what_is_learned_from_says_what_others_held_meanwhile(tmp_path: Path) -> None:
    server = unpack_run("server_h100", tmp_path)
    path = server / "Server" / "performance" / TEST_JSON
    write_record(
        path, structs.replace(read_record(path, TestRecord), others=OthersRecord(cores=10, mean=2.0))
    )
    (known,) = known_runs([server], Scenario.SERVER)
    assert known.others == 0.2
    with pytest.raises(FolderError, match="others held more than half"):
        RecordedEngines(1, StepLimits()).ask(1.0, "ramp", lambda _: "")
    with pytest.raises(ConfigError, match="--from: Offline has no first tokens"):
        known_runs([server], Scenario.OFFLINE)
