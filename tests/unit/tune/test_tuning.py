"""What a tuning asks of LoadGen beyond what user.conf says."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace as changed

from harness_llm.config.user_conf import UserConf
from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError, FolderError
from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.held import utc_now
from harness_llm.results.paths import RUN_JSON, SPEC_JSON, STUDY_JSON, TEST_JSON
from harness_llm.results.reading import write_record
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import TestFolder
from harness_llm.results.study_folder import StudyFolder
from harness_llm.transport.spec import LoadgenSpec, write_spec
from harness_llm.tune import tuning as tuning_module
from harness_llm.tune.tries import TRIES, RecordedEngines
from harness_llm.tune.tuning import RESULT, Tuning, Wish, missing_settings, study_record
from harness_llm.views.live import make_view

if TYPE_CHECKING:
    from pathlib import Path

    from own_benchmark import Setup

MODEL = "llama2-70b"


@pytest.mark.parametrize(
    ("line", "scenario", "is_official", "missing"),
    [
        ("", Scenario.SERVER, False, {"target_qps", "min_query_count"}),
        (f"{MODEL}.Server.target_qps = 3", Scenario.SERVER, False, {"min_query_count"}),
        ("*.Server.min_query_count = 500", Scenario.SERVER, False, {"target_qps"}),
        ("", Scenario.SERVER, True, {"target_qps"}),  # mlperf.conf has the rules' own count
        ("", Scenario.OFFLINE, False, {"target_qps"}),  # no latency, no early stopping
    ],
)
def test_what_user_conf_does_not_say_is_added(
    line: str, scenario: Scenario, is_official: bool, missing: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "user.conf"
    path.write_text(f"*.*.min_duration = 1000\n{line}\n", encoding="utf-8")
    added = missing_settings(UserConf.read(path), MODEL, scenario, is_official=is_official)
    assert set(added) == missing
    assert max_over_limit(added.get("min_query_count", 838)) == 2, (
        "LoadGen can call it VALID, and forgives two"
    )


def test_one_budget_counts_from_the_command_on() -> None:
    wish = Wish(budget_s=60.0)
    assert wish.stops() == ""
    late = replace(wish, started_s=wish.started_s - 61, known=())
    assert late.is_spent and late.stops() == replace(late, tries=()).stops() == "the budget is spent"
    assert replace(wish, dry_run=True).stops() == "a dry run"


def test_loadgen_is_told_what_was_added(setup: Setup, tmp_path: Path) -> None:
    tuning = Tuning(setup.config("Server"), tmp_path, Wish(), make_view("", style="none"))
    (test,) = tuning._prepared().tests
    assert "mine.Server.min_query_count = 838" in test.user_conf and test.target_qps == 7


def test_another_user_conf_is_asked_by_only_where_the_users_own_lacks_something(
    setup: Setup, tmp_path: Path
) -> None:
    setup.conf.write_text(f"{setup.conf.read_text()}mine.Server.min_query_count = 500\n", encoding="utf-8")
    (tmp_path / "asked.conf").write_text("mine.Server.target_qps = 99\n", encoding="utf-8")
    tuning = Tuning(setup.config("Server"), tmp_path, Wish(), make_view("", style="none"))
    assert tuning._conf(tuning._prepared()) == setup.conf


def test_a_wrong_line_is_named_where_the_user_wrote_it(setup: Setup, tmp_path: Path) -> None:
    setup.conf.write_text(setup.conf.read_text().replace("latencies = 1", "latencies = 0"), encoding="utf-8")
    tuning = Tuning(setup.config("Server"), tmp_path / "tuned", Wish(), make_view("", style="none"))
    with pytest.raises(ConfigError, match=f"{setup.conf}: mine.Server.ttft_latency does nothing"):
        tuning.tune()


def test_a_dry_run_predicts_by_what_was_tried_too_and_tells_the_probability_of_its_rate(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    wish = Wish(dry_run=True, tries=(tmp_path / "arguments" / "1" / TRIES,))
    tuning = Tuning(setup.config("Server"), tmp_path, wish, SimpleNamespace(say=said.append))  # type: ignore[arg-type]
    model = SimpleNamespace(p_valid=lambda *_: 0.61)
    search = SimpleNamespace(first_rate=lambda: 5.0, model=lambda: model, future=None, others=0.0)
    of: list[Path] = []
    monkeypatch.setattr(tuning_module, "loadgen_settings", lambda *_: {})
    monkeypatch.setattr(tuning_module, "Future", lambda *_: SimpleNamespace(seed=1))
    monkeypatch.setattr(tuning_module, "newest", lambda kept: kept / "1")
    monkeypatch.setattr(tuning_module, "earlier", lambda kept, _: [kept])
    monkeypatch.setattr(RecordedEngines, "of", lambda *asked: of.extend(asked))
    monkeypatch.setattr(Tuning, "_search", lambda *asked: search if asked[4] == ["a", *wish.tries] else None)
    tuning._predict_unloaded(tuning._prepared(), ["a"])  # type: ignore[list-item]
    assert said[-1] == "predicted: 5 queries/s, VALID with 61%"
    assert of == [wish.tries[0] / "1", tmp_path / "arguments" / "1" / "runs" / RESULT]


def _recorded(setup: Setup, folder: Path, **harness: object) -> Tuning:
    """A tuning, and in its folder the record of a run that another one made of such a configuration."""
    tuning = Tuning(setup.config("Server"), folder, Wish(), make_view("", style="none"))
    other = Tuning(setup.config("Server", **harness), folder, Wish(), tuning.view)._prepared()
    ran = changed(
        RunRecord.blank(), state="complete", identity=other.identity, fingerprint=other.fingerprint,
        tests=("Server/performance",),
    )  # fmt: skip
    with StudyFolder(folder) as study:
        study.begin(study_record(Scenario.SERVER))
    tuning.run.mkdir(parents=True)
    write_record(tuning.run / RUN_JSON, ran)
    return tuning


def test_what_is_refused_leaves_the_folder_as_it_is(setup: Setup, tmp_path: Path) -> None:
    tuning = _recorded(setup, tmp_path / "tuned", engine_env={"A": "b"})
    before = (tuning.folder / STUDY_JSON).read_bytes()
    for refused in (tuning.tune, tuning.require_same):
        with pytest.raises(FolderError, match=r"engine_env\.A \(Server\): was \"b\", is not there"):
            refused()
    assert (tuning.folder / STUDY_JSON).read_bytes() == before
    assert not (tuning.folder / "asked.conf").exists()


@pytest.mark.parametrize(
    ("harness", "refused"),
    [({"max_tokens": 8}, ""), ({"replicas": 4}, "replicas"), ({"engine_env": {"A": "b"}}, "A")],
)
def test_runs_of_other_engines_are_not_learned_from(
    harness: dict[str, object], refused: str, setup: Setup, tmp_path: Path
) -> None:
    tuning = _recorded(setup, tmp_path / "tuned", **harness)
    prepared = tuning._prepared()
    if not refused:
        tuning._check_engines(tuning.run, prepared)
        return
    with pytest.raises(FolderError, match=f"other engines than what is configured:\n.*{refused}"):
        tuning._check_engines(tuning.run, prepared)


@pytest.mark.parametrize(
    ("validity", "whole", "state", "left"),
    [
        ("VALID", True, "complete", RESULT),
        ("INVALID", True, "complete", TRIES),
        ("VALID", False, "complete", TRIES),  # a stage of the ramp
        ("", True, "abandoned", TRIES),
    ],
)
def test_only_the_legal_run_that_loadgen_calls_valid_is_a_result(
    validity: str, whole: bool, state: str, left: str, setup: Setup, tmp_path: Path
) -> None:
    """Whatever a kill left in the place of the result."""
    tuning = _recorded(setup, tmp_path / "tuned")
    prepared = tuning._prepared()
    test = prepared.tests[0]
    folder = TestFolder(tuning.run / test.name)
    folder.begin(
        scenario=test.scenario, mode=Mode.PERFORMANCE, loadgen_model="mine", target_qps=7, engines=None
    )
    write_record(folder.path / TEST_JSON, changed(folder.record(), state=state, finished_utc=utc_now()))
    spec = LoadgenSpec("loadgen", "", [], "", changed(test, early_end=whole))
    write_spec(spec, folder.path / SPEC_JSON)
    line = {"key": "result_validity", "value": validity, "time_ms": 1.0, "metadata": {"is_error": False}}
    (folder.path / DETAIL_LOG).write_text(f":::MLLOG {json.dumps(line)}\n", encoding="utf-8")
    with StudyFolder(tuning.folder) as study:
        tuning._put_aside(study, prepared)
    assert folder.is_begun == (left == RESULT)
    assert (tuning.folder / TRIES / "1" / TEST_JSON).exists() == (left == TRIES)
    assert tuning._keep(prepared) == (7 if left == RESULT else None)
