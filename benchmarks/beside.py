"""How the first command ends beside other work: runs of it, one after the other.

Beside them a process takes a whole core, and for ten seconds of each minute further ones take all others.
What is counted is how many runs end VALID; nobody's speed is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).resolve().parents[1]
_COMMAND = ("bash", "submission/smollm2_135m.sh")
_FOLDER = re.compile(r"^run folder: (\S+)", re.MULTILINE)
_EVERY_S, _ALL_CORES_S = 60.0, 10.0
_ROW = "{:>4}  {:>8}  {:>5}  {:>9}  {:>9}  {:>8}  {}"


def _burn(seconds: float = float("inf")) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def _burn_now_and_then() -> None:
    """One core always, all of them for a while each minute."""
    cores = len(os.sched_getaffinity(0))
    while True:
        more = [multiprocessing.Process(target=_burn, args=(_ALL_CORES_S,)) for _ in range(cores - 1)]
        for process in more:
            process.start()
        _burn(_EVERY_S)
        for process in more:
            process.join()


@contextlib.contextmanager
def _beside(is_wanted: bool) -> Iterator[None]:
    if not is_wanted:
        yield
        return
    burner = multiprocessing.Process(target=_burn_now_and_then)
    burner.start()
    try:
        yield
    finally:
        burner.terminate()
        burner.join()


def _measured(number: int) -> tuple[bool, str]:
    """One run of the first command: whether it ended well, and its row."""
    began = time.monotonic()
    done = subprocess.run(_COMMAND, cwd=_ROOT, text=True, capture_output=True, check=False)
    seconds = time.monotonic() - began
    found = _FOLDER.search(done.stdout)
    if found is None:
        return False, _row(number, seconds, done.returncode, told=(done.stderr.splitlines() or ["?"])[-1])
    show = [sys.executable, "-m", "harness_llm", "show", "--json", found[1]]
    shown = subprocess.run(show, cwd=_ROOT, env=_environment(), text=True, capture_output=True, check=False)
    results = {each["scenario"]: each for each in json.loads(shown.stdout)["scenarios"]}
    rates = json.loads((_ROOT / found[1] / "run.json").read_text())["rates"]
    rate = rates.get("Server", {}).get("target_qps", 0.0)
    verdicts = {name: "VALID" if each["valid"] else "INVALID" for name, each in results.items()}
    told = ", ".join(f"{name} {verdict}" for name, verdict in verdicts.items())
    if others := results["Server"]["others"]:
        told += f"; {others}"
    row = _row(number, seconds, done.returncode, rate, results["Server"], told)
    return done.returncode == 0 and set(verdicts.values()) == {"VALID"}, row


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT / "code")}


def _row(
    number: int,
    seconds: float,
    code: int,
    rate: float = 0.0,
    server: dict[str, Any] | None = None,
    told: str = "",
) -> str:
    found = [(server or {}).get(key) for key in ("ttft_p99_ms", "tpot_p99_ms")]
    ttft, tpot = ("-" if value is None else f"{value:,.0f}" for value in found)
    return _ROW.format(number, f"{seconds:,.0f} s", code, f"{rate:.3g}/s" if rate else "-", ttft, tpot, told)


def main() -> int:
    """Run, print a row each, and end with 1 if one of them was not VALID."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--alone", action="store_true", help="beside nothing, for comparison")
    options = parser.parse_args()
    print(_ROW.format("run", "time", "exit", "Server", "TTFT p99", "TPOT p99", "verdict"))
    valid = 0
    with _beside(not options.alone):
        for number in range(1, options.runs + 1):
            is_valid, row = _measured(number)
            valid += is_valid
            print(row, flush=True)
    print(f"{valid} of {options.runs} VALID")
    return int(valid != options.runs)


if __name__ == "__main__":
    raise SystemExit(main())
