"""Which engine arguments are loaded, and what is kept of it; nothing is loaded here."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace

from harness_llm.cli.tune import _chosen
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError, EngineError, FolderError
from harness_llm.results.paths import RUN_JSON, STUDY_JSON
from harness_llm.results.reading import write_record
from harness_llm.results.records import RunRecord
from harness_llm.results.study_folder import StudyFolder
from harness_llm.tune import arguments
from harness_llm.tune.arguments import AS_CONFIGURED, ArgumentSearch, Combination, choices
from harness_llm.tune.batching import StepLimits
from harness_llm.tune.seen_run import Observed
from harness_llm.tune.tuning import Wish, study_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RATES = {"16": 6.0, "32": 9.0, "48": 9.5, "64": 11.0, "128": 10.5}
TEXTS = ["max_num_seqs=16,32,64,128"]


@dataclass(frozen=True)
class _Model:
    limits: StepLimits
    spread: float = 0.01
    rates: dict[str, float] = field(default_factory=lambda: RATES)

    def best_or_zero(self, *_: object) -> float:
        return self.rates[str(self.limits.requests)]


@dataclass
class _Engines:
    """Counts loads; `breaks` makes one of them fail."""

    loaded: list[str] = field(default_factory=list)
    known: list[tuple[Path, ...]] = field(default_factory=list)
    breaks: str = ""
    shown: dict[str, float] = field(default_factory=lambda: RATES)
    error: BaseException = field(default_factory=lambda: EngineError("out of memory"))
    differs: str = ""

    def tuning(self, config: Any, folder: Path, wish: Wish, view: object) -> Any:
        label = " ".join(config.overrides) or AS_CONFIGURED

        def tune() -> None:
            self.loaded.append(label)
            self.known.append(wish.known)
            if self.breaks and self.breaks in label:
                raise self.error
            assert wish.dry_run and wish.probes
            assert (wish.probe_qps is None) == (label == AS_CONFIGURED), "all are asked at one rate"

        def require_same() -> None:
            if self.differs and self.differs in label:
                raise FolderError(f"{folder}: another system")

        search = SimpleNamespace(
            model=lambda: _Model(
                StepLimits(requests=32), rates=RATES if label == AS_CONFIGURED else self.shown
            ),
            future=None,
            tried=[SimpleNamespace(qps=8.0)],
        )
        rate = 9.0 if label == AS_CONFIGURED else RATES.get(label.rpartition("=")[2], 7.0)
        return SimpleNamespace(
            tune=tune, require_same=require_same, search=search, found=SimpleNamespace(qps=rate)
        )


def _config(overrides: Sequence[str]) -> Any:
    return SimpleNamespace(
        overrides=list(overrides),
        engine=SimpleNamespace(kind="vllm"),
        harness_config=SimpleNamespace(scenario=Scenario.SERVER),
    )


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> _Engines:
    made = _Engines()
    monkeypatch.setattr(arguments, "Tuning", made.tuning)
    times = np.array([0.0, 1.0])
    seen = Observed(times, times + 0.1, times + 0.5, *[np.array([3, 3])] * 4, until=2.0)
    monkeypatch.setattr(arguments, "probe_of", lambda _: seen)
    return made


def _comparison(folder: Path, view: Any = None) -> ArgumentSearch:
    return ArgumentSearch(_config, folder, Wish(), view or SimpleNamespace(say=lambda _: None))


def test_only_what_is_configured_and_the_best_by_simulation_are_loaded(
    engines: _Engines, tmp_path: Path
) -> None:
    found = _comparison(tmp_path).run(TEXTS)
    assert engines.loaded == [AS_CONFIGURED, "llm_config.max_num_seqs=64", "llm_config.max_num_seqs=128"]
    assert [one.choice.label for one in found] == [
        "max_num_seqs=64", "max_num_seqs=128", AS_CONFIGURED, "max_num_seqs=32", "max_num_seqs=16",
    ]  # fmt: skip
    assert (found[0].ttft, found[0].tpot) == (1, 1) and found[-1].ttft is None
    assert found[0].folder != found[1].folder
    with StudyFolder(tmp_path) as study:  # where the best is tuned then
        study.begin(study_record(Scenario.SERVER))


def test_a_value_that_is_configured_already_is_not_loaded_twice(engines: _Engines, tmp_path: Path) -> None:
    comparison = _comparison(tmp_path)
    comparison.config = lambda overrides: _config(
        [it for it in overrides if it != "llm_config.max_num_seqs=64"]
    )
    found = comparison.run(TEXTS)
    assert engines.loaded == [AS_CONFIGURED, "llm_config.max_num_seqs=128"]
    assert "max_num_seqs=64" not in [one.choice.label for one in found]
    with pytest.raises(ConfigError, match="every value is already the configured one"):
        comparison.run(["max_num_seqs=64"])


def test_no_combination_is_loaded_twice(engines: _Engines, tmp_path: Path) -> None:
    labels = [one.label for one in choices(["max_num_seqs=8,8,16", "llm_config.max_num_seqs=32"])]
    assert labels == [AS_CONFIGURED, "max_num_seqs=8", "max_num_seqs=16", "max_num_seqs=32"]
    comparison = _comparison(tmp_path)
    comparison.config = lambda overrides: _config([it.replace("=064", "=64") for it in overrides])
    comparison.run(["max_num_seqs=64,064,128"])
    assert engines.loaded == [AS_CONFIGURED, "llm_config.max_num_seqs=64", "llm_config.max_num_seqs=128"]


def test_runs_of_what_is_configured_tell_nothing_of_other_arguments(
    engines: _Engines, tmp_path: Path
) -> None:
    comparison = _comparison(tmp_path)
    comparison.wish = Wish(known=(tmp_path / "run",))
    found = comparison.run(["max_num_seqs=64"])
    assert engines.known == [(tmp_path / "run",), ()]
    assert [comparison.wish_for(one.choice).known for one in found] == [(), (tmp_path / "run",)]


def test_a_lead_that_may_be_chance_is_said() -> None:
    one, other = (
        Combination(values={"a": text}, qps=qps, spread=0.01) for text, qps in (("1", 8.0), ("2", 7.8))
    )
    assert _chosen([one, other]) == "chosen: a=1; its lead of 2.6% over a=2 may be chance, up to 2.8%"
    assert _chosen([replace(one, qps=9.0), other]) == "chosen: a=1"
    assert _chosen([one, replace(other, qps=None)]) == ""


def test_the_others_are_re_ranked_by_what_was_loaded(engines: _Engines, tmp_path: Path) -> None:
    engines.shown = {**RATES, "128": 9.1, "32": 30.0}
    _comparison(tmp_path).run([TEXTS[0].replace("32", "32,48")])
    assert engines.loaded[2] == "llm_config.max_num_seqs=48", (
        "128 turned out to be slow, 32 promised less before"
    )


def test_what_cannot_be_simulated_is_loaded(engines: _Engines, tmp_path: Path) -> None:
    _comparison(tmp_path).run(["enforce_eager=true,false", "max_num_seqs=16"])
    assert engines.loaded[1:] == [
        f"llm_config.enforce_eager={value} llm_config.max_num_seqs=16" for value in ("true", "false")
    ]


def test_a_comparison_that_broke_continues_where_it_was(engines: _Engines, tmp_path: Path) -> None:
    engines.breaks, engines.error = "=128", KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        _comparison(tmp_path).run(TEXTS)
    engines.breaks, engines.loaded, engines.differs = "", [], "=64"
    with pytest.raises(FolderError, match="another system"):
        _comparison(tmp_path).run(TEXTS)
    assert not engines.loaded
    engines.differs = "=16"  # which is not loaded
    found = _comparison(tmp_path).run(TEXTS)
    assert engines.loaded == ["llm_config.max_num_seqs=128"]
    assert found[0].choice.label == "max_num_seqs=64"
    with pytest.raises(
        FolderError, match="other arguments were tried in it: max_num_seqs=16; max_num_seqs=32"
    ):
        _comparison(tmp_path).run(["max_num_seqs=16"])


def test_a_folder_that_was_tuned_without_them_is_refused_before_anything_is_loaded(
    engines: _Engines, tmp_path: Path
) -> None:
    (tmp_path / "runs" / "result").mkdir(parents=True)
    write_record(tmp_path / "runs" / "result" / RUN_JSON, RunRecord.blank())
    write_record(tmp_path / STUDY_JSON, study_record(Scenario.SERVER))
    before = (tmp_path / STUDY_JSON).read_bytes()
    with pytest.raises(FolderError, match="holds a tuning without --try"):
        _comparison(tmp_path).run(TEXTS)
    assert not engines.loaded and (tmp_path / STUDY_JSON).read_bytes() == before


def test_what_cannot_be_loaded_is_out_and_kept_as_such(engines: _Engines, tmp_path: Path) -> None:
    engines.breaks = "=64"
    found = {one.choice.label: one for one in _comparison(tmp_path).run(TEXTS)}
    assert found["max_num_seqs=64"].choice.problem == "out of memory"
    assert next(iter(found)) == "max_num_seqs=128"
    engines.loaded = []
    _comparison(tmp_path).run(TEXTS)
    assert not engines.loaded
    engines.breaks = AS_CONFIGURED
    with pytest.raises(EngineError, match="out of memory"):
        _comparison(tmp_path / "other").run(TEXTS)


def test_a_budget_loads_no_further_choice(engines: _Engines, tmp_path: Path) -> None:
    comparison = _comparison(tmp_path)
    comparison.wish = Wish(budget_s=0)
    assert [one.choice.label for one in comparison.run(TEXTS)][0] == AS_CONFIGURED
    assert engines.loaded == [AS_CONFIGURED]


@pytest.mark.parametrize("text", ["max_num_seqs", "=1", "dtype=", "max_num_seqs=8,-1", "max_num_seqs=a"])
def test_what_is_no_argument_with_values_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--try"):
        choices([text])


def test_offline_is_refused(engines: _Engines, tmp_path: Path) -> None:
    comparison = _comparison(tmp_path)
    plain = _config([])
    plain.harness_config.scenario = Scenario.OFFLINE
    comparison.config = lambda _: plain
    with pytest.raises(ConfigError, match="Offline has no first tokens"):
        comparison.run(TEXTS)
    assert not engines.loaded


def test_bounds_of_the_simulated_engine_have_names_of_their_own() -> None:
    choice = Combination(values={"max_num_seqs": "8", "kv_cache_dtype": "fp8"})
    assert choice.overrides("vllm") == ["llm_config.max_num_seqs=8", "llm_config.kv_cache_dtype=fp8"]
    assert choice.overrides("simulated")[0] == "harness_config.engine.concurrent=8"
    assert choice.limits(StepLimits()) is None
    assert Combination(values={"max_num_seqs": "8"}).limits(StepLimits(64, 9)) == StepLimits(8, 9)
