"""Where each file of a submission lies, by round."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness_llm import rules
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError

Division = Literal["closed", "open"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_IMPLEMENTATION = "harness_llm"


@dataclass(frozen=True)
class Place:
    """The paths of one scenario's result, relative to the folder of the organization.

    Source: submission_checker/constants.py lines 2029-2193 @b66003e1; the v5 file name of measurements:
    loader.py lines 175-187.

    Attributes:
        layout: `v5` keeps measurements and compliance tests apart from results, `v6` does not.
        system: Name of the system, a folder.
        benchmark: Name of the benchmark, a folder.
        scenario: Name of the scenario, a folder.
    """

    layout: Literal["v5", "v6"]
    system: str
    benchmark: str
    scenario: Scenario

    def _below(self, top: str) -> Path:
        return Path(top, self.system, self.benchmark, self.scenario)

    @property
    def result(self) -> Path:
        """Folder of the scenario's logs."""
        return self._below("results")

    @property
    def performance(self) -> Path:
        """Folder of the performance run's logs."""
        return self.result / "performance" / "run_1"

    @property
    def accuracy(self) -> Path:
        """Folder of the accuracy run's logs."""
        return self.result / "accuracy"

    @property
    def documents(self) -> Path:
        """Folder of user.conf, README.md and the measurements."""
        return self.result if self.layout == "v6" else self._below("measurements")

    @property
    def measurements(self) -> Path:
        """The measurements JSON file."""
        v5_name = f"{self.system}_{_IMPLEMENTATION}_{self.scenario}.json"
        return self.documents / ("measurements.json" if self.layout == "v6" else v5_name)

    @property
    def compliance(self) -> Path:
        """Folder that holds the folders of the compliance tests."""
        return self.result if self.layout == "v6" else self._below("compliance")

    @property
    def description(self) -> Path:
        """The system description."""
        return Path("systems", f"{self.system}.json")

    @property
    def source(self) -> Path:
        """Folder of the source code of this benchmark."""
        return Path("src" if self.layout == "v6" else "code", self.benchmark)

    @property
    def owned(self) -> tuple[Path, ...]:
        """Every folder that belongs to this one result and is replaced with it."""
        return tuple(dict.fromkeys((self.result, self.documents, self.compliance)))


def place_result(round_name: str, system: str, benchmark: str, scenario: Scenario) -> Place:
    """Where a result goes.

    In v5.0 Interactive was no scenario but a benchmark of its own, filed under Server.

    Raises:
        ConfigError: The round has no Interactive of this benchmark.
    """
    layout = rules.round_rules(round_name).layout
    if round_name == "v5.0" and scenario is Scenario.INTERACTIVE:
        own_name = _interactive_benchmark(benchmark, round_name)
        if own_name is None:
            remedy = "Package it for v5.1 or later, or leave Interactive out with scenarios."
            raise ConfigError(f"{benchmark}: v5.0 has no Interactive of this benchmark", remedy)
        return Place(layout, system, own_name, Scenario.SERVER)
    return Place(layout, system, benchmark, scenario)


def _interactive_benchmark(benchmark: str, round_name: str) -> str | None:
    """The benchmark of a round that is the Interactive form of another, e.g. llama2-70b-interactive-99.9."""
    model = rules.loadgen_model(benchmark, Scenario.SERVER)
    candidate = benchmark.replace(model, f"{model}-interactive", 1)
    return candidate if candidate != benchmark and rules.lookup(candidate, round_name) else None


def check_name(value: str, what: str) -> str:
    """Refuse what cannot be a folder name everywhere.

    Raises:
        ConfigError: The name is empty or has characters beyond letters, digits and `._+-`.
    """
    if not _NAME.fullmatch(value):
        remedy = (
            "Use letters, digits and ._+- only, starting with a letter or digit, e.g. 8xMI300X_2xEPYC_9554."
        )
        raise ConfigError(f"{what} {value!r} cannot be a folder of a submission", remedy)
    return value
