"""`compare --pairs` with real LoadGen and the simulated engine: runs by turns, continued, compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runs import Run


def harness_llm(*arguments: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "harness_llm", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def record(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "run.json").read_text())
    return document


def test_systems_run_by_turns_and_a_run_that_is_missing_is_made_again(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    files = []
    for latency in (1, 2):
        engine = {"kind": "simulated", "first_token_ms": 5, "per_token_ms": latency, "concurrent": 64}
        run = new_run(harness={"engine": engine, "scenarios": ["Server"]})
        assert run.command
        files.append(run.folder / "Server.yaml")
    files[1].write_text(files[1].read_text().replace(str(files[1].parent), str(files[0].parent)))
    study = tmp_path / "study"
    code, out, err = harness_llm("compare", *files, "--pairs", 1, "--output", study, "--json")
    assert code == 0, err
    (found,) = json.loads(out)["comparisons"]
    assert found["pairs"] == 1 and found["paired_by_query"]
    assert [change["what"] for change in found["changed"]] == [
        "configuration.harness_config.engine.per_token_ms"
    ]
    numbers = {number["name"]: number for number in found["numbers"]}
    assert 0.5 < numbers["TPOT mean, ms"]["change"] < 1.5
    first, second = (record(study / "runs" / label) for label in ("A1", "B1"))
    assert first["finished_utc"] <= second["started_utc"]

    (study / "runs" / "B1").rename(tmp_path / "gone")
    code, _, err = harness_llm("compare", study)
    assert code == 2 and "no turn is complete" in err
    code, out, err = harness_llm("compare", *files, "--pairs", 1, "--output", study)
    assert code == 0 and "TPOT mean" in out, err
    assert record(study / "runs" / "A1") == first
    assert record(study / "runs" / "B1")["started_utc"] >= second["finished_utc"]

    code, _, err = harness_llm("compare", *files, "--pairs", 3, "--output", study)
    assert code == 2 and "differs in points" in err
