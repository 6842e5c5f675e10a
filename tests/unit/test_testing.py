"""The public fakes stand where the real ones do, and refuse what the real ones refuse."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from harness_llm.core import Request
from harness_llm.engines.base import Engine, Sink
from harness_llm.errors import EngineError
from harness_llm.launch.launcher import Handle, Launcher
from harness_llm.launch.local import LocalLauncher
from harness_llm.loadgen import lib
from harness_llm.loadgen.sut import Link, Reporter
from harness_llm.testing import (
    FakeHandle,
    FakeLauncher,
    FakeLink,
    FakeLoadgen,
    HeldEngine,
    RecordingSink,
    RecordingView,
)
from harness_llm.views.live import View

REQUEST = Request(3, b"\0\0\0\0", 2, 9, True)


def _parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


@pytest.mark.parametrize(
    ("seam", "fake"),
    [
        (Sink, RecordingSink),
        (Engine, HeldEngine),
        (Link, FakeLink),
        (Reporter, FakeLoadgen),
        (Reporter, lib),
        (View, RecordingView),
        (Launcher, FakeLauncher),
        (Launcher, LocalLauncher),
        (Handle, FakeHandle),
    ],
)
def test_a_fake_has_all_that_its_seam_asks_for(seam: type, fake: Any) -> None:
    asked = {name: member for name, member in vars(seam).items() if not name.startswith("_")}
    assert asked
    for name, member in asked.items():
        if isinstance(member, property):
            assert name in vars(fake) or name in inspect.getsource(fake.__init__), name
            continue
        assert _parameters(getattr(fake, name)) == _parameters(member), name
        assert inspect.iscoroutinefunction(getattr(fake, name)) == inspect.iscoroutinefunction(member), name


def test_loadgen_refuses_what_it_never_issued_and_what_is_complete() -> None:
    loadgen = FakeLoadgen()
    first, second = loadgen.draw([7, 7])
    assert loadgen.issued == {first: 7, second: 7}
    loadgen.report_first_tokens([first], [5])
    loadgen.complete_samples([first], [b"abcd"])
    for again in (
        lambda: loadgen.report_first_tokens([first], [5]),
        lambda: loadgen.complete_samples([first], [b"abcd"]),
        lambda: loadgen.complete_samples([0], [b"abcd"]),
    ):
        with pytest.raises(AssertionError, match="complete|never issued"):
            again()
    loadgen.report_first_tokens([second], [5])
    with pytest.raises(AssertionError, match="first token"):
        loadgen.report_first_tokens([second], [5])
    assert loadgen.complete == {first: b"abcd"}


def test_a_link_refuses_a_request_that_it_has() -> None:
    link = FakeLink(1)
    link.ask([REQUEST])
    with pytest.raises(AssertionError, match="request 3 was sent twice"):
        link.ask([REQUEST])
    del link.asked[3]
    link.ask([REQUEST])
    assert link.ever == [3, 3]


def test_an_engine_is_held_until_the_test_lets_it_go() -> None:
    async def run() -> None:
        engine, sink = HeldEngine(), RecordingSink()
        facts = await engine.start(sink)
        assert facts.is_simulated and engine.sink is sink
        engine.submit([REQUEST])
        abort = asyncio.create_task(engine.abort([3]))
        await asyncio.sleep(0.01)
        assert (engine.submitted, engine.aborted, abort.done()) == ([3], [[3]], False)
        engine.error = EngineError("it died")
        engine.may_let_go.set()
        with pytest.raises(EngineError, match="it died"):
            await abort
        with pytest.raises(EngineError, match="it died"):
            engine.check()

    asyncio.run(run())


def test_a_sink_keeps_order_and_times() -> None:
    sink = RecordingSink()
    sink.first_token(1, 5)
    sink.finished(1, b"\x05\0\0\0\x06\0\0\0")
    sink.failed(2, "why")
    assert sink.said == [("first", 1, 5), ("finished", 1, [5, 6]), ("failed", 2, "why")]
    assert sorted(sink.at_s) == sink.at_s and len(sink.at_s) == 3
