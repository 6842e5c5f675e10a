"""The events of a finished run are cut, doubled, changed or exchanged for what is no file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from fault_kinds.fault import Fault, Seen
from harness_llm.results.events import read_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_kinds.rig import Rig

_AREA = "The events of a finished run are damaged"


def damaged(verb: str, harm: Callable[[Path], object]) -> Callable[[Rig], Seen]:
    """A verb on a VALID run whose events.npy was harmed."""

    def provoke(rig: Rig) -> Seen:
        made = rig.run()
        assert made.code == 0, made.text
        harm(rig.output / "Offline/performance/events.npy")
        return rig.verb(verb, str(rig.output))

    return provoke


def _cut(keep: float) -> Callable[[Path], None]:
    return lambda file: os.truncate(file, int(keep * file.stat().st_size))


def _rows(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda file: np.save(file, change(read_events(file).copy()))


def _set(field: str, value: int) -> Callable[[Path], None]:
    def change(events: np.ndarray) -> np.ndarray:
        events[field][3] = value
        return events

    return _rows(change)


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def harm(file: Path) -> None:
        file.unlink()
        make(file)

    return harm


_HARMS: dict[str, Callable[[Path], object]] = {
    "empty": _cut(0),
    "cut in its head": _cut(0.001),
    "cut in half": _cut(0.5),
    "missing": lambda file: file.unlink(),
    "a named pipe": _replaced(os.mkfifo),
    "a device": _replaced(lambda file: file.symlink_to("/dev/zero")),
    "a link to itself": _replaced(lambda file: file.symlink_to(file.name)),
    "numbers of another kind": _replaced(lambda file: np.save(file, np.zeros(9))),
    "without its last row": _rows(lambda events: events[:-1]),
    "twice as long": _rows(lambda events: np.concatenate([events, events])),
    "one answer counted twice": _rows(lambda events: np.concatenate([events, events[-1:]])),
    "an answer of 1,000,000 tokens": _set("tokens", 1_000_000),
    "an answer of -5 tokens": _set("tokens", -5),
    "an answer an hour late": _set("finished_ns", 1 << 62),
    "a query that is unanswered": _set("status", 1),
    "a status that there is not": _set("status", 77),
}

FAULTS = tuple(
    Fault(
        _AREA,
        f"{what}: `{verb}`",
        damaged(verb, harm),
        1,
        ("events.npy",),
        within_s=20,
        state="complete",
    )
    for what, harm in _HARMS.items()
    for verb in ("show", "check")
)
