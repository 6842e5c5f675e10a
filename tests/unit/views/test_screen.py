from __future__ import annotations

from msgspec.structs import replace

from harness_llm.results.live_records import (
    DeviceState,
    HostState,
    LiveRecord,
    LiveWarning,
    ReplicaState,
    TestState,
)
from harness_llm.views.screen import bar, screen, sparkline
from harness_llm.views.so_far import RunSoFar


def _run(replicas: int = 2) -> RunSoFar:
    run = RunSoFar()
    for second in range(20):
        at = 1000.0 + second
        test = TestState(
            name="Server/performance", began_at_s=1000.0, is_timed=True, target_qps=12.5, expected=24_576,
            issued=12 * second, done=10 * second, tokens=2000 * second, ttft={1200: 9, 1250: 1},
            tpot={1000: 10}, ttft_limit_ms=2000, tpot_limit_ms=200, tpot_over=second, allowed=209,
            changed_at_s=at,
        )  # fmt: skip
        states = tuple(
            ReplicaState(
                name=f"Server/replica-{number}", stage="ready", in_flight=35, capacity=32,
                answers=5 * second, devices=(number,), kv_cache=0.614,
            )
            for number in range(replicas)
        )  # fmt: skip
        warned = LiveWarning(kind="host", at_s=1007.0, text="host: others use 1.6 of 16 cores")
        run.take(
            LiveRecord(
                at_s=at, began_at_s=1000.0, stage="Server/performance", tests=(test,), replicas=states,
                host=HostState(cores=16, other_cores=1.6, memory_bytes=2**38, memory_free_bytes=2**37),
                devices=(DeviceState(index=0, watts=698.2, mhz=1755, celsius=61),),
                warnings=(warned,) if second == 7 else (),
            )
        )  # fmt: skip
    return run


def test_a_screen_of_80_by_24_says_what_matters() -> None:
    text = screen(_run(), "unofficial").plain
    for part in (
        "Server/performance  [unofficial]  elapsed 0:19",
        "2,000.0 now, 2,000.0 mean, P(VALID) 0.01  ███",
        "228 issued, 190 of 24,576 done",
        "TTFT       p50 154  p99 253 of 2,000 ms, 0 over, 209 allowed █",
        "19 over, 209 allowed, on course for 2,458 ",
        "replica 0  ████████  5.0/s  32 at work, 3 wait  KV 61 %  698 W 1,755 MHz 61 °C",
        "others use 1.6 of 16 cores; memory 128.0 of 256.0 GiB",
        "! 0:07 host: others use 1.6 of 16 cores",
    ):
        assert part in text, text


def test_it_is_never_wider_or_higher_than_the_terminal_and_keeps_the_warnings() -> None:
    for width, height in ((80, 24), (60, 12), (200, 50)):
        lines = screen(_run(replicas=12), "simulated, not a result", width, height).plain.splitlines()
        assert max(map(len, lines)) <= width and len(lines) < height
        assert lines[-1].startswith("! 0:07 host")
    assert "and 4 more replicas" in screen(_run(replicas=12), "", 80, 50).plain


def test_a_test_that_cannot_be_valid_any_more_says_so_and_what_loads_says_what_it_does() -> None:
    run = _run()
    record = run.last
    run.take(
        replace(record, tests=(replace(record.tests[0], lost="210 of 209 over the limit", tpot_over=210),))
    )
    shown = screen(run, "")
    assert "verdict    210 of 209 over the limit" in shown.plain
    assert any(str(span.style) == "red" for span in shown.spans)
    loading = RunSoFar()
    loading.take(replace(record, tests=(), replicas=(ReplicaState(name="a/replica-0", stage="loading"),)))
    assert "replica 0  loading" in screen(loading, "").plain


def test_what_is_shown_ended_is_the_last_test() -> None:
    run = _run()
    run.take(replace(run.last, tests=(), stage="complete"))
    assert "Server/performance  elapsed 0:19, ended" in screen(run, "").plain


def test_bars_and_courses() -> None:
    assert (bar(0), bar(0.5), bar(1), bar(7)) == ("·" * 10, "█" * 5 + "·" * 5, "█" * 10, "█" * 10)
    assert sparkline([0, 4, 8], 3) == " ▄█" and sparkline([0, 0], 2) == "" and sparkline([1, 2], 1) == "█"
