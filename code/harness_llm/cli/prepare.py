"""`harness-llm prepare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness_llm.cli.options import AsJson, Configs, Overrides, Tests, places_in, read_configs
from harness_llm.cli.output import print_json, print_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_llm.run.prepare import Prepared

_SHOWN_IDS = 32


def prepare_verb(
    config: Configs,
    overrides: Overrides = None,
    test: Tests = None,
    show_sample: Annotated[
        bool,
        typer.Option(
            "--show-sample", help="Show what was done to the first sample, and what the model reads."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read and check everything that a run needs, and start nothing."""
    from harness_llm.run.plan import TESTS
    from harness_llm.run.prepare import prepare
    from harness_llm.run.trial import try_engines

    prepared = prepare(read_configs(config, overrides), tuple(test or TESTS))
    notes = [*prepared.notes, *try_engines(prepared.configs, places_in(config, overrides))]
    sample = _first_sample(prepared) if show_sample else None
    if as_json:
        print_json({**_document(prepared, notes), **({} if sample is None else {"first_sample": sample})})
    else:
        print_text(_text(prepared, notes, sample))


def _document(prepared: Prepared, notes: Sequence[str]) -> dict[str, Any]:
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
            {
                "name": planned.name,
                "target_qps": planned.target_qps if prepared.rate_share(planned) is None else None,
                "measured_rate": prepared.rate_share(planned),
                "expected_samples": planned.expected,
            }
            for planned in prepared.tests
        ],
        "notes": list(notes),
    }


def _first_sample(prepared: Prepared) -> dict[str, Any]:
    """The first sample: how it was made, and, where there is a tokenizer, the text that the model reads."""
    from harness_llm.datasets.tokenizer import Tokenizer
    from harness_llm.errors import ModelError

    table, choice = prepared.table, prepared.configs[0].tokenizer_choice
    ids = table.prompt(0)
    try:
        text = None if choice is None else Tokenizer(choice).decode([ids], special_tokens=True)[0]
    except ModelError:  # token ids need no tokenizer
        text = None
    return {
        "made": list(table.first_sample),
        "prompt_tokens": len(ids),
        "token_ids": [int(token) for token in ids],
        "text": text,
        "answer_tokens": [int(table.min_tokens[0]), int(table.max_tokens[0])],
        "reference": None if table.references is None else table.references[0],
    }


def _text(prepared: Prepared, notes: Sequence[str], sample: dict[str, Any] | None) -> str:
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
        share = prepared.rate_share(planned)
        rate = f"{share:.0%} of what the machine holds" if share else f"{planned.target_qps:g} samples/s"
        lines.append(f"  {planned.name}: target {rate}, {samples}")
    if sample is not None:
        lines += _sample_lines(sample)
    lines += [f"  note: {note}" for note in notes]
    return "\n".join([*lines, "All preflight checks passed."])


def _sample_lines(sample: dict[str, Any]) -> list[str]:
    low, high = sample["answer_tokens"]
    ids = ", ".join(map(str, sample["token_ids"][:_SHOWN_IDS]))
    more = ", …" if sample["prompt_tokens"] > _SHOWN_IDS else ""
    read = sample["text"] if sample["text"] is not None else "(no tokenizer to spell it)"
    return [
        "  first sample",
        *(f"    {step}" for step in sample["made"]),
        f"    {sample['prompt_tokens']:,} token ids: {ids}{more}",
        f"    answer of {low:,} to {high:,} tokens; reference: {sample['reference']!r}",
        "    what the model reads:",
        *(f"    | {line}" for line in read.splitlines()),
    ]
