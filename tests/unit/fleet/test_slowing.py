from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.fleet.slowing import Episodes, LogEye, PauseEar, slowing
from harness_llm.results.live_records import DeviceState, ReplicaState

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.results.live_records import LiveWarning

NAME = "Server/replica-0"


def test_a_pause_is_told_once_with_its_replica_and_only_of_a_test() -> None:
    ear = PauseEar()

    def heard(now: float, *pauses: tuple[int, float, float], began: float | None = 50.0) -> list[LiveWarning]:
        return list(ear.hear(NAME, list(pauses), now, began, None))

    assert heard(49.0, (0, 0.5, 0.3), began=None) == []
    assert heard(52.0, (0, 3.5, 0.3)) == []
    (warning,) = heard(61.0, (0, 12.5, 0.3), (1, 0.6, 0.4))
    assert (warning.kind, warning.at_s, warning.seconds) == ("pause", pytest.approx(60.0), 0.4)
    assert warning.text == f"{NAME}: a step took 0.40 s, far longer than those around it"
    assert heard(62.0, (0, 13.5, 0.3), (1, 1.6, 0.4)) == []
    assert heard(70.0) == []  # a replica of that name was started anew
    assert len(heard(75.0, (0, 0.5, 0.3))) == 1
    assert heard(80.0, (1, 0.1, 40.0)) == []  # it began before the test


def test_a_long_pause_is_told_while_it_lasts_and_not_again_as_a_step() -> None:
    episodes, ear = Episodes(), PauseEar()

    def look(now: float, still_s: float) -> list[LiveWarning]:
        return episodes.look(now, slowing([ReplicaState(name=NAME, still_s=still_s)], None, []))

    assert not look(100.0, 1.0)
    assert [warning.seconds for warning in look(103.0, 4.0)] == [None]
    assert [warning.seconds for warning in look(106.0, 0.0)] == [pytest.approx(7.0)]
    known = episodes.pauses[NAME]
    assert list(ear.hear(NAME, [(0, 0.4, 6.8)], 106.0, 90.0, known)) == []
    assert len(list(ear.hear(NAME, [(0, 0.4, 6.8), (1, 0.0, 0.5)], 116.0, 90.0, known))) == 1


def test_a_card_that_says_so_every_other_second_slows_once() -> None:
    episodes = Episodes()
    found = []
    for now in range(100, 141):  # as an H100 at its power limit does
        reasons = ("power",) if now < 121 and now % 3 else ()
        found += episodes.look(float(now), slowing([], None, [DeviceState(index=0, throttled=reasons)]))
    assert [(warning.at_s, warning.seconds) for warning in found] == [(100.0, None), (100.0, 19.0)]
    assert found[1].text == "device 0: throttled by power, for 19 s"


LINES = """\
(E pid=71) WARNING 11-27 10:01:02 [jit_monitor.py:140] Triton kernel JIT compilation during inference: x
(E pid=71) INFO 11-27 10:01:03 [backends.py:398] Compiling a graph for compile range (1, 64) takes 3.1 s
INFO 11-27 10:01:03 [loggers.py:1] Engine 000: Avg prompt throughput: 10 tokens/s
\rCapturing CUDA graphs (mixed prefill-decode):   1%|          | 1/67
"""


def test_lines_of_compilation_are_told_that_come_while_a_test_runs(tmp_path: Path) -> None:
    log, eye = tmp_path / "log.txt", LogEye()
    handle = SimpleNamespace(
        log_size=lambda: len(log.read_bytes()), log_text=lambda start: log.read_bytes()[start:].decode()
    )
    child: Any = SimpleNamespace(name=NAME, handle=handle)

    def look(began: float | None, engine: str = "vllm") -> list[str]:
        found = list(eye.look(child, engine, 60.0, began))
        assert {warning.kind for warning in found} <= {"compile"}
        return [warning.text.removeprefix(f"{NAME}: ") for warning in found]

    log.write_text(LINES)
    assert look(50.0) == []  # of the loading
    with log.open("a") as file:
        file.write(LINES)
    assert look(None) == []
    with log.open("a") as file:
        file.write(LINES + "Graph capturing fin")
    assert look(50.0, engine="simulated") == []
    found = look(50.0)
    assert found[0] == "[jit_monitor.py:140] Triton kernel JIT compilation during inference: x"
    assert len(found) == 3 and found[2].startswith("Capturing CUDA graphs")
    with log.open("a") as file:
        file.write("ished in 3 secs\n")
    assert look(50.0) == ["Graph capturing finished in 3 secs"]
