from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness_llm.core import EventStatus
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.live_records import DeviceState, HostState, LiveRecord
from harness_llm.study.windows import prompt_tokens_between, steady, tokens_between, window


def _records(watts: Any, *, devices: int = 1, **of_device: Any) -> list[LiveRecord]:
    """A record a second of cards whose power is a function of time."""
    joules = np.cumsum([watts(t + 0.5) for t in range(60)])
    return [
        LiveRecord(
            at_s=100.0 + t,
            began_at_s=90.0,
            devices=tuple(
                DeviceState(
                    index=index, at_s=100.0 + t, watts=watts(t), integral_j=float(joules[t]),
                    counter_j=float(joules[t]), celsius=40.0 + t, busy=0.5, mhz=1000.0, **of_device,
                )
                for index in range(devices)
            ),
        )
        for t in range(60)
    ]  # fmt: skip


def test_energy_is_that_of_closed_form_on_ramps_and_edges_between_readings() -> None:
    facts = window(_records(lambda t: 100 + 5 * t), 110.4, 150.6)
    exact = 100 * 40.2 + 5 * ((50.6 + 1) ** 2 - (10.4 + 1) ** 2) / 2
    assert facts.energy_j == pytest.approx(exact, rel=0.001)
    assert facts.watts == pytest.approx(exact / 40.2, rel=0.001)
    assert facts.celsius == (51.0, 91.0) and facts.busy == 0.5 and facts.reasons == ()


def test_all_cards_count_and_none_is_no_energy() -> None:
    assert window(_records(lambda _: 100.0, devices=3), 110, 130).energy_j == pytest.approx(6000)
    empty = window([LiveRecord(at_s=100, began_at_s=90)], 110, 130)
    assert empty.energy_j is None and empty.devices == 0 and empty.reasons == ()


def test_what_speaks_against_a_window_is_said() -> None:
    good = _records(lambda _: 100.0)
    assert "window_not_bracketed" in window(good, 95, 120).reasons
    assert "short_window" in window(good, 110, 115).reasons
    gap = [record for record in good if not 115 < record.at_s < 120]
    assert window(gap, 110, 130).reasons == ("sampling_gap",)
    hot = _records(lambda _: 100.0, throttled=("heat", "power"))
    found = window(hot, 110, 130)
    assert found.reasons == ("thermal",) and found.capped == found.thermal == 1.0


def _change(records: list[LiveRecord], after_s: float, **fields: Any) -> list[LiveRecord]:
    from msgspec.structs import replace

    return [
        replace(it, devices=tuple(replace(d, **fields) for d in it.devices)) if it.at_s > after_s else it
        for it in records
    ]


def test_a_counter_that_begins_again_and_one_that_disagrees_are_seen() -> None:
    good = _records(lambda _: 100.0)
    assert "counter_reset" in window(_change(good, 120, counter_j=0.0), 110, 130).reasons
    slow = [_change([it], 0, counter_j=it.devices[0].counter_j * 0.8)[0] for it in good]  # type: ignore[operator]
    assert window(slow, 110, 130).reasons == ("energy_disagrees",)


def _events(rows: list[tuple[float, float, float, int]]) -> Any:
    events = np.zeros(len(rows), EVENT_DTYPE)
    for place, (issued, first, finished, tokens) in enumerate(rows):
        events[place]["issued_ns"], events[place]["first_token_ns"] = issued * 1e9, first * 1e9
        events[place]["finished_ns"], events[place]["tokens"] = finished * 1e9, tokens
        events[place]["status"], events[place]["prompt_tokens"] = EventStatus.FINISHED, 7
    return events


def test_tokens_are_spread_over_the_time_in_which_they_came() -> None:
    events = _events([(10, 11, 21, 100), (10, 0, 20, 50)])
    edges = np.array([9.0, 11.0, 16.0, 30.0])
    assert tokens_between(events, edges) == pytest.approx([0, 50, 100])  # at its end, if nobody says more
    assert tokens_between(events, edges, places=2) == pytest.approx([5, 75, 70])
    assert prompt_tokens_between(events, edges, places=2) == pytest.approx([14, 0, 0])


def test_answers_that_waited_in_offline_made_no_token_meanwhile() -> None:
    events = _events([(100, 0, 110 + 10 * (n // 4), 20) for n in range(40)])  # four at once, 10 s each
    assert tokens_between(events, np.arange(100.0, 201.0, 10.0), places=4) == pytest.approx([80] * 10)
    prompts = prompt_tokens_between(events, np.arange(95.0, 206.0, 10.0), places=4)
    assert prompts == pytest.approx([28] * 10 + [0])


def test_the_steady_part_begins_when_the_engine_is_full_and_ends_when_it_drains() -> None:
    rows = [(0, 1 + n, 11 + n, 10) for n in range(40)]
    assert steady(_events(rows), 4) == (4.0, 47.0)
    assert steady(_events([(0, 0, 10, 5)] * 3), 1) == (0.0, 10.0)  # none: all of it


def test_an_offline_test_is_steady_from_its_first_answer_and_one_without_an_answer_never() -> None:
    assert steady(_events([(0, 0, 1 + n, 10) for n in range(100)]), 32) == (1.0, 69.0)
    assert steady(_events([(5, 0, 0, 0)] * 3), 2) is None and steady(_events([]), 2) is None


def test_cores_are_known_without_an_accelerator() -> None:
    records = [
        LiveRecord(at_s=100.0 + t, began_at_s=90, host=HostState(cores=2, own_cores=1.5, other_cores=t / 10))
        for t in range(9)
    ]
    facts = window(records, 101.0, 105.0)
    assert facts.cores == 1.5 and facts.other_cores == pytest.approx(0.35) and facts.devices == 0
    assert window([LiveRecord(at_s=100, began_at_s=90)], 99, 101).cores is None
