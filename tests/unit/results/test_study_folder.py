from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from harness_llm.errors import FolderError
from harness_llm.results.records import RunRecord
from harness_llm.results.study_folder import PointRecord, StudyFolder, StudyRecord

POINTS = tuple(PointRecord(label=f"{watts}W", settings={"cap_w": watts}) for watts in (200, 400, 700))
STUDY = StudyRecord(kind="power", seed=7, points=POINTS, state="running", started_utc="2026-01-01T00:00:00Z")
RUN = replace(RunRecord.blank(), state="running")


def labels(points: list[PointRecord]) -> list[str]:
    return [point.label for point in points]


def measure(folder: StudyFolder, label: str, state: str = "complete") -> None:
    with folder.run(label) as run:
        run.begin(RUN)
        run.finish(state)  # type: ignore[arg-type]


def test_what_is_done_follows_from_the_manifest_and_the_runs(tmp_path: Path) -> None:
    with StudyFolder(tmp_path / "study") as folder:
        assert folder.record() is None and folder.runs() == {} and folder.to_do() == []
        folder.begin(STUDY)
        assert labels(folder.to_do()) == ["200W", "400W", "700W"]
        measure(folder, "400W")
        measure(folder, "700W", "broken")
        assert {label: run.state for label, run in folder.runs().items()} == {
            "400W": "complete",
            "700W": "broken",
        }
        assert labels(folder.to_do()) == ["200W", "700W"]
        folder.finish("interrupted", "stopped from outside")
    assert StudyFolder(tmp_path / "study").record().state == "interrupted"  # type: ignore[union-attr]


def test_an_interrupted_study_continues_where_it_was(tmp_path: Path) -> None:
    with StudyFolder(tmp_path) as folder:
        folder.begin(STUDY)
        measure(folder, "200W")
    with StudyFolder(tmp_path) as folder:
        folder.begin(replace(STUDY, started_utc="2027-01-01T00:00:00Z", versions={"vllm": "2"}))
        record = folder.record()
        assert record is not None and record.started_utc == STUDY.started_utc
        assert len(record.resumed_utc) == 1 and record.versions == {"vllm": "2"}
        assert labels(folder.to_do()) == ["400W", "700W"]
        for label in ("400W", "700W"):
            measure(folder, label)
        assert folder.to_do() == []
        folder.finish("complete")


@pytest.mark.parametrize(
    ("other", "named"),
    [({"seed": 8}, "differs in seed"), ({"kind": "x", "points": POINTS[:2]}, "differs in kind, points")],
)
def test_another_study_is_refused_and_what_lies_there_stays(
    tmp_path: Path, other: dict[str, object], named: str
) -> None:
    with StudyFolder(tmp_path) as folder:
        folder.begin(STUDY)
        with pytest.raises(FolderError, match=named):
            folder.begin(replace(STUDY, **other))
        assert folder.record() == STUDY


def test_a_run_that_is_measured_again_keeps_the_one_before(tmp_path: Path) -> None:
    with StudyFolder(tmp_path) as folder:
        folder.begin(STUDY)
        measure(folder, "200W", "broken")
        with folder.start_over("200W") as run:
            assert run.record() is None
        assert (tmp_path / "runs/200W.broken-1/run.json").is_file()


def test_one_process_holds_a_study_and_a_run_folder_is_none(tmp_path: Path) -> None:
    with (
        StudyFolder(tmp_path / "study"),
        pytest.raises(FolderError, match="another study is using"),
        StudyFolder(tmp_path / "study"),
    ):
        pass
    with StudyFolder(tmp_path / "other") as folder:
        folder.begin(STUDY)
        measure(folder, "200W")
    with pytest.raises(FolderError, match="no study folder"), StudyFolder(tmp_path / "other/runs/200W"):
        pass
