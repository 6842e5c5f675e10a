"""Checks that hold for the detail log of any test: whole, right mode, no errors, right seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, POLICIES, Check, check_name
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.lines import missing_lines


def log_checks(case: Case, area: str, detail: DetailLog, mode: str) -> Iterator[Check]:
    """Whether a detail log is whole, of one process, and of the mode and scenario of its place."""
    problems = "; ".join(map(str, detail.problems))
    yield case.check(
        check_name(area, "log"),
        not detail.problems,
        problems or "whole",
        "a whole LoadGen detail log",
        source=f"{INFERENCE} tools/submission/submission_checker/constants.py lines 1394, 1404",
        remedy="Copy the log as LoadGen wrote it, or run the test again.",
        path=detail.path,
    )
    if not detail.values:
        return
    yield case.check(
        check_name(area, "log-unaltered"),
        not detail.changed and detail.processes <= 1,
        f"{', '.join(detail.changed) or 'no key'} given twice; {detail.processes} processes",
        "one test of one process, each key with one value",
        remedy="Run the test again; a log cannot be repaired.",
        path=detail.path,
    )
    yield case.check(
        check_name(area, "log-times"),
        not detail.backward,
        f"line {detail.backward} is dated before an earlier one" if detail.backward else "in order",
        "lines in the order of their time_ms, as LoadGen sorts them",
        source=f"{INFERENCE} loadgen/logging.cc, AsyncLog and Logger::IOThread",
        remedy="Copy the log as LoadGen wrote it, or run the test again.",
        path=detail.path,
    )
    missing = missing_lines(detail)
    yield case.check(
        check_name(area, "log-lines"),
        not missing,
        f"without {', '.join(missing)}" if missing else "all there",
        "every line that LoadGen writes in this mode and scenario",
        source=f"{INFERENCE} loadgen/version.cc, loadgen.cc, test_settings_internal.cc, results.cc",
        remedy="Copy the log as LoadGen wrote it, or run the test again.",
        path=detail.path,
    )
    found = detail.value("effective_test_mode")
    yield case.check(
        check_name(area, "mode"),
        found == mode,
        found,
        mode,
        remedy="Put the log of the right mode here.",
        path=detail.path,
    )
    found, wanted = detail.value("effective_scenario"), case.scenario.loadgen_name
    yield case.check(
        check_name(area, "scenario"),
        found == wanted,
        found,
        f"{wanted} (for {case.scenario})",
        source=f"{INFERENCE} tools/submission/submission_checker/checks/performance_check.py lines 506-538",
        remedy="Put the log of the right scenario here.",
        path=detail.path,
    )


def error_check(case: Case, name: str, detail: DetailLog, *, is_note: bool = False) -> Iterator[Check]:
    """No line that LoadGen marked as an error, and its own count agrees.

    Args:
        case: The result.
        name: The check's whole name.
        detail: The log.
        is_note: Whether errors are a note: no rule asks for a compliance run without any.
    """
    counted = detail.value("num_errors")
    first = f", first: {detail.errors[0].text} (line {detail.errors[0].line})" if detail.errors else ""
    is_counted = counted in (detail.error_lines, None)
    yield case.check(
        name,
        (is_counted and not detail.error_lines) or (None if is_note and is_counted else False),
        f"{detail.error_lines} error lines, num_errors {counted}{first}",
        "no LoadGen error",
        source=f"{INFERENCE} tools/submission/submission_checker/checks/performance_check.py lines 133-168; "
        f"{INFERENCE} loadgen/logging.cc lines 442-454",
        remedy="Remove the cause that LoadGen names and run the test again.",
        path=detail.path,
    )


def seed_check(case: Case, area: str, detail: DetailLog) -> Iterator[Check]:
    """The three seeds of the round."""
    seeds = rules.round_seeds(case.round)
    wanted = seeds.as_settings()
    found = {key: detail.value(f"effective_{key}") for key in wanted}
    carried = rules.round_of_seeds(*(value if isinstance(value, int) else -1 for value in found.values()))
    # 0 is LoadGen's own, without mlperf.conf: no seed that was chosen. Accuracy mode asks every sample once,
    # and a compliance test has its own file of settings.
    is_unset = area != "performance" and not any(found.values())
    hint = f"These are the seeds of {carried}. " if carried and carried != case.round else ""
    yield case.check(
        check_name(area, "seeds"),
        found == wanted or (None if is_unset else False),
        ", ".join(f"{key} {value}" for key, value in found.items()),
        ", ".join(f"{key} {value}" for key, value in wanted.items()),
        source=seeds.source,
        remedy=f"{hint}Run with the LoadGen release of {case.round}.",
        path=detail.path,
    )


def loadgen_check(case: Case, area: str, detail: DetailLog) -> Iterator[Check]:
    """A LoadGen whose source was not changed after the commit that it names; `NA` is a build without git."""
    version, changes = str(detail.value("loadgen_version") or ""), detail.value("loadgen_git_status_message")
    changed = changes.strip() if isinstance(changes, str) else "not logged"
    commit, history = version.rpartition(" @ ")[2], str(detail.value("loadgen_git_log_message") or "")
    is_known = history.startswith(commit) or "NA" in (commit, history.strip())
    number = version.partition(" @ ")[0]
    is_its_number = _is_file_of(number, detail.value("loadgen_file_sha1"))
    sound = bool(version) and (not changed or changed == "NA") and is_known and is_its_number
    yield case.check(
        check_name(area, "loadgen"),
        None if sound and changed == "NA" else sound,
        f"{version or 'no version'}; uncommitted changes: {changed or 'none'}"
        + ("" if is_known else f"; last commit: {history[:10]}")
        + ("" if is_its_number else f"; its VERSION.txt says another number than {number}"),
        "a LoadGen built from a commit without changes",
        source=f"{POLICIES} inference_rules.adoc lines 460-462; {INFERENCE} loadgen/version.cc lines 53-70",
        remedy="Install a released mlcommons-loadgen and run the test again.",
        path=detail.path,
    )


def _is_file_of(number: str, digests: object) -> bool:
    """Whether VERSION.txt, of which LoadGen logs the SHA-1, holds this number; true where no log says."""
    found = digests.get("/VERSION.txt") if isinstance(digests, dict) else None
    made = {
        hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for text in (number, f"{number}\n")
    }
    return found is None or found in made


def audit_check(case: Case, area: str, detail: DetailLog, *, is_wanted: bool = False) -> Iterator[Check]:
    """Whether LoadGen read an audit.config, which is for compliance runs and for those alone."""
    yield case.check(
        check_name(area, "audit-config"),
        detail.is_audited is is_wanted,
        f"LoadGen found {'an' if detail.is_audited else 'no'} audit.config",
        "an audit.config" if is_wanted else "no audit.config",
        source=f"{INFERENCE} compliance/TEST06/README.md, Part I; {INFERENCE} loadgen/loadgen.cc, StartTest",
        remedy="Put the test's audit.config into the folder that LoadGen runs in, and run it again."
        if is_wanted
        else "Remove audit.config from the folder LoadGen ran in, and run the test again.",
        path=detail.path,
    )
