"""A finished run folder as `package` needs it: read strictly, never changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness_llm import rules
from harness_llm.core import Mode, Scenario
from harness_llm.engines import KINDS
from harness_llm.errors import FolderError
from harness_llm.logs.detail import DetailLog

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.engines import EngineKind

__all__ = ["AccuracyRecord", "RunFolder", "RunRecord", "ScenarioFolder", "TestRecord"]

_State = Literal["running", "complete", "broken", "interrupted"]
_Kind = TypeVar("_Kind", bound="BaseModel")


class _Record(BaseModel):
    """A file that another part of the harness wrote; keys that are not needed here are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal[1]


class _Git(BaseModel):
    commit: str | None = None
    dirty: bool | None = None
    changed: tuple[str, ...] = ()


class _Dataset(BaseModel):
    name: str
    samples: int
    digest: str
    source: str = ""


class RunRecord(_Record):
    """run.json."""

    benchmark: str
    official: bool
    simulated: bool
    state: _State
    reason: str = ""
    started_utc: str
    command: tuple[str, ...]
    git: _Git
    packages: dict[str, str]
    host: dict[str, Any]
    accelerators: tuple[dict[str, Any], ...]
    dataset: _Dataset


class TestRecord(_Record):
    """test.json of one LoadGen test."""

    __test__ = False  # no pytest class

    state: _State
    reason: str = ""
    loadgen_model: str
    samples: int


class AccuracyRecord(BaseModel):
    """accuracy.json of an accuracy test."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    metric: str
    scores: dict[str, float]
    gates: dict[str, float] = Field(default_factory=dict)
    passed: bool | None
    tokens_per_sample: float
    samples: int


@dataclass(frozen=True)
class ScenarioFolder:
    """The tests of one scenario, all complete.

    Attributes:
        path: Its folder in the run folder.
        scenario: The scenario.
        performance: The performance test.
        config: The resolved configuration of the scenario; empty where the run kept none.
        accuracy: The scored accuracy test; None only for a simulated run, whose answers cannot be scored.
        compliance: Names of the compliance tests that were run and are complete.
    """

    path: Path
    scenario: Scenario
    performance: TestRecord
    config: dict[str, Any]
    accuracy: AccuracyRecord | None
    compliance: tuple[str, ...]

    @cached_property
    def detail(self) -> DetailLog:
        """LoadGen's detail log of the performance test."""
        return DetailLog.read(self.path / "performance" / "mlperf_log_detail.txt")


@dataclass(frozen=True)
class RunFolder:
    """One finished run.

    Attributes:
        path: The folder.
        run: Its run.json.
        scenarios: Its scenarios in the order of the rules.
    """

    path: Path
    run: RunRecord
    scenarios: tuple[ScenarioFolder, ...]

    @classmethod
    def read(cls, path: Path, only: tuple[Scenario, ...] | None = None) -> RunFolder:
        """Read a run folder.

        Args:
            path: The folder.
            only: Scenarios to read; None for all that it has.

        Raises:
            FolderError: It is no run folder, its run is not complete, or a test is missing.
        """
        run = _read(path / "run.json", RunRecord)
        if run.state != "complete":
            reason = f": {run.reason}" if run.reason else ""
            raise FolderError(f"{path}: the run is {run.state}{reason}", "Package a run that has ended well.")
        present = [scenario for scenario in Scenario if (path / scenario).is_dir()]
        missing = [scenario for scenario in only or () if scenario not in present]
        if missing or not present:
            raise FolderError(f"{path}: has no test of {', '.join(missing) or 'any scenario'}")
        chosen = [scenario for scenario in present if only is None or scenario in only]
        return cls(path, run, tuple(_scenario(path, scenario, run.simulated) for scenario in chosen))

    @property
    def engine_facts(self) -> dict[str, Any]:
        """What the first replica's engine said of itself; empty where the run kept nothing."""
        try:
            facts = json.loads((self.path / "replicas" / "0" / "facts.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    @property
    def engine_kind(self) -> type[EngineKind]:
        """The kind of engine that ran, by what it said of itself."""
        default = next(kind for kind in KINDS.values() if kind.is_simulated == self.run.simulated)
        return KINDS.get(str(self.engine_facts.get("name")), default)


def _scenario(run: Path, scenario: Scenario, is_simulated: bool) -> ScenarioFolder:
    folder = run / scenario
    tests = {mode: _complete_test(folder / mode.folder) for mode in Mode}
    compliance = [path.name for path in sorted(folder.iterdir()) if path.name in rules.table().tests]
    for test in compliance:
        _complete_test(folder / test)
    config = _config(run / "config" / f"{scenario}.yaml")
    scored = folder / "accuracy" / "accuracy.json"
    accuracy = None if is_simulated and not scored.exists() else _read(scored, AccuracyRecord)
    return ScenarioFolder(folder, scenario, tests[Mode.PERFORMANCE], config, accuracy, tuple(compliance))


def _complete_test(folder: Path) -> TestRecord:
    test = _read(folder / "test.json", TestRecord)
    if test.state != "complete":
        raise FolderError(
            f"{folder}: the test is {test.state}: {test.reason}", "Run the test to its end first."
        )
    return test


def _config(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FolderError(f"{path}: cannot be read: {error}") from error
    found = found if isinstance(found, dict) else {}
    if not isinstance(found.get("llm_config") or {}, dict):
        raise FolderError(f"{path}: llm_config is no mapping", "Is this the configuration of the run?")
    return found


def _read(path: Path, kind: type[_Kind]) -> _Kind:
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        remedy = "A result needs a complete performance and accuracy test of each scenario."
        raise FolderError(f"{path}: is missing", remedy) from error
    except OSError as error:
        raise FolderError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise FolderError(
            f"{path}: {key}: {first['msg']}", "Is this a run folder of this version?"
        ) from error
