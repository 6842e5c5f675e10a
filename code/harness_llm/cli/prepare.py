"""`harness-llm prepare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_llm.cli.options import AsJson, Configs, Overrides, Tests, read_configs
from harness_llm.cli.output import print_json, print_text

if TYPE_CHECKING:
    from harness_llm.run.prepare import Prepared


def prepare_verb(
    config: Configs, overrides: Overrides = None, test: Tests = None, as_json: AsJson = False
) -> None:
    """Read and check everything that a run needs, and start nothing."""
    from harness_llm.run.plan import TESTS
    from harness_llm.run.prepare import prepare

    prepared = prepare(read_configs(config, overrides), tuple(test or TESTS))
    if as_json:
        print_json(_document(prepared))
    else:
        print_text(_text(prepared))


def _document(prepared: Prepared) -> dict[str, Any]:
    table = prepared.table
    return {
        "benchmark": prepared.benchmark.name,
        "official": prepared.benchmark.is_official,
        "marker": prepared.marker,
        "dataset": {
            "name": table.name,
            "samples": len(table),
            "digest": table.digest,
            "longest_prompt_tokens": int(table.prompt_lengths.max()),
            "longest_answer_tokens": int(table.max_tokens.max()),
        },
        "tests": [
            {"name": planned.name, "target_qps": planned.target_qps, "expected_samples": planned.expected}
            for planned in prepared.tests
        ],
        "notes": list(prepared.notes),
    }


def _text(prepared: Prepared) -> str:
    table = prepared.table
    lines = [
        prepared.benchmark.name + (f" ({prepared.marker})" if prepared.marker else ""),
        f"  data set {table.name}: {len(table):,} samples, "
        f"prompts up to {table.prompt_lengths.max()} tokens, "
        f"answers up to {table.max_tokens.max()}; digest {table.digest[:12]}",
    ]
    for planned in prepared.tests:
        samples = "as many samples as LoadGen decides" if planned.expected is None else ""
        samples = samples or f"about {planned.expected:,} samples"
        lines.append(f"  {planned.name}: target {planned.target_qps:g} samples/s, {samples}")
    lines += [f"  note: {note}" for note in prepared.notes]
    return "\n".join([*lines, "All preflight checks passed."])
