"""Where things are in the good tree, and how a fault changes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mutation.good_tree import BENCHMARK, SUBMITTER, SYSTEM, system_description

if TYPE_CHECKING:
    from pathlib import Path

DETAIL = "mlperf_log_detail.txt"
SUMMARY = "mlperf_log_summary.txt"
ANSWERS = "mlperf_log_accuracy.json"
PREFIX = ":::MLLOG "


def org(tree: Path) -> Path:
    return tree / "closed" / SUBMITTER


def place(tree: Path, scenario: str = "Server") -> Path:
    return org(tree) / "results" / SYSTEM / BENCHMARK / scenario


def run(tree: Path, scenario: str = "Server") -> Path:
    return place(tree, scenario) / "performance" / "run_1"


def system_file(tree: Path) -> Path:
    return org(tree) / "systems" / f"{SYSTEM}.json"


def set_log(path: Path, **values: object) -> None:
    """Give keys of a detail log other values, in place."""
    lines = path.read_text().splitlines()
    left = dict(values)
    for number, line in enumerate(lines):
        record = json.loads(line[len(PREFIX) :])
        if record["key"] in left:
            record["value"] = left.pop(record["key"])
            lines[number] = PREFIX + json.dumps(record)
    assert not left, left
    path.write_text("\n".join(lines) + "\n")


def add_line(path: Path, key: str, value: object, **metadata: object) -> None:
    """Add a line before the last two, of the same process and time as its neighbour."""
    lines = path.read_text().splitlines()
    record = json.loads(lines[-2][len(PREFIX) :]) | {"key": key, "value": value}
    record["metadata"] |= metadata
    lines.insert(len(lines) - 2, PREFIX + json.dumps(record))
    path.write_text("\n".join(lines) + "\n")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new))


def drop(path: Path, key: str) -> None:
    """Remove a key from a JSON file."""
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))


def set_system(tree: Path, **values: str) -> None:
    """Give fields of the system description other values."""
    system_file(tree).write_text(json.dumps(system_description() | values))
