"""One scenario of one run, as it is held against others, and what makes two of them unlike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness_llm.core import Mode, Scenario
from harness_llm.errors import FolderError
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.paths import RUN_JSON, config_file
from harness_llm.results.reading import read_record
from harness_llm.results.recorded_config import recorded_config
from harness_llm.results.records import RunRecord, TestRecord
from harness_llm.results.run_folder import TestFolder, state_of
from harness_llm.results.sample_rows import SampleRows, read_sample_rows

_REMEDY = "Give runs whose performance test is complete."


@dataclass(frozen=True)
class Side:
    """The performance test of one scenario of a run.

    Attributes:
        run: The run folder.
        record: Its run.json.
        test: The test's test.json.
        detail: LoadGen's detail log.
        rows: Its samples, all answered.
        configuration: The resolved configuration.
    """

    run: Path
    record: RunRecord
    test: TestRecord
    detail: DetailLog
    rows: SampleRows
    configuration: Mapping[str, Any]

    @classmethod
    def read(cls, run: Path, scenario: Scenario) -> Side:
        """Read a scenario of a run.

        Raises:
            FolderError: It is no run folder, or its performance test is missing or not complete.
        """
        folder = TestFolder(run / scenario / Mode.PERFORMANCE.folder)
        if not folder.is_complete:
            state = state_of(run, folder.record())[0] if folder.is_begun else "missing"
            raise FolderError(f"{folder.path}: the test is {state}", _REMEDY)
        test, detail = folder.record(), DetailLog.read(folder.path / DETAIL_LOG)
        rows = read_sample_rows(folder.path, test, detail)
        if not rows.is_finished.all():
            raise FolderError(f"{folder.path}: not every sample was answered", _REMEDY)
        settings = recorded_config(config_file(run, scenario))
        return cls(run, read_record(run / RUN_JSON, RunRecord), test, detail, rows, settings)

    @cached_property
    def facts(self) -> dict[str, str]:
        """What was run, flat: each key of the configuration, each version, the host, the rate."""
        named = {
            "configuration": self.configuration,
            "package": self.record.packages,
            "host": self.record.host,
            "accelerators": [dict(device) for device in self.record.accelerators],
            "commit": self.record.git.commit,
            "LoadGen": self.test.loadgen_version,
            "target_qps": self.test.target_qps,
        }
        return dict(_flat("", named))


def scenarios_of(run: Path) -> list[Scenario]:
    """The scenarios of which a run has a performance test, in the order of the rules.

    Raises:
        FolderError: It is no run folder.
    """
    if not (run / RUN_JSON).exists():
        raise FolderError(f"{run}: no run folder, for it holds no {RUN_JSON}", "Give run folders.")
    tests = read_record(run / RUN_JSON, RunRecord).tests
    return [scenario for scenario in Scenario if f"{scenario}/{Mode.PERFORMANCE.folder}" in tests]


def differences(a: Side, b: Side) -> list[tuple[str, str, str]]:
    """What was run otherwise in B: what, in A, in B."""
    keys = dict.fromkeys([*a.facts, *b.facts])
    pairs = ((key, a.facts.get(key, "-"), b.facts.get(key, "-")) for key in keys)
    return [(key, one, other) for key, one, other in pairs if one != other]


def unlike(a: Side, b: Side) -> list[str]:
    """Why numbers of two runs say nothing of one another, one sentence each."""
    limits = ("requested_server_ttft_latency", "requested_server_tpot_latency")
    compared = {
        "benchmark": (a.record.benchmark, b.record.benchmark),
        "data set": (_data(a), _data(b)),
        "simulated": (a.record.simulated, b.record.simulated),
    }
    if a.test.scenario.is_timed_per_token:
        compared["target_qps"] = (a.test.target_qps, b.test.target_qps)
        compared["limits"] = (
            tuple(map(a.detail.integer, limits)),
            tuple(map(b.detail.integer, limits)),
        )
    return [
        f"{name}: {one} in {a.run}, {other} in {b.run}"
        for name, (one, other) in compared.items()
        if one != other
    ]


def _data(side: Side) -> str:
    data = side.test.dataset or side.record.dataset_of(Mode.PERFORMANCE.folder)
    return f"{data.name} {data.digest[:12]}"


def _flat(prefix: str, node: object) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), value)
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _flat(f"{prefix}[{number}]", value)
    else:
        yield prefix, str(node)
