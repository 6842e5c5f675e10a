"""One flipped bit anywhere in the files on which a test's verdict stands is seen by the verdict."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from golden.recorded import unpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness_llm.core import Mode, Scenario
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.paths import EVENTS_NPY, USER_CONF
from harness_llm.results.run_folder import TestFolder
from harness_llm.results.sealed import SEALED
from harness_llm.results.verdict import judge


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TestFolder:
    folder = TestFolder(tmp_path_factory.mktemp("run") / "Server" / "performance")
    folder.begin(
        scenario=Scenario.SERVER, mode=Mode.PERFORMANCE, loadgen_model="toy", target_qps=1.0, engines="Server"
    )
    recorded = unpack("toy-server-valid", tmp_path_factory.mktemp("logs"))
    for name in SEALED:
        if (recorded / name).exists():
            (folder.path / name).write_bytes((recorded / name).read_bytes())
    np.save(folder.path / EVENTS_NPY, np.zeros(50, EVENT_DTYPE))
    (folder.path / USER_CONF).write_text("toy.Server.target_qps = 1.0\n")
    folder.complete({"seconds": 1.0, "samples": 50, "tokens": 100})
    return folder


def _broken(folder: TestFolder) -> list[str]:
    """The sealed files that the verdict speaks of."""
    said = judge(folder.path, folder.record()).mismeasured
    return [name for name in SEALED if any(it.startswith(f"{name}: ") for it in said)]


def test_what_is_as_it_was_breaks_no_seal(finished: TestFolder) -> None:
    assert {EVENTS_NPY, USER_CONF, "mlperf_log_detail.txt"} <= set(finished.record().digests)
    assert _broken(finished) == []


def test_events_that_are_gone_together_with_their_digest_are_missed(finished: TestFolder) -> None:
    path, record = finished.path / EVENTS_NPY, finished.record()
    before = path.read_bytes()
    path.unlink()
    try:
        known = {name: digest for name, digest in record.digests.items() if name != EVENTS_NPY}
        said = judge(finished.path, msgspec.structs.replace(record, digests=known)).mismeasured
        assert [it for it in said if it.startswith(f"{EVENTS_NPY}: ")]
    finally:
        path.write_bytes(before)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_flipped_bit_breaks_the_seal_of_its_file(finished: TestFolder, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(finished.record().digests)))
    path = finished.path / name
    before = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(before) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(before[:at] + bytes([before[at] ^ 1 << bit]) + before[at + 1 :])
    try:
        assert _broken(finished) == [name]
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", SEALED)
def test_a_sealed_file_that_is_gone_or_came_later_breaks_the_seal(finished: TestFolder, name: str) -> None:
    path = finished.path / name
    before = path.read_bytes() if path.exists() else None
    if before is None:
        path.write_text("later")
    else:
        path.unlink()
    try:
        assert _broken(finished) == [name]
    finally:
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)
