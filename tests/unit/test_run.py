from __future__ import annotations

import importlib
import json
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from harness_llm.config.load import load_config
from harness_llm.core import Mode
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import (
    ConfigError,
    DatasetError,
    FolderError,
    HarnessError,
    HostError,
    ModelError,
    ReplicaLost,
)
from harness_llm.run import execute, find_unfinished, prepare
from harness_llm.supervise.folder import RunFolder, read_json
from harness_llm.supervise.view import PlainView

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.config.model import RunConfig
    from harness_llm.run import Prepared

execute_module = importlib.import_module("harness_llm.run.execute")  # the name is also the function's

CONF = """\
mine.*.use_token_latencies = 1
mine.Server.ttft_latency = 900
mine.Server.tpot_latency = 90
mine.Server.target_qps = 7
mine.Server.min_duration = 3000
mine.Offline.target_qps = 50
mine.Offline.min_duration = 2000
"""


class _Setup:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "user.conf"
        self.conf.write_text(CONF)

    def config(self, scenario: str, llm: dict[str, Any] | None = None, **harness: Any) -> RunConfig:
        path = self.folder / "c.yaml"
        node = {
            "benchmark": "mine", "scenario": scenario, "engine": "simulated", "dataset": "synthetic",
            "dataset_shape": "10:4:4", "max_tokens": 8, "user_conf": str(self.conf), **harness,
        }  # fmt: skip
        path.write_text(yaml.safe_dump({"llm_config": llm or {}, "harness_config": node}))
        return load_config(path)

    def prepared(self, **harness: Any) -> Prepared:
        return prepare([self.config("Offline", **harness)], ["performance"])


@pytest.fixture
def setup(tmp_path: Path) -> _Setup:
    return _Setup(tmp_path)


def test_a_plan_says_what_will_run_in_which_order(setup: _Setup) -> None:
    prepared = prepare([setup.config("Offline"), setup.config("Server")])
    assert [test.name for test in prepared.tests] == [
        "Offline/performance", "Offline/accuracy", "Server/performance", "Server/accuracy",
    ]  # fmt: skip
    offline, accuracy, server, _ = prepared.tests
    assert (offline.mode, accuracy.mode) == (Mode.PERFORMANCE, Mode.ACCURACY)
    assert (offline.expected, accuracy.expected, server.expected) == (110, 10, 100)
    assert (server.target_qps, server.ttft_limit_ms, server.tpot_limit_ms) == (7, 900, 90)
    assert (offline.ttft_limit_ms, offline.tpot_limit_ms) == (None, None)
    assert {test.loadgen_model for test in prepared.tests} == {"mine"}
    assert (prepared.is_official, prepared.marker) == (False, "simulated, not a result")


def test_tests_that_share_an_engine_stand_together(setup: _Setup) -> None:
    setup.conf.write_text(CONF + "mine-interactive.Server.target_qps = 2\n")
    configs = [setup.config("Offline"), setup.config("Server", {"a": 1}), setup.config("Interactive")]
    names = [test.name for test in prepare(configs, ["performance"]).tests]
    assert names == ["Offline/performance", "Interactive/performance", "Server/performance"]


def test_interactive_is_looked_up_under_its_own_model_name(setup: _Setup) -> None:
    setup.conf.write_text(CONF + "mine-interactive.Server.target_qps = 2\n")
    (test,) = prepare([setup.config("Interactive")], ["performance"]).tests
    assert (test.loadgen_model, test.target_qps) == ("mine-interactive", 2)


@pytest.mark.parametrize(
    ("second", "named"),
    [
        ({"scenario": "Offline"}, "Offline is configured twice"),
        ({"scenario": "Server", "benchmark": "other"}, "harness_config.benchmark differs"),
        (
            {"scenario": "Server", "dataset_seed": 4},
            "harness_config.dataset_seed differs between Offline .0. and Server .4.",
        ),
        ({"scenario": "Server", "max_tokens": 9}, "harness_config.max_tokens differs"),
        ({"scenario": "Server", "port": 5000}, "harness_config.port differs"),
    ],
)
def test_configurations_of_different_runs_are_refused(
    setup: _Setup, second: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        prepare([setup.config("Offline"), setup.config(**second)])


def test_no_configuration_and_an_unknown_test_are_refused(setup: _Setup) -> None:
    with pytest.raises(ConfigError, match="no configuration"):
        prepare([])
    with pytest.raises(ConfigError, match="perf"):
        prepare([setup.config("Offline")], ["perf"])


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("mine.Offline.target_qps", "mine.Offline.target_qsp", "target_qps"),
        ("mine.Offline.target_qps", "mien.Offline.target_qps", "mine"),
        ("mine.Offline.target_qps = 50\n", "", "no target_qps for Offline"),
    ],
)
def test_a_mistyped_user_conf_is_refused(setup: _Setup, old: str, new: str, named: str) -> None:
    setup.conf.write_text(CONF.replace(old, new))
    with pytest.raises(ConfigError, match=named) as caught:
        setup.prepared()
    assert "user.conf" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (None, "no such checkpoint folder"),
        ({}, "no config.json"),
        ({"config.json": "{}"}, "no weights"),
        ({"config.json": "{", "model.safetensors": ""}, "not valid JSON"),
    ],
)
def test_a_missing_model_is_found_before_a_start(
    setup: _Setup, files: dict[str, str] | None, named: str
) -> None:
    model = setup.folder / "model"
    if files is not None:
        model.mkdir()
        for name, text in files.items():
            (model / name).write_text(text)
    with pytest.raises(ModelError, match=named) as caught:
        prepare([setup.config("Offline", {"model": str(model)}, engine="vllm")], ["performance"])
    assert str(model) in str(caught.value)


@pytest.mark.parametrize(("limit", "source"), [(7, "llm_config"), (None, "config.json")])
def test_samples_beyond_the_context_are_found_before_a_start(
    setup: _Setup, limit: int | None, source: str
) -> None:
    model = setup.folder / "model"
    model.mkdir()
    config = {"max_position_embeddings": 4096 if limit else 7, "vocab_size": 32000}
    (model / "config.json").write_text(json.dumps(config))
    (model / "model.safetensors").write_text("")
    llm = {"model": str(model), **({"max_model_len": limit} if limit else {})}
    with pytest.raises((DatasetError, ModelError), match="7"):
        prepare([setup.config("Offline", llm, engine="vllm")], ["performance"])


def test_accuracy_without_references_is_refused_for_a_real_engine(setup: _Setup) -> None:
    model = setup.folder / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 4096, "vocab_size": 32000}))
    (model / "model.safetensors").write_text("")
    with pytest.raises(ConfigError, match="no reference answers"):
        prepare([setup.config("Offline", {"model": str(model)}, engine="vllm")])


def test_the_fingerprint_changes_with_whatever_decides_the_result(setup: _Setup) -> None:
    first = setup.prepared().fingerprint
    assert setup.prepared().fingerprint == first
    others = {setup.prepared(dataset_seed=1).fingerprint, setup.prepared(replicas=2).fingerprint}
    setup.conf.write_text(CONF.replace("= 50", "= 51"))
    others.add(setup.prepared().fingerprint)
    assert len(others | {first}) == 4


def test_a_run_can_go_on_with_more_patience_or_another_port(setup: _Setup) -> None:
    """The remedy that an engine's late start is answered with must not cost what was measured."""
    first = setup.prepared().fingerprint
    waits = {"engine_start_timeout_s": 9.0, "silence_timeout_s": 7.0, "port": 2048}
    assert setup.prepared(**waits).fingerprint == first


OFFICIAL = "gpt-oss-120b.Offline.target_qps = 10\ngpt-oss-120b.Server.target_qps = 10\n"
TEST07 = {"TEST07": {"dataset": "synthetic", "dataset_shape": "9:4:5"}}


def test_a_test_with_samples_of_its_own_is_planned_by_them(setup: _Setup) -> None:
    setup.conf.write_text(OFFICIAL)
    configs = [
        setup.config(name, benchmark="gpt-oss-120b", tests=TEST07, dataset_shape="6396:2:4")
        for name in ("Offline", "Server")
    ]
    prepared = prepare(configs, ["accuracy", "TEST07", "TEST09", "TEST09"])
    assert len(prepared.table) == 6396
    assert {name: len(table) for name, table in prepared.own_tables.items()} == {"TEST07": 9}
    assert [(test.name, test.expected) for test in prepared.tests] == [
        (f"{scenario}/{test}", count)
        for scenario in ("Offline", "Server")
        for test, count in (("accuracy", 4395), ("TEST07", 9), ("TEST09", 6396))
    ]
    audits = {test.name: test.audit_conf or "" for test in prepared.tests}
    assert "performance_sample_count_override = 9\n" in audits["Offline/TEST07"]
    assert "performance_sample_count_override" not in audits["Offline/TEST09"]
    (note,) = prepared.notes
    assert "exact_match" in note and "docs/accuracy.md" in note
    assert prepare([configs[0]], ["TEST09"]).own_tables == {}, "samples that no test asks for are not loaded"


def test_the_fingerprint_changes_with_the_content_of_a_tests_own_samples(setup: _Setup) -> None:
    """The configuration names only a file: what is in it decides, too."""
    setup.conf.write_text(OFFICIAL)
    path = setup.folder / "own.jsonl"
    fingerprints = set()
    for reference in ("A", "B"):
        path.write_text(json.dumps({"token_ids": [5], "reference": reference}) + "\n")
        own = {"TEST07": {"dataset": "jsonl", "dataset_path": str(path)}}
        config = setup.config("Offline", benchmark="gpt-oss-120b", tests=own)
        fingerprints.add(prepare([config], ["TEST07"]).fingerprint)
    assert len(fingerprints) == 2


def test_a_rule_that_a_newer_round_dropped_holds_still(setup: _Setup) -> None:
    """llama2-70b-99 is not of v6.1: its limits and tests are those of the newest round that has it."""
    setup.conf.write_text("llama2-70b.Server.target_qps = 10\n")
    config = setup.config("Server", benchmark="llama2-70b-99")
    performance, compliance = prepare([config], ["performance", "TEST06"]).tests
    assert (performance.ttft_limit_ms, performance.tpot_limit_ms) == (2000, 200)
    assert compliance.audit_conf is not None
    with pytest.raises(ConfigError, match=r"no test 'TEST09' in round v6.0"):
        prepare([config], ["TEST09"])


def _checkpoint(setup: _Setup) -> str:
    model = setup.folder / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 4096, "vocab_size": 32000}))
    (model / "model.safetensors").write_text("")
    return str(model)


@pytest.mark.parametrize(
    ("benchmark", "generation", "named"),
    [
        ("gpt-oss-120b", None, "sampling at temperature 1"),
        ("gpt-oss-120b", {"temperature": 0.5}, "llm_config sets 0.5"),
        ("llama2-70b-99.9", {"temperature": 1.0}, "ask for greedy decoding"),
    ],
)
def test_decoding_against_the_rules_is_refused(
    setup: _Setup, benchmark: str, generation: dict[str, float] | None, named: str
) -> None:
    name = benchmark.removesuffix("-99.9")
    setup.conf.write_text(f"{name}.Offline.target_qps = 10\n")
    llm = {"model": _checkpoint(setup), **({"override_generation_config": generation} if generation else {})}
    with pytest.raises(ConfigError, match=named):
        prepare([setup.config("Offline", llm, engine="vllm", benchmark=benchmark)], ["performance"])


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({"token_ids": [5]}, "has no reference answers"),
        ({"token_ids": [5], "reference": "print(1)"}, "neither a letter"),
    ],
)
def test_samples_that_test07_cannot_score_are_found_before_a_start(
    setup: _Setup, line: dict[str, Any], named: str
) -> None:
    setup.conf.write_text(OFFICIAL)
    path = setup.folder / "own.jsonl"
    path.write_text(json.dumps(line) + "\n")
    config = setup.config(
        "Offline",
        {"model": _checkpoint(setup), "override_generation_config": {"temperature": 1.0}},
        engine="vllm",
        benchmark="gpt-oss-120b",
        tests={"TEST07": {"dataset": "jsonl", "dataset_path": str(path)}},
    )
    with pytest.raises(DatasetError, match=named):
        prepare([config], ["TEST07"])


def test_a_missing_sentence_model_is_found_before_a_start(
    setup: _Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.conf.write_text("llama3_1-8b.Offline.target_qps = 10\n")
    path = setup.folder / "data.jsonl"
    path.write_text(json.dumps({"token_ids": [5], "reference": "text"}) + "\n")
    config = setup.config(
        "Offline", {"model": _checkpoint(setup)}, engine="vllm", benchmark="llama3.1-8b",
        dataset="jsonl", dataset_path=str(path), dataset_shape=None,
    )  # fmt: skip
    monkeypatch.setattr("harness_llm.scoring.has_sentence_model", lambda: False)
    with pytest.raises(ConfigError, match="rougeLsum") as caught:
        prepare([config], ["accuracy"])
    assert "python -m harness_llm.accuracy.sentence_data" in str(caught.value)
    assert prepare([config], ["performance"]).notes == ()
    monkeypatch.setattr("harness_llm.scoring.has_sentence_model", lambda: True)
    assert prepare([config], ["accuracy"]).notes == ()


# ---------------------------------------------------------------------------- execute, without processes


class _FakeSupervisor:
    error: BaseException | None = None

    def __init__(self, folder: Any, _: object) -> None:
        self._folder = folder

    def __enter__(self) -> _FakeSupervisor:
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, plan: Any, after_test: Any) -> None:
        if self.error is not None:
            raise self.error
        for test in plan.tests:
            self._folder.test(test.name).begin()
            after_test(self._folder.test(test.name).path)


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> type[_FakeSupervisor]:
    kind = type("Fake", (_FakeSupervisor,), {})
    monkeypatch.setattr(execute_module, "Supervisor", kind)
    return kind


def _execute(prepared: Prepared, output: Path, *, resume: bool = False) -> list[Path]:
    ended: list[Path] = []
    execute(prepared, output, PlainView(""), resume=resume, after_test=ended.append)
    return ended


def test_a_run_that_ends_is_complete_and_closed(setup: _Setup, supervisor: type[_FakeSupervisor]) -> None:
    output, prepared = setup.folder / "run", setup.prepared()
    assert _execute(prepared, output) == [output / "Offline/performance"]
    record = read_json(output / "run.json")
    assert (record["format"], record["state"], record["reason"]) == (1, "complete", "")
    assert record["fingerprint"] == prepared.fingerprint
    assert record["finished_utc"] >= record["started_utc"]
    assert load_config(output / "config/Offline.yaml") == prepared.configs[0]
    for resume in (False, True):
        with pytest.raises(FolderError, match="finished run"):
            _execute(prepared, output, resume=resume)
    assert find_unfinished(prepared, setup.folder) is None


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ReplicaLost("replica-0 is gone"), "broken", "replica-0 is gone"),
        (HarnessError("x", "y"), "broken", "x"),
        (KeyError("bug"), "broken", "KeyError: 'bug'"),
        (KeyboardInterrupt(), "interrupted", "stopped from outside"),
    ],
)
def test_a_run_that_ends_early_says_why_and_can_go_on(
    setup: _Setup, supervisor: type[_FakeSupervisor], error: BaseException, state: str, reason: str
) -> None:
    output, prepared = setup.folder / "run", setup.prepared()
    supervisor.error = error
    with pytest.raises(type(error)):
        _execute(prepared, output)
    record = read_json(output / "run.json")
    assert (record["state"], record["reason"]) == (state, reason)
    assert find_unfinished(prepared, setup.folder) == output
    supervisor.error = None
    with pytest.raises(FolderError, match="--resume"):
        _execute(prepared, output)
    with pytest.raises(FolderError, match="another configuration"):
        _execute(setup.prepared(dataset_seed=3), output, resume=True)
    assert read_json(output / "run.json")["state"] == state
    _execute(prepared, output, resume=True)
    again = read_json(output / "run.json")
    assert (again["state"], again["started_utc"], len(again["resumed_utc"])) == (
        "complete", record["started_utc"], 1,
    )  # fmt: skip


def test_every_test_says_which_samples_it_ran_on(setup: _Setup, supervisor: type[_FakeSupervisor]) -> None:
    setup.conf.write_text(OFFICIAL)
    config = setup.config("Offline", benchmark="gpt-oss-120b", tests=TEST07)
    prepared = prepare([config], ["TEST07", "TEST09"])
    output = setup.folder / "run"
    assert set(_execute(prepared, output)) == {output / "Offline/TEST09", output / "Offline/TEST07"}
    record = read_json(output / "run.json")
    assert record["dataset"]["digest"] == prepared.table.digest
    assert record["test_datasets"]["TEST07"]["digest"] == prepared.own_tables["TEST07"].digest
    for test, file, table in (
        ("TEST09", "samples.npz", prepared.table),
        ("TEST07", "samples_TEST07.npz", prepared.own_tables["TEST07"]),
    ):
        described = read_json(output / "Offline" / test / "test.json")["dataset"]
        assert (described["file"], described["digest"]) == (file, table.digest)
        assert SampleTable.load(output / file).digest == table.digest


def test_a_full_disk_is_said_before_anything_starts(
    setup: _Setup, supervisor: type[_FakeSupervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor.error = AssertionError("was started")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    with pytest.raises(HostError, match="1 MiB are free"):
        _execute(setup.prepared(), setup.folder / "run")
    assert not (setup.folder / "run/run.json").exists()
    monkeypatch.undo()
    monkeypatch.setattr(execute_module, "Supervisor", type("Fake", (_FakeSupervisor,), {}))
    _execute(setup.prepared(), setup.folder / "run")


def test_a_folder_in_use_is_refused(setup: _Setup, supervisor: type[_FakeSupervisor]) -> None:
    with RunFolder(setup.folder / "run"), pytest.raises(FolderError, match="another run"):
        _execute(setup.prepared(), setup.folder / "run")
