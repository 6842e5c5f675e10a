"""What `harness-llm study` refuses before anything is started, and what a dry run prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from own_benchmark import Setup

    Command = Callable[..., tuple[int, str, str]]

CLOSED = {"kind": "closed", "concurrency": 2, "duration_s": 1}


@pytest.fixture
def study(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Writes a study of a simulated engine; returns the words that name it on the command line."""
    monkeypatch.chdir(setup.folder)
    engine = str(setup.write("Offline"))

    def write(kind: str, **keys: object) -> list[str]:
        if kind == "power":
            asked = {"inference": engine, "phases": ["inference"], "gpu": "simulated", **keys}
        else:
            tenants = [{"name": name, "harness": engine, **keys} for name in ("one", "two")]
            asked = {"experiment_name": "x", "tenants": tenants}
        Path("study.yaml").write_text(yaml.safe_dump(asked))
        return ["study", kind, "--config", "study.yaml"]

    return write


@pytest.mark.parametrize("kind", ["power", "tenants"])
@pytest.mark.parametrize(
    ("workload", "said"),
    [
        ({"kind": "trace", "file": "nope.csv", "duration_s": 1}, "nope.csv: cannot be read as a trace"),
        ({"kind": "segments", "duration_s": 100, "rps": {"mu": 60, "sigma": 1}}, "10,000,000 are possible"),
        ({"kind": "rate", "qps": 1e9, "duration_s": 1e6}, "1,000,000,000,000,000 requests"),
    ],
)
def test_a_workload_that_cannot_be_asked_is_refused_before_it_starts(
    command: Command, study: Callable[..., list[str]], kind: str, workload: dict[str, object], said: str
) -> None:
    words = study(kind, workload=workload)
    for more in ([], ["--dry-run"]):
        code, _, err = command(*words, *more)
        assert code == 2 and said in err and "Traceback" not in err
        assert kind == "power" or "error: one: " in err, "which tenant's"
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("load", "said"), [(0.5, "valid integer"), (1e9, "less than or equal to 10,000,000")]
)
def test_a_load_that_cannot_be_kept_open_is_refused(
    command: Command, study: Callable[..., list[str]], load: float, said: str
) -> None:
    code, _, err = command(*study("power", knob="load", values=[8, load]), "--dry-run")
    assert code == 2 and f"values: {load:g}: " in err and said.replace(",", "") in err


@pytest.mark.parametrize("kind", ["power", "tenants"])
def test_a_dry_run_says_what_it_would_measure_as_text_or_as_one_document(
    command: Command, study: Callable[..., list[str]], kind: str
) -> None:
    words = [*study(kind, workload=CLOSED), "--dry-run"]
    code, text, err = command(*words)
    assert (code, err) == (0, "") and f"would measure {3 if kind == 'power' else 1} x " in text
    code, out, _ = command(*words, "--json")
    found = json.loads(out)
    assert code == 0 and found["trials"] == (3 if kind == "power" else 1) and len(found["points"]) == 1
    assert all(f" x {label}" in text for label in found["points"]) and found["asked"]["marker"]


def test_values_without_a_knob_are_refused(command: Command, study: Callable[..., list[str]]) -> None:
    code, _, err = command(*study("power", values=[300]), "--dry-run")
    assert code == 2 and "values: nothing varies with knob: none" in err


def test_equal_loads_are_refused(command: Command, study: Callable[..., list[str]]) -> None:
    code, _, err = command(*study("power", knob="load", values=[8, 8, 4]), "--dry-run")
    assert code == 2 and "values: each must be there once, found 8, 8, 4" in err


@pytest.mark.parametrize("kind", ["power", "tenants"])
def test_a_report_of_what_is_no_study_says_so(command: Command, tmp_path: Path, kind: str) -> None:
    for path, said in ((tmp_path / "none", "no such folder"), (tmp_path, "holds no study")):
        code, _, err = command("study", kind, "--report", path)
        assert code == 2 and f"{path}: {said}" in err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", [["--output", "x"], ["--set", "trials=1"], ["--set-caps"], ["--dry-run"]])
def test_what_measures_does_not_go_with_a_report(command: Command, tmp_path: Path, more: list[str]) -> None:
    code, _, err = command("study", "power", "--report", tmp_path, *more)
    assert code == 2 and f"{more[0]}" in err and "go with --config" in err
