"""The page of a run of 270,336 samples, as a long Server run has them: its cost, and one late sample."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from synthetic_run import SEED, Plan, write_events

from harness_llm.core import EventStatus
from harness_llm.logs.schedule import arrivals_ns
from harness_llm.results.events import EVENT_DTYPE

if TYPE_CHECKING:
    import numpy.typing as npt

CODE = Path(__file__).parents[3] / "code"
QUERIES, QPS = 270_336, 300.0
LATE_S = 9.0
MOST_S, MOST_BYTES, MOST_MIB = 10.0, 2_000_000, 400

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def _events(late: int) -> npt.NDArray[Any]:
    """What 8 replicas answered at their usual pace, but for one sample's first token."""
    random = np.random.default_rng(5)
    due = arrivals_ns(SEED, QPS, QUERIES)
    events = np.zeros(QUERIES, EVENT_DTYPE)
    events["sample"] = random.permutation(QUERIES)
    events["tokens"] = np.clip(random.lognormal(5.5, 0.5, QUERIES), 2, 1024)
    events["prompt_tokens"] = np.clip(random.lognormal(5.5, 0.5, QUERIES), 10, 1024)
    events["replica"], events["status"] = np.arange(QUERIES) % 8, EventStatus.FINISHED
    events["issued_ns"] = due + 20_000
    ttft_s = random.gamma(4, 0.05, QUERIES)
    ttft_s[late] = LATE_S
    events["first_token_ns"] = events["issued_ns"] + ttft_s * 1e9
    token_ns = random.normal(0.1, 0.005, QUERIES) * 1e9
    events["finished_ns"] = events["first_token_ns"] + events["tokens"] * token_ns
    for name in ("issued_ns", "first_token_ns", "finished_ns"):
        events[name] += 5 * 10**12
    return events


def test_its_page_is_cheap_and_shows_the_one_late_sample(tmp_path: Path) -> None:
    late, page = 123_456, tmp_path / "report.html"
    run = write_events(tmp_path / "run", Plan(queries=QUERIES, qps=QPS, replicas=8), _events(late))
    command = [sys.executable, "-m", "harness_llm", "report", str(run), "-o", str(page)]
    arguments = [*command, "--charts", str(tmp_path / "charts")] if os.environ.get("KEEP_CHARTS") else command
    said, began_s = tmp_path / "said.txt", time.monotonic()
    with said.open("w") as file:
        child = subprocess.Popen(
            arguments, env={**os.environ, "PYTHONPATH": str(CODE)}, stdout=file, stderr=file
        )
        _, status, used = os.wait4(child.pid, 0)  # of this child alone
    child.returncode = os.waitstatus_to_exitcode(status)
    wall_s, cpu_s, mib = time.monotonic() - began_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    assert child.returncode == 0, said.read_text()
    sys.stdout.write(f"{wall_s:.1f} s, {cpu_s:.1f} s of CPU, {mib:.0f} MiB, {page.stat().st_size:,} bytes\n")
    assert cpu_s <= MOST_S and mib <= MOST_MIB and page.stat().st_size <= MOST_BYTES
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    charts = json.loads(found[1])
    for name in ("time", "ttft_by_arrival", "ttft_distribution"):
        assert _highest(charts[f"0-Server-{name}"]) >= LATE_S * 1000 * 0.99, name
    assert f"<td>{late}</td>" in text, "it is among the slowest fifty"


def _highest(chart: Any) -> float:
    """The highest number in a chart's data."""
    if isinstance(chart, dict):
        return max(map(_highest, chart.values()), default=0.0)
    if isinstance(chart, list):
        return max(map(_highest, chart), default=0.0)
    return float(chart) if isinstance(chart, int | float) and not isinstance(chart, bool) else 0.0
