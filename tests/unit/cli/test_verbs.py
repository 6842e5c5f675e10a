"""What each verb hands on, writes and ends with; the work itself is a stand-in here."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from golden.run_folder import build_run, edit
from msgspec.structs import replace
from own_benchmark import OFFICIAL

import harness_llm.run.execute
from harness_llm.cli import run as run_module
from harness_llm.errors import HostError, ReplicaLost
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from own_benchmark import Setup

    Command = Callable[..., tuple[int, str, str]]


def _calls(
    monkeypatch: pytest.MonkeyPatch, target: str, answer: Any
) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Put a stand-in in the place of a function; returns the list of its calls."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def stand_in(*arguments: Any, **options: Any) -> Any:
        calls.append((arguments, options))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(target, stand_in)
    return calls


# ---------------------------------------------------------------------------- run


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Path, bool]]:
    """Folder and `resume` of each run that was measured, in this test's folder."""
    found: list[tuple[Path, bool]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        harness_llm.run.execute,
        "execute",
        lambda prepared, folder, view, *, resume, **_: found.append((folder, resume)),
    )
    monkeypatch.setattr(run_module, "show_run", lambda folder, as_json: None)
    return found


def _begun(setup: Setup, folder: Path) -> None:
    """Leave an unfinished run of the usual configuration behind."""
    with RunFolder(folder) as run:
        fingerprint = setup.prepared().fingerprint
        run.begin(replace(RunRecord.blank(), fingerprint=fingerprint, started_utc="2026-01-01"))


def test_the_newest_unfinished_run_of_the_same_configuration_goes_on(
    command: Command, setup: Setup, measured: list[tuple[Path, bool]]
) -> None:
    config = setup.write("Offline")
    earlier = Path("results/mine_20260101T000000Z")
    earlier.parent.mkdir()
    _begun(setup, earlier)
    assert command("run", "--config", config, "--resume")[0] == 0
    assert command("run", "--config", config)[0] == 0
    assert command("run", "--config", config, "--resume", "--set", "harness_config.dataset.seed=9")[0] == 0
    assert command("run", "--config", config, "--resume", "--output", "here")[0] == 0
    (first, resumed), (new, _), (other, _), (given, _) = measured
    assert (first, resumed) == (earlier, True)
    assert earlier not in (new, other) and new.parent == other.parent == Path("results")
    assert given == Path("here")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 3, "stopped; what was measured is kept in out, --resume continues it"),
        (
            ReplicaLost("replica-0 died", "Look at its log."),
            3,
            "the run broke: replica-0 died\n  remedy: Look",
        ),
        (HostError("out: no room"), 3, "the run broke: out: no room"),
    ],
    ids=["interrupted", "replica lost", "disk full"],
)
def test_a_run_that_does_not_end_ends_with_3_and_says_why(
    command: Command,
    setup: Setup,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    said: str,
) -> None:
    _calls(monkeypatch, "harness_llm.run.execute.execute", error)
    shown = _calls(monkeypatch, "harness_llm.cli.run.show_run", None)
    found, out, err = command("run", "--config", setup.write("Offline"), "--output", "out")
    assert (found, out) == (code, "")
    assert err.startswith(said)
    assert not shown, "there is nothing to show"


# ---------------------------------------------------------------------------- prepare and show


def test_prepare_says_what_people_should_know(command: Command, setup: Setup) -> None:
    setup.conf.write_text(OFFICIAL)
    config = setup.write("Offline", benchmark="gpt-oss-120b")
    code, out, _ = command("prepare", "--config", config, "--test", "accuracy")
    assert code == 0
    assert "  note: gpt-oss-120b is judged by exact_match" in out
    document = json.loads(command("prepare", "--config", config, "--test", "accuracy", "--json")[1])
    assert any("exact_match" in note for note in document["notes"])


@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize("options", [(), ("--json",), ("--csv",)], ids=str)
def test_show_ends_with_1_where_a_run_is_invalid_after_saying_so(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valid: bool, options: tuple[str, ...]
) -> None:
    reasons = [] if valid else ["Offline: too short"]
    summary = SimpleNamespace(
        is_valid=valid,
        table=lambda: "the table",
        reasons=lambda: reasons,
        advice=lambda: ["set a number"] if reasons else [],
        notes=lambda: ["others used 1.4 of 2 cores from 1:48 to 2:40"],
        to_json=lambda: {"valid": valid},
        rows=lambda: [{"scenario": "Offline", "valid": valid}],
    )
    _calls(monkeypatch, "harness_llm.views.run_summary.summarize", summary)
    code, out, err = command("show", tmp_path, *options)
    assert (code, err) == (0 if valid else 1, "")
    if options == ("--json",):
        assert json.loads(out) == {"valid": valid, "run": str(tmp_path)}
    elif options:
        heading, row = out.splitlines()
        assert heading.startswith("run,benchmark,scenario,valid")
        assert row.startswith(f"{tmp_path},,Offline,{valid},")
    else:
        assert "the table" in out and ("Offline: too short" in out) is not valid
        assert ("  do: set a number\n" in out) is not valid
        assert "  note: others used 1.4 of 2 cores" in out
        assert out.endswith(f"run folder: {tmp_path}\n")


# ---------------------------------------------------------------------------- check, package, system


def test_check_ends_with_1_and_lists_only_what_failed_if_asked(command: Command, tmp_path: Path) -> None:
    run = build_run(tmp_path / "run")
    assert command("check", run)[0] == 0
    edit(run / "run.json", state="broken", reason="replica-0 died")
    code, whole, _ = command("check", run, "--all")
    assert code == 1
    code, failures, _ = command("check", run, "--failures")
    assert code == 1
    assert "run.state" in whole and "run.state" in failures
    assert "run.tests" in whole and "run.tests" not in failures
    assert len(failures) < len(whole) / 3
    code, document, _ = command("check", run, "--json")
    assert code == 1
    assert {"run.state", "run.tests"} <= {check["name"] for check in json.loads(document)["checks"]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ("v6.1", None)),
        (("--division", "open", "--round", "v5.1"), ("v5.1", "open")),
        (("--division", "closed"), ("v6.1", "closed")),
    ],
    ids=str,
)
def test_a_tree_is_checked_by_the_round_and_division_that_were_named(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    expected: tuple[str, str | None],
) -> None:
    report = SimpleNamespace(passed=True)
    monkeypatch.setattr(
        "harness_llm.check.render.render", lambda shown, **_: "all good" if shown is report else ""
    )
    calls = _calls(monkeypatch, "harness_llm.check.check_tree", report)
    assert command("check", tmp_path, *options) == (0, "all good\n", "")
    assert calls == [((tmp_path, *expected), {})]


def test_package_hands_every_option_on_and_tells_notes_marks_and_places(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = SimpleNamespace(
        tree=Path("tree"), results=(Path("tree/a"),), marks=("unofficial",), warnings=("one thing",)
    )
    calls = _calls(monkeypatch, "harness_llm.package.submission.package", result)
    plain = ("package", tmp_path, "--company", "Org", "--system-name", "8xGPU")
    code, out, _ = command(*plain)
    assert code == 0
    assert out == "note: one thing\n  tree/a\nsubmission tree (unofficial): tree\n"
    assert calls[0][1] == {
        "round": "v6.1", "division": "open", "company": "Org", "system_name": "8xGPU", "replace": False,
        "output": Path("submission"), "system_yaml": None, "benchmark": None, "documentation": None,
        "maps_to": None,
    }  # fmt: skip
    code, out, _ = command(
        *plain, "--division", "closed", "--round", "v5.0", "--output", "o", "--system-yaml", "s", "--replace",
        "--benchmark", "b", "--documentation", "d", "--maps-to", "m", "--json",
    )  # fmt: skip
    assert json.loads(out) == {
        "tree": "tree", "results": ["tree/a"], "marks": ["unofficial"],
        "warnings": ["one thing"],
    }  # fmt: skip
    assert calls[1] == (
        (tmp_path,),
        {
            "round": "v5.0", "division": "closed", "company": "Org", "system_name": "8xGPU", "replace": True,
            "output": Path("o"), "system_yaml": Path("s"), "benchmark": "b", "documentation": Path("d"),
            "maps_to": "m",
        },
    )  # fmt: skip


@pytest.mark.parametrize("problems", [[], ["cooling is empty"]], ids=str)
def test_system_ends_with_1_while_something_is_missing(
    command: Command, monkeypatch: pytest.MonkeyPatch, problems: list[str]
) -> None:
    result = SimpleNamespace(description={"cooling": ""}, problems=problems)
    calls = _calls(monkeypatch, "harness_llm.system.command.system_command", result)
    code, out, _ = command("system", "--company", "Org", "--division", "closed", "--output", "s.json")
    assert code == len(problems)
    assert out == "cooling: \n\n" + "".join(f"missing: {problem}\n" for problem in problems)
    assert calls == [((Path("s.json"), None, "Org", "closed"), {})]
    document = json.loads(command("system", "--json")[1])
    assert document == {"system": {"cooling": ""}, "problems": problems}
