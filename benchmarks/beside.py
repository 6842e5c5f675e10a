"""How the first command ends beside other work: its performance tests, again and again on loaded engines.

Beside them a process takes a whole core, and for ten seconds of each minute further ones take all others.
What is counted is how many runs end VALID; nobody's speed is. What else the command does (accuracy, checks,
packages) has no time to keep, and is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness_llm.benchmark import resolve
from harness_llm.cli.options import read_configs
from harness_llm.errors import RunBroken
from harness_llm.fleet.watch import Watch
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.paths import SHARED_SAMPLES
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import RunFolder
from harness_llm.run.groups import measure_test
from harness_llm.run.lineup import line_up
from harness_llm.run.prepare import Prepared, prepare
from harness_llm.views.live import NoView

if TYPE_CHECKING:
    from harness_llm.fleet.fleet import Fleet

_ROOT = Path(__file__).resolve().parents[1]
_EVERY_S, _ALL_CORES_S = 60.0, 10.0
_ROW = "{:>4}  {:>7}  {:>5}  {:>8}  {:>9}  {:>9}  {}"


def _burn(seconds: float, process: multiprocessing.Process | None = None) -> None:
    """Take a core for so long; no longer than `process` lives, if one is named."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and (process is None or process.is_alive()):
        look_again = time.monotonic() + 0.1
        while time.monotonic() < look_again:
            pass


def _burn_beside(process: multiprocessing.Process) -> None:
    """One core as long as `process` lives, all of them for a while each minute.

    The process that measures is a child of this one, and not the other way round: the harness counts what its
    own children use as its own, and is to see a stranger here.
    """
    while process.is_alive():
        more = [
            multiprocessing.Process(target=_burn, args=(_ALL_CORES_S,), daemon=True)
            for _ in range(len(os.sched_getaffinity(0)) - 1)
        ]
        for other in more:
            other.start()
        _burn(_EVERY_S, process)
        for other in more:
            other.join()


def _measured(fleet: Fleet, prepared: Prepared, folder: Path) -> tuple[bool, str]:
    """One run: whether all its tests are VALID, and what to print of it."""
    began, told, p99 = time.monotonic(), [], {}
    (group,) = prepared.groups
    with RunFolder(folder) as run:
        run.begin(RunRecord.blank())
        prepared.table.save(folder / SHARED_SAMPLES)
        for test in group.tests:
            measure_test(fleet, run, group, test, lambda _: None)
            log, record = DetailLog.read(run.test(test.name).path / DETAIL_LOG), run.test(test.name).record()
            verdict = "VALID" if log.is_valid is True and record.state == "complete" else "INVALID"
            others = record.others.told if record.others is not None else ""
            told.append((f"{record.scenario} {verdict}", others))
            p99 = {"TTFT": log.ttft_p99_ns, "TPOT": log.tpot_p99_ns}
        rate = run.rates["Server"]
    figures = ["-" if value is None else f"{value / 1e6:,.0f} ms" for value in p99.values()]
    said = "; ".join((*(verdict for verdict, _ in told), told[-1][1]))
    row = (f"{time.monotonic() - began:,.0f} s", rate.tries, f"{rate.target_qps:g}/s", *figures, said)
    return all(not verdict.endswith("INVALID") for verdict, _ in told), _ROW.format(folder.name, *row)


def _count(options: argparse.Namespace, folder: Path) -> int:
    """Measure, and print a row for each run; how many were VALID."""
    benchmark = resolve("smollm2-135m")
    prepared = prepare(read_configs(line_up(benchmark, "cpu").profiles, options.overrides), ["performance"])
    prepared.table.save(folder / SHARED_SAMPLES)
    valid = 0
    with Watch(NoView()) as watch:
        began = time.monotonic()
        with watch.fleet(prepared.groups[0].fleet, folder / "replicas", folder / SHARED_SAMPLES) as fleet:
            print(f"loaded within {time.monotonic() - began:.0f} s")
            print(_ROW.format("run", "time", "tries", "Server", "TTFT p99", "TPOT p99", "verdicts"))
            for number in range(1, options.runs + 1):
                is_valid, row = _measured(fleet, prepared, folder / str(number))
                valid += is_valid
                print(row, flush=True)
    return valid


def _measure(options: argparse.Namespace) -> int:
    """All runs, with a row each: how the script ends."""
    os.chdir(_ROOT)  # paths in the profiles start there
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            valid = _count(options, folder.resolve())
        except RunBroken as error:
            print(error.message, error.remedy, sep="\n")
            return 3
    print(f"{valid} of {options.runs} VALID")
    return int(valid != options.runs)


def main() -> int:
    """Run, print a row each, and end with 1 if one of them was not VALID."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--alone", action="store_true", help="beside nothing, for comparison")
    parser.add_argument("--set", action="append", dest="overrides", help="as of `harness-llm run`")
    parser.add_argument("--keep", type=Path, help="keep the runs' files in this folder")
    options = parser.parse_args()
    if options.alone:
        return _measure(options)
    measuring = multiprocessing.Process(target=lambda: sys.exit(_measure(options)))
    measuring.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _burn_beside(measuring)
    finally:
        measuring.terminate()
        measuring.join()
    return measuring.exitcode or 0


if __name__ == "__main__":
    raise SystemExit(main())
