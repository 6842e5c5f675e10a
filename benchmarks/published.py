"""What `check` says of published submissions: passed, noted and failed rows of each tree, by kind.

Each tree is checked by the command line in a process of its own, so that time and memory are those of a
user, and another checkout's `check` can be held against this one's. docs/check.md names the trees.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

_CODE = Path(__file__).resolve().parents[1] / "code"
_DIVISIONS = ("closed", "open", "network")
_LOOK_S = 0.05
_WORDS = {True: "pass", None: "note", False: "fail"}
_ROW = "{:40}  {:>7}  {:>6}  {:>6}  {:>6}  {:>7}  {:>6}  {:>6}  {}"


def _trees(given: str) -> list[tuple[str, Path]]:
    """The round and folder of each tree in `ROUND=FOLDER`, where FOLDER is a tree or holds trees."""
    round_name, _, folder = given.partition("=")
    places = [Path(folder), *sorted(Path(folder).iterdir())] if folder and Path(folder).is_dir() else []
    found = [(round_name, place) for place in places if any((place / name).is_dir() for name in _DIVISIONS)]
    if not found:
        raise SystemExit(f"{given}: no tree. Give ROUND=FOLDER, for example v5.1=inference_results_v5.1.")
    return found


def _check(round_name: str, tree: Path, code: Path) -> dict[str, Any]:
    """One tree: its report, reduced to counts and failed rows, and what the check of it took."""
    command = [sys.executable, "-m", "harness_llm", "check", str(tree), "--round", round_name, "--json"]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, stdout=output, env={**os.environ, "PYTHONPATH": str(code)})
        peak = _watch(psutil.Process(child.pid))
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        rows = json.load(output)["checks"]
    failed = [row for row in rows if row["passed"] is False]
    return {
        "passed": not failed,
        "rows": Counter(_WORDS[row["passed"]] for row in rows),
        "fail": Counter(row["name"] for row in failed),
        "note": Counter(row["name"] for row in rows if row["passed"] is None),
        "failed": [{key: row[key][:500] for key in ("name", "path", "found", "required")} for row in failed],
        "wall_s": round(time.perf_counter() - began, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_mib": round(peak / 2**20),
    }


def _watch(process: psutil.Process) -> int:
    """Most memory that a process and its children held at once, bytes; memory that they share counts once."""
    peak = 0
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        held = 0
        for one in (process, *process.children(recursive=True)):
            try:
                held += one.memory_full_info().pss
            except psutil.Error:  # it ended meanwhile
                continue
        peak = max(peak, held)
        time.sleep(_LOOK_S)
    return peak


def _print_table(found: dict[str, Any], before: dict[str, Any]) -> None:
    head = ("tree", "before", "fail", "note", "pass", "wall s", "CPU s", "MiB", "what failed")
    print(_ROW.format(*head))
    for name, tree in found.items():
        rows, earlier = tree["rows"], before.get(name, {}).get("rows", {}).get("fail", 0)
        shown = earlier if name in before else ""
        counts = (shown, *(rows.get(word, 0) for word in ("fail", "note", "pass")))
        took = (tree["wall_s"], tree["cpu_s"], tree["peak_mib"])
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(tree["fail"].items()))
        print(_ROW.format(name, *counts, *took, kinds).rstrip())
    failed = sum(tree["rows"].get("fail", 0) for tree in found.values())
    passed = sum(tree["passed"] for tree in found.values())
    print(f"\n{passed} of {len(found)} trees pass; {failed} rows failed")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trees", nargs="+", metavar="ROUND=FOLDER", help="a tree, or a folder of trees")
    parser.add_argument("--code", type=Path, default=_CODE, help="code/ of the checkout whose check is asked")
    parser.add_argument("--before", type=Path, help="what --json printed of another checkout, to show beside")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with every failed row")
    options = parser.parse_args()
    before = json.loads(options.before.read_text(encoding="utf-8")) if options.before else {}
    found: dict[str, Any] = {}
    for round_name, tree in [one for given in options.trees for one in _trees(given)]:
        name = f"{round_name}/{tree.name}"
        found[name] = _check(round_name, tree, options.code)
        print(f"{name}: {dict(found[name]['rows'])}", file=sys.stderr)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        _print_table(found, before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
