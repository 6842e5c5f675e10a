"""What a run will do, decided and checked before anything starts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from harness_llm.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.config.model import RunConfig
    from harness_llm.core import Mode

__all__ = ["SHARED_SAMPLES", "PlannedTest", "RunPlan"]

SHARED_SAMPLES = "samples.npz"
"""File in the run folder with the samples of every test that has none of its own."""

_BYTES_A_SAMPLE = 64 * 3  # events of a few queries a sample
_LOG_BYTES_A_TOKEN = 8  # hexadecimal int32 in LoadGen's accuracy log
_BYTES_BESIDE = 64 << 20


@dataclass(frozen=True)
class PlannedTest:
    """One LoadGen test to run.

    Attributes:
        name: Its folder under the run, e.g. `Offline/performance`, `Server/TEST06`.
        config: The scenario's configuration.
        mode: LoadGen's mode.
        loadgen_model: Model name for mlperf.conf and user.conf.
        target_qps: From user.conf, samples a second.
        expected: Queries expected in all; None where it cannot be known before.
        ttft_limit_ms: p99 limit; None where LoadGen does not judge it.
        tpot_limit_ms: p99 limit; None where LoadGen does not judge it.
        audit_conf: Text of audit.config for a compliance test; None otherwise.
        samples: Name, in the run folder, of the file with the test's samples.
    """

    name: str
    config: RunConfig
    mode: Mode
    loadgen_model: str
    target_qps: float
    expected: int | None
    ttft_limit_ms: float | None
    tpot_limit_ms: float | None
    audit_conf: str | None = None
    samples: str = SHARED_SAMPLES


@dataclass(frozen=True)
class RunPlan:
    """All tests of a run, over one user.conf.

    Attributes:
        tests: In the order in which they run; tests that share engine arguments stand together.
        user_conf: The user.conf to copy to every test.
        sample_count: Samples in the largest table.
        answer_tokens: Sum of that table's output limits, tokens.
    """

    tests: tuple[PlannedTest, ...]
    user_conf: Path
    sample_count: int
    answer_tokens: int

    def groups(self) -> list[list[PlannedTest]]:
        """Tests that follow one another on the same loaded replicas."""
        return [list(tests) for _, tests in groupby(self.tests, key=lambda test: test.config.engine_key)]

    def check_disk(self, folder: Path) -> None:
        """Refuse to start where the results would not fit.

        Raises:
            HostError: Too little is free.
        """
        a_test = self.sample_count * _BYTES_A_SAMPLE + self.answer_tokens * _LOG_BYTES_A_TOKEN
        needed = len(self.tests) * a_test + _BYTES_BESIDE
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise HostError(
                f"{folder}: {free / 2**20:,.0f} MiB are free, the results may need {needed / 2**20:,.0f} MiB",
                "Free disk space, or choose a folder on another disk with --output.",
            )
