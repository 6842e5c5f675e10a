"""Event files of this version and of those before there were times of batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness_llm.core import EventStatus
from harness_llm.results.events import EVENT_DTYPE, EVENT_FIELDS, read_events

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_of_an_earlier_version_has_no_times_of_batches(tmp_path: Path) -> None:
    old = np.zeros(3, np.dtype(EVENT_DTYPE.descr[:8]))
    old["sample"], old["status"] = [4, 5, 6], [EventStatus.FINISHED, EventStatus.ISSUED, EventStatus.UNUSED]
    np.save(tmp_path / "events.npy", old)
    events = read_events(tmp_path / "events.npy")
    assert events.dtype.names == EVENT_FIELDS
    assert events[["sample", "first_batch_ns", "last_batch_ns"]].tolist() == [(4, 0, 0), (5, 0, 0)]


@pytest.mark.parametrize("fields", [7, 9])
def test_a_file_of_neither_kind_is_refused(fields: int, tmp_path: Path) -> None:
    np.save(tmp_path / "events.npy", np.zeros(3, np.dtype(EVENT_DTYPE.descr[:fields])))
    with pytest.raises(ValueError, match="its columns are .*, needed"):
        read_events(tmp_path / "events.npy")
