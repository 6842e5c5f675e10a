from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from harness_llm import run as run_module
from harness_llm.config.load import load_config
from harness_llm.core import Mode
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
            after_test(self._folder.test(test.name).path)


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> type[_FakeSupervisor]:
    kind = type("Fake", (_FakeSupervisor,), {})
    monkeypatch.setattr(run_module, "Supervisor", kind)
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


def test_a_full_disk_is_said_before_anything_starts(
    setup: _Setup, supervisor: type[_FakeSupervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor.error = AssertionError("was started")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    with pytest.raises(HostError, match="1 MiB are free"):
        _execute(setup.prepared(), setup.folder / "run")
    assert not (setup.folder / "run/run.json").exists()
    monkeypatch.undo()
    monkeypatch.setattr(run_module, "Supervisor", type("Fake", (_FakeSupervisor,), {}))
    _execute(setup.prepared(), setup.folder / "run")


def test_a_folder_in_use_is_refused(setup: _Setup, supervisor: type[_FakeSupervisor]) -> None:
    with RunFolder(setup.folder / "run"), pytest.raises(FolderError, match="another run"):
        _execute(setup.prepared(), setup.folder / "run")
