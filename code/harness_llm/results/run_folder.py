"""The run folder: everything that a run leaves, written so that an interruption loses nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from harness_llm.core import Mode, Scenario
from harness_llm.errors import HostError, ProtocolError
from harness_llm.results.held import HeldFolder, is_in_use, keep_reserve, set_aside, spend_reserve, utc_now
from harness_llm.results.observed import LossRecord, OthersRecord, PreflightRecord, RateRecord
from harness_llm.results.paths import RUN_JSON, TEST_JSON, group_folder
from harness_llm.results.reading import read_record, write_record
from harness_llm.results.records import (
    FORMAT,
    DatasetRecord,
    LoadgenReport,
    RunRecord,
    State,
    TestRecord,
    Verdict,
)
from harness_llm.results.sealed import seal

_CUT_OFF = "its process was killed, or the host went down; continue it with `run --resume --output`"


def state_of(run: Path, record: RunRecord | TestRecord) -> tuple[str, str]:
    """How far a run, or a test of it, came, and why not further; also where its process could not say so.

    Args:
        run: The run folder.
        record: Its run.json, or a test.json of it.
    """
    if record.state == "running" and not is_in_use(run):
        return "cut off", _CUT_OFF
    return record.state, record.reason


class RunFolder(HeldFolder):
    """One run's folder, held by one process at a time.

    Args:
        path: The folder; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, RUN_JSON, "run")
        self._begun: RunRecord | None = None

    def record(self) -> RunRecord | None:
        """run.json, or None in a new folder.

        Raises:
            FolderError: It is damaged, or of a newer version.
        """
        return read_record(self.record_path, RunRecord) if self.record_path.exists() else None

    def begin(self, record: RunRecord) -> None:
        """Record what runs now; of an earlier start, its time is kept, and that it was continued."""
        earlier = self.record()
        if earlier is not None:
            resumed = (*earlier.resumed_utc, utc_now())
            record = replace(
                record,
                started_utc=earlier.started_utc,
                resumed_utc=resumed,
                losses=earlier.losses,
                preflights=earlier.preflights,
                rates=earlier.rates,
            )
        self._begun = record
        write_record(self.record_path, record)
        keep_reserve(self.path)

    def preflighted(self, group: str, found: PreflightRecord) -> None:
        """Record what was asked of a group of replicas before the first test on them."""
        assert self._begun is not None
        self._begun = replace(self._begun, preflights={**self._begun.preflights, group: found})
        write_record(self.record_path, self._begun)

    @property
    def rates(self) -> Mapping[str, RateRecord]:
        """By scenario, the rates that were measured in this run."""
        return self._begun.rates if self._begun is not None else {}

    def measured_rate(self, scenario: str, rate: RateRecord) -> None:
        """Record the rate of a scenario's tests."""
        assert self._begun is not None
        self._begun = replace(self._begun, rates={**self._begun.rates, scenario: rate})
        write_record(self.record_path, self._begun)

    def finish(self, state: State, reason: str = "") -> None:
        """Record how the run ended; nothing where it was never begun."""
        if self._begun is not None:
            ended = replace(self._begun, state=state, reason=reason, finished_utc=utc_now())
            spend_reserve(self.path)
            write_record(self.record_path, ended)

    def lost(self, losses: Iterable[LossRecord]) -> None:
        """Note the children that the run went on without; `finish` writes them."""
        if self._begun is not None:
            self._begun = replace(self._begun, losses=(*self._begun.losses, *losses))

    def group(self, name: str) -> Path:
        """Folder of the replicas that are loaded together, by number below it."""
        return group_folder(self.path, name)

    def test(self, name: str) -> TestFolder:
        """The folder of one test, e.g. `Offline/performance`."""
        return TestFolder(self.path / name)

    def tests(self) -> list[TestFolder]:
        """The folders of all tests that run.json names; some may not be there yet."""
        record = self.record()
        return [self.test(name) for name in (record.tests if record is not None else ())]


class TestFolder:
    """One test's folder."""

    __test__ = False  # no pytest class

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path / TEST_JSON

    def record(self) -> TestRecord:
        """test.json.

        Raises:
            FolderError: It is missing, damaged, or of a newer version.
        """
        return read_record(self._file, TestRecord)

    @property
    def is_begun(self) -> bool:
        """Whether a test was ever started here."""
        return self._file.exists()

    @property
    def is_complete(self) -> bool:
        """Whether LoadGen ended by itself here."""
        return self.is_begun and self.record().state == "complete"

    @property
    def is_followed_up(self) -> bool:
        """Whether what follows a test (scoring, verification) was done, too."""
        return self.is_complete and self.record().followed_up

    def begin(
        self, *, scenario: Scenario, mode: Mode, loadgen_model: str, target_qps: float, engines: str | None
    ) -> None:
        """Make the folder; what an interrupted test left is kept beside it.

        Args:
            scenario: The scenario as submitted.
            mode: LoadGen's mode.
            loadgen_model: Name in mlperf.conf and user.conf.
            target_qps: From user.conf, samples per second.
            engines: The group of replicas that answer it; see `RunFolder.group`.
        """
        set_aside(self.path)
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise HostError(
                f"{self.path}: cannot be made: {error}", "Check its owner and the disk."
            ) from error
        record = TestRecord(
            state="running", scenario=scenario, mode=mode, loadgen_model=loadgen_model,
            target_qps=target_qps, engines=engines, started_utc=utc_now(),
        )  # fmt: skip
        write_record(self._file, record)
        keep_reserve(self.path)

    def complete(self, report: Mapping[str, Any]) -> None:
        """LoadGen ended by itself.

        Args:
            report: What its process says of the test; see `LoadgenReport`.

        Raises:
            ProtocolError: The report is none.
        """
        try:
            said = msgspec.convert(dict(report), LoadgenReport)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"{self.path}: the report of its loadgen process: {error}") from error
        fields = {**asdict(said), "state": "complete", "finished_utc": utc_now(), "digests": self._seal()}
        self._write(replace(self.record(), **fields))

    def _seal(self) -> dict[str, str]:
        try:
            return seal(self.path)
        except OSError as error:
            raise HostError(f"{self.path}: cannot be read: {error}", "Check the disk.") from error

    def broken(self, reason: str) -> None:
        """The test could not go on."""
        self._write(replace(self.record(), state="broken", reason=reason, finished_utc=utc_now()))

    def abandoned(self, reason: str) -> None:
        """The test was given up on purpose."""
        self._write(replace(self.record(), state="abandoned", reason=reason, finished_utc=utc_now()))

    def asked(self, dataset: DatasetRecord) -> None:
        """Record the samples that the test asked."""
        self._write(replace(self.record(), dataset=dataset))

    def beside(self, others: OthersRecord) -> None:
        """Record what others held of the host meanwhile."""
        self._write(replace(self.record(), others=others))

    def verified(self, verdict: Verdict) -> None:
        """Record the verdict on a compliance test."""
        self._write(replace(self.record(), compliance=verdict))

    def followed_up(self) -> None:
        """All that follows the test was done."""
        self._write(replace(self.record(), followed_up=True))

    def _write(self, record: TestRecord) -> None:
        spend_reserve(self.path)  # every record after the first one says that the test is over
        write_record(self._file, replace(record, format=FORMAT))
