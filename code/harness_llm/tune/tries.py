"""Tries on a loaded fleet: each is the legal run of LoadGen at another rate, and each keeps its folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future as Pending
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError, FolderError
from harness_llm.fleet.fleet import Fleet
from harness_llm.fleet.measurement import TestResult
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.events import sound_events
from harness_llm.results.finished import engine_record
from harness_llm.results.paths import (
    EVENTS_NPY,
    FACTS_JSON,
    RUN_JSON,
    SPEC_JSON,
    TEST_JSON,
    config_file,
    group_folder,
)
from harness_llm.results.reading import read_record
from harness_llm.results.recompute import due_ns
from harness_llm.results.records import RunRecord, TestRecord
from harness_llm.results.run_folder import TestFolder
from harness_llm.transport.spec import LoadgenSpec, LoadgenTest, read_spec
from harness_llm.tune.batching import StepLimits
from harness_llm.tune.future import Future
from harness_llm.tune.giving_up import KNOWN, RAMP, RUN
from harness_llm.tune.search import Tried
from harness_llm.tune.seen_run import Observed
from harness_llm.views.progress import TestProgress

TRIES = "tries"
"""Folder, within a tuning's, of the tries that are not results."""
_LOOK_EVERY_S = 1.0


def engine_limits(facts: dict[str, Any]) -> StepLimits:
    """What bounds a step of an engine, by its own account; what that leaves out is assumed to be ample."""
    resolved = facts.get("resolved", {})
    config = resolved.get("config", {})
    scheduler, cache = config.get("scheduler_config", {}), config.get("cache_config", {})
    batching = resolved.get("batching") or {}
    budget = scheduler.get("max_num_batched_tokens") or batching.get("step_tokens") or StepLimits.step_tokens
    blocks, size = cache.get("num_gpu_blocks"), cache.get("block_size")
    graphs = (
        config.get("compilation_config", {}).get("cudagraph_capture_sizes") or batching.get("graphs") or ()
    )
    kv_tokens, kv_block = batching.get("kv_tokens") or StepLimits.kv_tokens, StepLimits.kv_block
    if isinstance(blocks, int) and isinstance(size, int):
        kv_tokens, kv_block = float(blocks * size), size
    return StepLimits(
        int(facts.get("max_concurrent") or StepLimits.requests),
        int(budget),
        kv_tokens,
        kv_block,
        tuple(sorted(graphs)),
        bool(scheduler.get("async_scheduling")),
    )


@dataclass(frozen=True)
class RecordedEngines:
    """Engines as a run folder says that they were; nobody can ask them.

    Attributes:
        replicas: How many.
        limits: Of a step.
    """

    replicas: int
    limits: StepLimits

    @classmethod
    def of(cls, test: Path, run: Path | None = None) -> RecordedEngines:
        """By the folder of a test.

        Args:
            test: The folder.
            run: The run folder with the records of its engines; None for the one that contains the test.

        Raises:
            FolderError: What an engine said of itself is damaged.
        """
        group = TestFolder(test).record().engines
        run = run or test.parents[1]
        count = len(list(group_folder(run, group).glob(f"*/{FACTS_JSON}")))
        return cls(max(1, count), engine_limits(engine_record(run, group).as_facts()))

    def ask(self, qps: float, kind: str, look: Callable[[Observed], str]) -> Tried:
        """Never: they would be asked only where no run is left to learn from.

        Raises:
            FolderError: Always.
        """
        raise FolderError(
            "others held more than half of the host's cores during every run to learn from",
            "Give another run with --from.",
        )


class Tries:
    """The tries of one test on a loaded fleet.

    Args:
        fleet: Who answers.
        test: The legal run.
        future: What LoadGen will ask.
        folder: Where the run goes that is a result.
        kept: Where others are kept, by number.
    """

    def __init__(self, fleet: Fleet, test: LoadgenTest, future: Future, folder: Path, kept: Path) -> None:
        self._fleet, self._test, self.future, self._folder, self._kept = fleet, test, future, folder, kept
        self.replicas = len(fleet.replicas)
        self.limits = engine_limits(dict(fleet.facts[0]))
        self.result: TestResult | None = None

    def ask(self, qps: float, kind: str, look: Callable[[Observed], str]) -> Tried:
        """Start the legal run; give it up when `look` says why, or when it cannot be VALID any more."""
        test = msgspec.structs.replace(
            self._test.with_qps(qps), expected=self.future.count(qps), early_end=kind == RUN
        )
        with ThreadPoolExecutor(1) as worker:
            watch = _Looks(worker, self._folder, self.future, qps, look)
            self.result = self._fleet.measure(test, self._folder, watch)
        tried = tried_of(self._folder, self.future.seed)
        if not is_result(self._folder):
            keep(self._folder, self._kept)
        return tried


class _Looks:
    """Shows what came of a test so far, once a second, on a thread of its own: a look may take seconds."""

    def __init__(
        self,
        worker: ThreadPoolExecutor,
        folder: Path,
        future: Future,
        qps: float,
        look: Callable[[Observed], str],
    ) -> None:
        self._worker, self._folder, self._future, self._qps, self._look = worker, folder, future, qps, look
        self._pending: Pending[str] | None = None
        self._last = time.monotonic()

    def __call__(self, progress: TestProgress) -> str:
        if progress.lost:
            return progress.lost
        if self._pending is not None:
            if not self._pending.done():
                return ""
            why, self._pending = self._pending.result(), None
            return why
        if time.monotonic() - self._last >= _LOOK_EVERY_S:
            self._last = time.monotonic()
            self._pending = self._worker.submit(self._show)
        return ""

    def _show(self) -> str:
        now = time.monotonic_ns()
        events, _ = sound_events(self._folder / EVENTS_NPY)
        if events is None or not len(events):
            return ""
        return self._look(Observed.of_events(events, due_ns(events, self._future.seed, self._qps), now))


def is_result(folder: Path) -> bool:
    """Whether a test is the legal run at its own rate, and VALID by LoadGen; no stage of a ramp is."""
    return (
        TestFolder(folder).is_complete
        and _is_valid(folder)
        and (TestFolder(folder).record().scenario is Scenario.OFFLINE or not _is_stage(folder))
    )


def keep(folder: Path, kept: Path) -> Path:
    """Move a test that is not the result to the tries; its new folder."""
    kept.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(each.name) for each in kept.iterdir() if each.name.isdigit()), default=0)
    return folder.rename(kept / str(number))


def _is_valid(folder: Path) -> bool:
    return bool(DetailLog.read(folder / DETAIL_LOG).value("result_validity") == "VALID")


def _is_stage(folder: Path) -> bool:
    """Whether a test was asked as a stage of the ramp: see `Tries.ask`."""
    return not read_spec(LoadgenSpec, folder / SPEC_JSON).test.early_end


def tried_of(folder: Path, seed: int) -> Tried:
    """A try, read back from its folder.

    Args:
        folder: The test's folder.
        seed: LoadGen's `schedule_rng_seed`.

    Raises:
        FolderError: It holds none.
    """
    record = TestFolder(folder).record()
    complete = record.state == "complete"
    return Tried(
        record.target_qps,
        RAMP if _is_stage(folder) else RUN,
        Observed.of_test(folder, seed),
        "" if complete else record.reason,
        _share_of_others(record),
        _is_valid(folder) if complete else None,
    )


def _share_of_others(record: TestRecord) -> float:
    others = record.others
    return others.mean / others.cores if others is not None and others.cores else 0.0


def earlier(kept: Path, seed: int) -> list[Tried]:
    """The tries that are kept, in order."""
    return [tried_of(folder, seed) for folder in _kept(kept)]


def probe_of(tuning: Path) -> Observed:
    """What the newest try in the folder of a tuning showed."""
    return Observed.of_test(newest(tuning / TRIES))


def newest(kept: Path) -> Path:
    """The folder of the newest try."""
    return _kept(kept)[-1]


def _kept(folder: Path) -> list[Path]:
    """The folders of tries that are kept, in order."""
    found = (each for each in folder.glob("[0-9]*") if (each / TEST_JSON).exists())
    return sorted(found, key=lambda each: int(each.name))


def require_run(folder: Path) -> None:
    """Refuse what is not a run folder; of a study's folder, name the runs in it.

    Raises:
        FolderError: It is none.
    """
    if (folder / RUN_JSON).exists():
        return
    inside = [str(each.parent) for each in sorted(folder.glob(f"runs/*/{RUN_JSON}"))]
    raise FolderError(
        f"{folder}: {'the folder of a study' if inside else 'not a run folder'}",
        f"Give the run in it: {' or '.join(inside)}." if inside
        else "Give a folder that `harness-llm run` printed.",
    )  # fmt: skip


def known_tests(runs: Sequence[Path], scenario: Scenario) -> list[Path]:
    """The tests of earlier runs that can be learned from; of each run, the one at its own rate last.

    Raises:
        ConfigError: The scenario has no first tokens.
        FolderError: A folder is no run, or has no such test.
    """
    if runs and not scenario.is_timed_per_token:
        raise ConfigError(
            f"--from: {scenario} has no first tokens to learn from",
            "Leave it out: the rate is measured first.",
        )
    found: list[Path] = []
    for run in runs:
        require_run(run)
        names = (Mode.ACCURACY.folder, Mode.PERFORMANCE.folder)
        folders = [run / scenario / name for name in names if TestFolder(run / scenario / name).is_begun]
        if not folders:
            raise FolderError(
                f"{run}: has no {scenario} test ({config_file(run, scenario).name})",
                "Give a run of the same scenario.",
            )
        found += folders
    return found


def known_runs(runs: Sequence[Path], scenario: Scenario) -> list[Tried]:
    """What earlier runs of the same engines showed.

    Raises:
        ConfigError: The scenario has no first tokens.
        FolderError: A folder is no run, or has no test of the scenario.
    """
    found = []
    for folder in known_tests(runs, scenario):
        seen, record = Observed.of_test(folder), TestFolder(folder).record()
        is_at_its_rate = folder.name == Mode.PERFORMANCE.folder
        rate = record.target_qps if is_at_its_rate else seen.done.sum() / seen.until
        found.append(Tried(float(rate), KNOWN, seen, others=_share_of_others(record)))
    return found


def require_same_samples(run: Path, digest: str) -> None:
    """Refuse to learn from or to compare with a run of other samples.

    Args:
        run: Its folder.
        digest: Of the sample table of the other.

    Raises:
        ConfigError: The run had another sample table.
    """
    ran = read_record(run / RUN_JSON, RunRecord).dataset
    if ran.digest != digest:
        raise ConfigError(
            f"{run}: has other samples ({ran.samples:,} of {ran.source or ran.name})",
            "Give a run of the same data set, tokenizer and limits of answers.",
        )
