"""A run in MLflow: the numbers of `show` as metrics, its configuration as parameters, and its records."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness_llm.errors import HostError
from harness_llm.results.paths import RUN_JSON, TEST_JSON, config_file
from harness_llm.results.reading import read_record
from harness_llm.results.recorded_config import recorded_config
from harness_llm.results.records import RunRecord
from harness_llm.views.run_summary import RunSummary, summarize

_TAG = "harness_llm.run"
_LONGEST_VALUE = 500  # characters of a parameter that every MLflow takes
_NUMBERS = ("tokens_per_s", "tokens_per_s_events", "ttft_p99_ms", "tpot_p99_ms", "samples", "seconds")
_MAPS = ("accuracy", "joules_per_token")


def write_mlflow(run: Path, tracking: str) -> str:
    """Write a run to an MLflow server or store; what it has of this run already is written again.

    Args:
        run: The run folder.
        tracking: MLflow's tracking URI; empty for the one that MLflow itself finds in its variables.

    Returns:
        MLflow's id of the run.

    Raises:
        FolderError: It is no run folder.
        HostError: MLflow does not take it.
    """
    summary, record = summarize(run), read_record(run / RUN_JSON, RunRecord)
    asked = parameters(run, record)
    mlflow = importlib.import_module("mlflow")
    try:
        return _write(mlflow.MlflowClient(tracking or None), run, record, summary, asked)
    except Exception as error:  # noqa: BLE001 - MLflow's stores raise what their databases and servers raise
        where = tracking or "the store that MLFLOW_TRACKING_URI names"
        raise HostError(f"{where}: MLflow does not take the run: {error}", "Check the address.") from error


def _write(client: Any, run: Path, record: RunRecord, summary: RunSummary, asked: Mapping[str, str]) -> str:
    name = run.resolve().name
    known = client.get_experiment_by_name(record.benchmark)
    experiment = client.create_experiment(record.benchmark) if known is None else known.experiment_id
    earlier = client.search_runs([experiment], f"tags.`{_TAG}` = '{name}'")
    if earlier:
        run_id = str(earlier[0].info.run_id)
    else:
        run_id = str(client.create_run(experiment, run_name=name, tags={_TAG: name}).info.run_id)
    tags = {"valid": summary.is_valid, "state": summary.state, "marker": summary.marker}
    for key, value in {**tags, "commit": record.git.commit or "unknown"}.items():
        client.set_tag(run_id, f"harness_llm.{key}", str(value))
    known_parameters = earlier[0].data.params if earlier else {}
    for key, value in asked.items():
        if key not in known_parameters:  # MLflow refuses a second value
            client.log_param(run_id, key, value)
    for key, number in metrics(summary).items():
        client.log_metric(run_id, key, number)
    for path in _records(run, record):
        folder = path.parent.relative_to(run).as_posix()
        client.log_artifact(run_id, str(path), None if folder == "." else folder)
    client.set_terminated(run_id, "FINISHED" if summary.state == "complete" else "FAILED")
    return run_id


def metrics(summary: RunSummary) -> dict[str, float]:
    """Every number of `show`, by scenario and name: `Server.ttft_p99_ms`."""
    found: dict[str, float] = {}
    for row in summary.scenarios:
        numbers = {name: getattr(row, name) for name in _NUMBERS}
        numbers |= {f"{of}.{name}": each for of in _MAPS for name, each in getattr(row, of).items()}
        found |= {f"{row.scenario}.{name}": float(each) for name, each in numbers.items() if each is not None}
        found[f"{row.scenario}.valid"] = float(row.is_valid)
    return found


def parameters(run: Path, record: RunRecord) -> dict[str, str]:
    """The resolved configuration of each scenario by dotted keys, and the versions of the packages."""
    found = {f"package.{name}": version for name, version in record.packages.items()}
    for scenario in record.by_scenario():
        config = recorded_config(config_file(run, scenario))
        found |= _flat(config, scenario) if config else {}
    return {name: value[:_LONGEST_VALUE] for name, value in found.items()}


def _flat(value: Any, name: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not value:
        return {name: str(value)}
    return {key: text for part, each in value.items() for key, text in _flat(each, f"{name}.{part}").items()}


def _records(run: Path, record: RunRecord) -> Iterator[Path]:
    names = [Path(RUN_JSON), *(Path(test) / TEST_JSON for test in record.tests)]
    found = [run / name for name in names] + [config_file(run, scenario) for scenario in record.by_scenario()]
    return (path for path in found if path.exists())
