"""Take over a score that MLCommons' own script computed, for benchmarks that the harness does not score.

::

    python -m harness_llm.run.official_score RUN/Offline/accuracy OUTPUT.txt

OUTPUT.txt is what that script printed; scores are its `'name': number`, the last of each name.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness_llm.accuracy.result import AccuracyResult, Gates
from harness_llm.benchmark import resolve
from harness_llm.config.load import load_config
from harness_llm.core import Mode
from harness_llm.errors import FolderError, HarnessError, UsageError
from harness_llm.logs.accuracy_log import AccuracyLog
from harness_llm.logs.source import ACCURACY_LOG, read_text
from harness_llm.results.accuracy_txt import scores_in
from harness_llm.results.paths import RUN_JSON, config_file
from harness_llm.results.reading import read_record
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import TestFolder
from harness_llm.scoring import gates_of, unscored_note

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "take_over_score"]


def take_over_score(folder: Path, output: Path) -> AccuracyResult:
    """Judge an accuracy test by the scores that MLCommons' script printed, and write them into its folder.

    Args:
        folder: The test's folder, `<run>/<Scenario>/accuracy`.
        output: What the script printed.

    Raises:
        FolderError: The test did not end well, was simulated, or its log is not whole.
        UsageError: The harness scores this benchmark itself, or the output lacks a score that judges it.
    """
    test, run = TestFolder(folder).record(), read_record(folder.parent.parent / RUN_JSON, RunRecord)
    if test.state != "complete" or test.mode != Mode.ACCURACY:
        raise FolderError(
            f"{folder}: no accuracy test that ended by itself", "Name <run>/<Scenario>/accuracy."
        )
    if run.simulated:
        raise FolderError(f"{folder}: its answers are simulated, so no score can be a result")
    config = load_config(config_file(folder.parent.parent, test.scenario))
    benchmark = resolve(config.harness_config.benchmark)
    gates = gates_of(config, benchmark)
    if not unscored_note(benchmark) or not isinstance(gates, Gates):
        raise UsageError(f"{benchmark.name}: the harness scores this benchmark itself")
    text, problem = read_text(output)
    if problem:
        raise UsageError(f"{output}: {problem}", "Keep what the script prints: … | tee OUTPUT.txt")
    found = {score.name: score.value for score in scores_in(text) if score.name in gates.minimum}
    if missing := [name for name in gates.minimum if name not in found]:
        raise UsageError(f"{output}: holds no score '{missing[0]}': number", "Give the whole output.")
    log = AccuracyLog.read(folder / ACCURACY_LOG)
    if log.problems or log.is_truncated or not log.samples or log.tokens is None:
        raise FolderError(f"{log.path}: {log.problems[0] if log.problems else 'holds no whole answers'}")
    result = AccuracyResult(found, len(log.samples), log.tokens, None, gates)
    result.write(folder)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 where a gate is not met."""
    parser = argparse.ArgumentParser(
        prog="python -m harness_llm.run.official_score",
        description="Record the score that MLCommons' own accuracy script computed for a run.",
    )
    parser.add_argument("folder", type=Path, help="<run>/<Scenario>/accuracy")
    parser.add_argument("output", type=Path, help="what the script printed")
    options = parser.parse_args(arguments)
    try:
        result = take_over_score(options.folder, options.output)
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    verdict = "all gates met" if result.passed else "; ".join(result.failures)
    sys.stdout.write(f"{options.folder}: {dict(result.scores)}: {verdict}\n")
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
