from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_llm.errors import HostError
from harness_llm.logs.written import check_written

if TYPE_CHECKING:
    from pathlib import Path

LINE = ':::MLLOG {"key": "%s", "value": %s, "time_ms": 0, "namespace": "mlperf::logging", "event_type": '
LINE += '"POINT_IN_TIME", "metadata": {"is_error": false, "is_warning": false, "file": "f.cc", "line_no": 1, '
LINE += '"pid": 1, "tid": 1}}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [LINE % ("loadgen_version", '"6.0"'), LINE % ("num_warnings", "0"), LINE % ("num_errors", "0")]
    (tmp_path / "mlperf_log_detail.txt").write_text("".join(lines))
    (tmp_path / "mlperf_log_accuracy.json").write_text("[\n]\n")
    return tmp_path


def test_whole_logs_are_good(folder: Path) -> None:
    check_written(folder)
    (folder / "mlperf_log_accuracy.json").write_text(
        "[\n" + '{ "seq_id" : 1, "data" : "00" }\n' * 100 + "]\n"
    )
    check_written(folder)


@pytest.mark.parametrize("kept", [0, 40, 300, -10])
def test_a_detail_log_that_is_cut_anywhere_is_refused(folder: Path, kept: int) -> None:
    path = folder / "mlperf_log_detail.txt"
    path.write_text(path.read_text()[:kept])
    with pytest.raises(HostError, match="mlperf_log_detail.txt") as caught:
        check_written(folder)
    assert "--resume" in caught.value.remedy


@pytest.mark.parametrize("text", [None, "", "[\n", '[\n{ "seq_id" : 1, "data" : "00" },\n{ "seq'])
def test_an_accuracy_log_that_is_cut_or_missing_is_refused(folder: Path, text: str | None) -> None:
    path = folder / "mlperf_log_accuracy.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(HostError, match=r"mlperf_log_accuracy\.json: missing, or cut"):
        check_written(folder)
