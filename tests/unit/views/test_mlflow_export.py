"""What MLflow is told of a run, by a stand-in for its client; the real one is in test_other_tools.py."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from golden.run_folder import build_run

from harness_llm.views.mlflow_export import metrics, parameters
from harness_llm.views.run_summary import record_of, summarize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


class _Store:
    """Keeps what it is told, and refuses a parameter's second value, as MLflow does."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.asked: list[str | None] = []

    def client(self, tracking: str | None) -> _Store:
        self.asked.append(tracking)
        if tracking == "http://nowhere":
            raise ConnectionError("no route")
        return self

    def get_experiment_by_name(self, name: str) -> Any:
        known = self.experiments.get(name)
        return None if known is None else SimpleNamespace(experiment_id=known)

    def create_experiment(self, name: str) -> str:
        return self.experiments.setdefault(name, str(len(self.experiments)))

    def search_runs(self, experiments: list[str], where: str) -> list[Any]:
        key, _, value = where.removeprefix("tags.").partition(" = ")
        found = [
            run_id
            for run_id, run in self.runs.items()
            if run["experiment"] in experiments and run["tags"].get(key.strip("`")) == value.strip("'")
        ]
        return [
            SimpleNamespace(
                info=SimpleNamespace(run_id=run_id), data=SimpleNamespace(params=self.runs[run_id]["params"])
            )
            for run_id in found
        ]

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        run_id = f"run-{len(self.runs)}"
        self.runs[run_id] = {
            "experiment": experiment, "name": run_name, "tags": dict(tags), "params": {}, "metrics": {},
            "files": [], "status": "RUNNING",
        }  # fmt: skip
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        self.runs[run_id]["tags"][key] = value

    def log_param(self, run_id: str, key: str, value: str) -> None:
        assert key not in self.runs[run_id]["params"] and len(value) <= 500
        self.runs[run_id]["params"][key] = value

    def log_metric(self, run_id: str, key: str, value: float) -> None:
        self.runs[run_id]["metrics"][key] = value

    def log_artifact(self, run_id: str, path: str, folder: str | None) -> None:
        self.runs[run_id]["files"].append((folder or ".", path.rpartition("/")[2]))

    def set_terminated(self, run_id: str, status: str) -> None:
        self.runs[run_id]["status"] = status


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> _Store:
    store, module = _Store(), ModuleType("mlflow")
    module.__spec__ = ModuleSpec("mlflow", None)
    module.MlflowClient = store.client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return store


def test_a_run_is_written_once_however_often_it_is_exported(
    tmp_path: Path, command: Command, store: _Store
) -> None:
    run = build_run(tmp_path / "run", {"Server/performance": "toy-server-valid"})
    (run / "config" / "Server.yaml").write_text(f"llm_config: {{max_num_seqs: 64, model: {'m' * 900}}}\n")
    for _ in range(2):
        code, out, _ = command("export", run, "--mlflow", "http://host:5000", "--json")
        assert code == 0 and json.loads(out) == {"mlflow_run": "run-0"}
        (written,) = store.runs.values()
        assert written["params"] == parameters(run, record_of(run))
        del written["params"]["Server.llm_config.max_num_seqs"]  # as of an export that broke off
    command("export", run, "--mlflow", "http://host:5000")
    shown = json.loads(command("show", run, "--json")[1])
    (row,) = shown["scenarios"]
    for name in ("tokens_per_s", "ttft_p99_ms", "tpot_p99_ms"):
        assert row[name] is not None and written["metrics"][f"Server.{name}"] == row[name]
    assert written["metrics"]["Server.valid"] == 1.0 and written["status"] == "FINISHED"
    assert written["params"] == parameters(run, record_of(run))
    assert written["params"]["Server.llm_config.max_num_seqs"] == "64"
    assert written["tags"]["harness_llm.valid"] == "True"
    assert {(".", "run.json"), ("Server/performance", "test.json"), ("config", "Server.yaml")} <= set(
        written["files"]
    )
    assert metrics(summarize(run)) == written["metrics"]


def test_what_mlflow_refuses_and_what_is_not_installed_is_said(
    tmp_path: Path, command: Command, store: _Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = build_run(tmp_path / "run", {"Server/performance": "toy-server-valid"})
    code, _, err = command("export", run, "--mlflow", "http://nowhere")
    assert code == 3 and "http://nowhere: MLflow does not take the run: no route" in err
    code, out, _ = command("export", run, "--mlflow", "")
    assert code == 0 and store.asked[-1] is None and "MLflow: run run-0" in out
    code, _, err = command("export", run)
    assert code == 2 and "Pass --parquet, --mlflow, or both." in err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = command("export", run, "--mlflow", "")
    assert code == 2 and "-m pip install mlflow-skinny" in err and "extra" not in err
