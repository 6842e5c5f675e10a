"""A first signal interrupts, further ones hurry what cleans up."""

from __future__ import annotations

import signal

import pytest

from harness_llm import ending
from harness_llm.ending import _Ending


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> _Ending:
    state = _Ending()
    monkeypatch.setattr(ending, "_ending", state)
    return state


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nohup ignores the end of the terminal."""
    set_for = []
    monkeypatch.setattr(signal, "signal", lambda number, _: set_for.append(number))
    monkeypatch.setattr(
        signal, "getsignal", lambda number: signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL
    )
    ending.listen()
    assert set_for == [signal.SIGINT, signal.SIGTERM]


def test_a_second_signal_does_not_tear_the_clean_up_and_hurries_it(fresh: _Ending) -> None:
    with pytest.raises(KeyboardInterrupt), ending.clean_up():
        try:
            fresh.hear()
        finally:
            assert not ending.is_hurried()
            fresh.hear()
            fresh.hear()
            assert ending.is_hurried()


def test_where_nothing_is_cleaned_up_a_later_signal_interrupts_again(
    fresh: _Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    now: list[float] = []
    monkeypatch.setattr(ending.time, "monotonic", lambda: now[-1])
    for second in (100.0, 103.0, 106.0):
        now.append(second)
        with pytest.raises(KeyboardInterrupt):
            fresh.hear()
        fresh.hear()  # at once again: the command is just ending


def test_a_command_that_has_ended_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = {signal.SIGINT: print, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_IGN}
    set_to = {}
    monkeypatch.setattr(signal, "getsignal", handlers.get)
    monkeypatch.setattr(signal, "signal", set_to.__setitem__)
    ending.be_over()
    assert set_to == {signal.SIGINT: signal.SIG_IGN}


def test_an_interruption_that_was_swallowed_comes_again(fresh: _Ending) -> None:
    ending.check()
    with pytest.raises(KeyboardInterrupt):
        fresh.hear()
    with pytest.raises(KeyboardInterrupt):
        ending.check()
