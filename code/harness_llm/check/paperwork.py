"""Checks of what stands beside the logs: system description, measurements, README, documentation, source."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness_llm.check.case import relative
from harness_llm.check.judgement import INFERENCE, POLICIES, Check
from harness_llm.logs.source import file_problem, read_object, read_text
from harness_llm.system.description import validate
from harness_llm.system.network_path import bandwidth_document

_CONSTANTS = f"{INFERENCE} tools/submission/submission_checker/constants.py"
_MEASUREMENTS = (
    "input_data_types",
    "retraining",
    "starting_weights_filename",
    "weight_data_types",
    "weight_transformations",
)
_PLACEHOLDERS = frozenset({"tbd", "todo", "na", "none", "xxx", "placeholder", "to", "be", "done"})
_COUNT_IN_NAME = re.compile(r"(?:^|_)(\d{1,6})[xX](?=[A-Z])|[xX](\d{1,6})(?=_|$)")
_MODELS = (
    "llama2-70b",
    "llama3.1-8b",
    "llama3.1-405b",
    "mixtral-8x7b",
    "deepseek-r1",
    "gpt-oss-120b",
    "resnet50",
)
_RULES = "mlcommons/policies @c195f80f submission_rules.adoc"


def is_marked(mark: str, *paths: Path) -> bool:
    """Whether any of these text files has a mark that `package` writes, such as `rules.SIMULATED`."""
    return any(mark in read_text(path)[0] for path in paths)


def system_checks(path: Path, root: Path, *, submitter: str, division: str) -> Iterator[Check]:
    """The description of one system: every field answered, of this submitter and division."""
    shown = relative(path, root)
    found, problem = read_object(path)
    yield Check(
        "system.file",
        found is not None,
        problem or "readable",
        "a JSON object that describes the system",
        f"{_CONSTANTS} lines 2169-2174",
        "" if found is not None else "Write it with `harness-llm system`.",
        shown,
    )
    if found is None:
        return
    problems = validate(found, submitter=submitter, division=division)
    for fault in problems:
        yield Check(
            f"system.{fault.field}",
            False,
            "is missing" if fault.found is None else fault.found or "is empty",
            "an answer",
            f"{_CONSTANTS} lines 1833-1899",
            fault.remedy,
            shown,
        )
    yield _accelerators(found, path.stem, shown)
    if not problems:
        yield Check("system.fields", True, "all answered", "every field answered", path=shown)
    is_network = str(found.get("is_network", "")).lower() == "true"
    if division in ("closed", "network") and is_network is not (division == "network"):
        yield Check(
            "system.is_network",
            False,
            str(is_network).lower(),
            f"{str(not is_network).lower()} in {division}",
            f"{INFERENCE} tools/submission/submission_checker/checks/system_check.py lines 118-140",
            "File the result under the other division, or correct the description.",
            shown,
        )


def _accelerators(found: dict[str, Any], name: str, shown: str) -> Check:
    """Whether a count in the system's name is one of its accelerators, nodes or both; names are free."""
    named = {int(one or other) for one, other in _COUNT_IN_NAME.findall(name)}
    stated = [str(found.get(key) or "").strip() for key in ("accelerators_per_node", "number_of_nodes")]
    counts = [int(text) for text in stated if re.fullmatch(r"[0-9]{1,6}", text)]
    fits = not named or len(counts) < len(stated) or bool(named & {*counts, counts[0] * counts[1]})
    return Check(
        "system.accelerators",
        True if fits else None,
        f"{name}: {stated[0]} accelerators per node, {stated[1]} nodes",
        "the count that the name says",
        path=shown,
    )


def measurement_checks(path: Path, root: Path, *, division: str, benchmark: str) -> Iterator[Check]:
    """The measurements of one result: five fields, none empty; in closed no retraining.

    Args:
        path: The file.
        root: What is being checked.
        division: `closed`, `open` or `network`.
        benchmark: The benchmark, whose weights it names.
    """
    found, problem = read_object(path)
    shown = relative(path, root)
    empty = [key for key in _MEASUREMENTS if not str((found or {}).get(key) or "").strip()]
    yield Check(
        "measurements.file",
        found is not None,
        problem or "readable",
        "a JSON object",
        f"{_CONSTANTS} lines 2095-2100",
        ""
        if found is not None
        else "Write it, with the five fields; `package` writes it from the system YAML.",
        shown,
    )
    if found is not None:
        yield from _stated(found, shown, division, benchmark)
        yield Check(
            "measurements.fields",
            not empty,
            f"missing or empty: {', '.join(empty)}" if empty else "all answered",
            ", ".join(_MEASUREMENTS),
            f"{_CONSTANTS} lines 1944-1950",
            "State them here, and in the system YAML from which `package` takes them." if empty else "",
            shown,
        )


def _stated(found: dict[str, Any], shown: str, division: str, benchmark: str) -> Iterator[Check]:
    retraining = str(found.get("retraining") or "").strip()
    allowed = division == "open" or retraining.lower() in ("no", "n", "false", "none", "n/a", "")
    yield Check(
        "measurements.retraining",
        allowed,
        retraining or "not stated",
        "any" if division == "open" else "no",
        f"{POLICIES} inference_rules.adoc line 488",
        "" if allowed else "File the result under open/, or correct the field.",
        shown,
    )
    weights = str(found.get("starting_weights_filename") or "")
    others = sorted(other for other in _models_in(weights) if not benchmark.startswith(other))
    yield Check(
        "measurements.weights",
        None if others else True,
        f"{weights}: of {', '.join(others)}" if others else weights,
        f"weights of {benchmark}",
        f"{POLICIES} inference_rules.adoc line 488",
        path=shown,
    )


def _models_in(text: str) -> set[str]:
    """Benchmarks whose model a text names: each part of the name, in this order."""
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    return {name for name in _MODELS if re.sub(r"[^a-z0-9]", "", name) in plain}


def readme_checks(path: Path, root: Path) -> Iterator[Check]:
    """The README of one result: how to run it again."""
    problem = file_problem(path)
    text, unreadable = ("", None) if problem else read_text(path)
    good = problem is None and bool(_words(text) or unreadable)  # another encoding is files.encoding's
    yield Check(
        "readme.file",
        good,
        problem or ("there" if good else "says nothing"),
        "a README that says how the result was made",
        f"{_CONSTANTS} line 1486",
        "" if good else "Write how to run the benchmark again.",
        relative(path, root),
    )


def is_text_with_words(path: Path) -> bool:
    """Whether a document says anything: more than blanks and a placeholder such as TBD."""
    if file_problem(path) is not None:
        return False
    text, problem = read_text(path)
    if problem:  # a PDF, or another encoding: a document all the same
        return True
    return bool(_words(text))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{2,}", text.lower())) - _PLACEHOLDERS


def documentation_checks(folder: Path, root: Path, *, is_required: bool) -> Iterator[Check]:
    """The submitter's documentation: calibration, and the path from the network; required in closed.

    Args:
        folder: The submitter's folder.
        root: What is being checked.
        is_required: Whether a missing document is a fault.
    """
    documentation = folder / "documentation"
    # Either place is official: submission_checker_old.py looks into both.
    calibration = [
        entry
        for entry in (*_files(documentation), *_files(folder))
        if entry.name.lower().startswith("calibration") and is_text_with_words(entry)
    ]
    for name, found, wanted, source, remedy in (
        (
            "calibration",
            next(iter(calibration), None),
            "documentation/calibration.md, or .adoc, with text",
            _RULES,
            "Describe how weights were quantized, or state that they were not.",
        ),
        (
            "bandwidth",
            bandwidth_document(documentation),
            "documentation/bandwidth.md, or a document that states the bandwidth from NIC to accelerator",
            f"{POLICIES} inference_rules.adoc lines 450-456",
            "Describe NICs, their bandwidth, and the data path to the accelerators, "
            "and package with --documentation.",
        ),
    ):
        yield Check(
            f"documentation.{name}",
            True if found else (False if is_required else None),
            found.name if found else "no such document",
            wanted,
            source,
            "" if found or not is_required else remedy,
            relative(documentation, root),
        )


def source_checks(folder: Path, root: Path) -> Iterator[Check]:
    """The source code that ran: at least one file with text, at any depth."""
    found = _has_text(folder)
    yield Check(
        "source.folder",
        found,
        "there" if found else "missing or empty",
        f"{folder.name}/ with the source code that ran",
        f"{_CONSTANTS} lines 2181-2186",
        "" if found else "Put the source there; `package` takes it from a git checkout.",
        relative(folder, root),
    )


def _has_text(folder: Path) -> bool:
    return any(
        file_problem(Path(place, name)) is None for place, _, names in os.walk(folder) for name in names
    )


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.is_symlink())
    except (OSError, ValueError):
        return []
