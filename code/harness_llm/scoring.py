"""What follows a test that LoadGen ended: scores of an accuracy test, the verdict of a compliance test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness_llm import rules
from harness_llm.accuracy.reference_file import Reference
from harness_llm.accuracy.result import Gates
from harness_llm.accuracy.score import score_test
from harness_llm.compliance.verify import verify
from harness_llm.core import Mode, Scenario
from harness_llm.engines.simulated import SIMULATED_END_TOKEN
from harness_llm.supervise.folder import TestFolder, read_json

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.config.model import RunConfig
    from harness_llm.datasets.table import SampleTable

__all__ = ["finish_test", "gates_of"]


def finish_test(folder: Path, config: RunConfig, table: SampleTable) -> str:
    """Score or verify one finished test and write the result into its folder.

    Args:
        folder: The test's folder.
        config: The scenario's configuration.
        table: The samples that were asked.

    Returns:
        One line for people; empty where there was nothing to do.

    Raises:
        HarnessError: The log cannot be scored; says why.
    """
    test = read_json(folder / "test.json")
    name = f"{folder.parent.name}/{folder.name}"
    if folder.name.startswith("TEST"):
        verdict = verify(
            folder.name,
            folder / "mlperf_log_accuracy.json",
            scenario=Scenario(test["scenario"]),
            eos_token_ids=_eos_token_ids(config),
        )
        verdict.write(folder)
        TestFolder(folder).record(compliance={"passed": verdict.passed, "reasons": list(verdict.reasons)})
        return f"{name}: {'passed' if verdict.passed else 'FAILED: ' + '; '.join(verdict.reasons)}"
    if test["mode"] != Mode.ACCURACY or table.references is None or config.model_path is None:
        return ""
    result = score_test(folder, table, config.model_path, gates_of(config))
    result.write(folder)
    scores = ", ".join(f"{key} {value:.2f}" for key, value in result.scores.items())
    verdict_text = {True: "all gates met", False: "BELOW ITS GATE", None: "no gate to judge by"}[
        result.passed
    ]
    return f"{name}: {scores}: {verdict_text}"


def gates_of(config: RunConfig) -> Reference | Gates | None:
    """What an accuracy score is judged by: the rules, the benchmark's own reference, or nothing.

    Raises:
        ConfigError: The reference file cannot be used.
    """
    harness = config.harness_config
    official = rules.lookup(harness.benchmark)
    if official is not None:
        rouge = {gate.metric: gate.gate for gate in official.accuracy if gate.metric.startswith("rouge")}
        window = official.length
        is_per_sample = window.metric == "tokens_per_sample" and window.low is not None
        bounds = (float(window.low or 0), float(window.high)) if is_per_sample else None
        return Gates(minimum=rouge, tokens_per_sample=bounds, source=f"rules of {official.round}")
    return None if harness.reference is None else Reference.load(harness.reference)


def _eos_token_ids(config: RunConfig) -> set[int]:
    """End-of-sequence tokens of the checkpoint, from its generation config, else its config."""
    if config.harness_config.engine == "simulated":
        return {SIMULATED_END_TOKEN}
    path = config.model_path
    for name in ("generation_config.json", "config.json"):
        file = path / name if path is not None else None
        if file is not None and file.is_file():
            found = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
            if found is not None:
                return set(found) if isinstance(found, list) else {int(found)}
    return set()
