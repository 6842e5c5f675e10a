"""The official llama2-70b data set: OpenOrca, tokenized, as MLCommons publishes it in a pandas pickle."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from harness_llm.datasets.dataset_kind import DatasetKind, Reading
from harness_llm.datasets.pandas_pickle import read_columns
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import DatasetError
from harness_llm.files import file_digest

if TYPE_CHECKING:
    from harness_llm.core import GenerationLimits


SAMPLES = 24_576
"""language/llama2-70b/processorca.py, --num_total_samples, @b66003e1."""
MD5 = "5fe8be0a7ce5c3c9a028674fd24b00d5"
"""Of open_orca_gpt4_tokenized_llama.sampled_24576.pkl (mlcommons/inference issue 1636)."""
LAST_TOKEN = 29_871
"""Every prompt ends with it, so that it cannot be given as a free first token
(language/llama2-70b/processorca.py, _tokenize_helper, @b66003e1)."""
INPUT_LIMIT = 1024
"""Longest prompt, tokens (language/llama2-70b/dataset.py, max_length, @b66003e1)."""

_log = logging.getLogger(__name__)
_REMEDY = "Fetch open_orca_gpt4_tokenized_llama.sampled_24576.pkl again with download_llama2_70b.sh."


class OpenOrca(DatasetKind):
    """The official data set of llama2-70b.

    Attributes:
        path: open_orca_gpt4_tokenized_llama.sampled_24576.pkl.
    """

    kind: Literal["openorca"] = "openorca"
    path: Annotated[Path, Field(examples=["open_orca_gpt4_tokenized_llama.sampled_24576.pkl"])]

    def read(self, reading: Reading) -> SampleTable:
        """See `load_openorca`."""
        return load_openorca(self.path, reading.limits, official=reading.official)


def load_openorca(path: Path, limits: GenerationLimits, *, official: bool) -> SampleTable:
    """Read `tok_input` and `output` from the pickle; nothing that the pickle names is run.

    Args:
        path: The pickle file, e.g. open_orca_gpt4_tokenized_llama.sampled_24576.pkl.
        limits: Output limits of every sample (officially at most 1,024 tokens).
        official: The file must be the official one: 24,576 samples and its md5. Otherwise another file is
            taken, with a warning where it has as many samples, so that nobody takes it for the official one.
            The 1,000 samples for calibration are such another file; nobody published a digest of them
            unpacked, so they are known by the digest of what was fetched (fetch/openorca.py).

    Raises:
        DatasetError: The file cannot be read, is not such a data set, or breaks a rule of it.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file", _REMEDY)
    digest = file_digest(path, "md5")
    if official and digest != MD5:  # before anything is unpickled
        raise DatasetError(f"{path}: md5 is {digest}, the official file's is {MD5}", _REMEDY)
    columns = read_columns(path, ["tok_input", "output"], ["tok_input_length"])
    prompts = [_prompt(path, sample, cell) for sample, cell in enumerate(columns["tok_input"])]
    _check_lengths(path, prompts, columns.get("tok_input_length"))
    _check_references(path, columns["output"])
    if digest == MD5 and len(prompts) != SAMPLES:
        raise DatasetError(f"{path}: found {len(prompts)} samples, expected {SAMPLES}", _REMEDY)
    if digest != MD5 and len(prompts) == SAMPLES:
        _log.warning(
            "%s: as many samples as the official file, but not that file (md5 %s, not %s); "
            "results from it are not official",
            path,
            digest,
            MD5,
        )
    return SampleTable.from_prompts(
        "openorca",
        prompts,  # type: ignore[arg-type]  # arrays are sequences of token ids
        max_tokens=limits.max_tokens,
        min_tokens=limits.min_tokens,
        references=columns["output"],
        source=str(path),
    )


def _prompt(path: Path, sample: int, cell: Any) -> npt.NDArray[np.int32]:
    if not isinstance(cell, list | np.ndarray) or len(cell) == 0:
        raise DatasetError(
            f"{path}: sample {sample}: tok_input is {type(cell).__name__}, expected token ids", _REMEDY
        )
    try:
        tokens = np.asarray(cell)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{path}: sample {sample}: tok_input holds no token ids: {error}", _REMEDY
        ) from error
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or tokens.min() < 0 or tokens.max() >= 2**31:
        raise DatasetError(
            f"{path}: sample {sample}: tok_input holds something that is not a token id", _REMEDY
        )
    if len(tokens) > INPUT_LIMIT:
        raise DatasetError(
            f"{path}: sample {sample} has {len(tokens)} tokens, the limit is {INPUT_LIMIT}", _REMEDY
        )
    if tokens[-1] != LAST_TOKEN:
        raise DatasetError(
            f"{path}: sample {sample} ends with token {tokens[-1]}, official prompts end with {LAST_TOKEN}",
            _REMEDY,
        )
    return tokens.astype(np.int32)


def _check_lengths(path: Path, prompts: list[npt.NDArray[np.int32]], stated: list[Any] | None) -> None:
    for sample, (prompt, length) in enumerate(zip(prompts, stated or [], strict=bool(stated))):
        if length != len(prompt):
            raise DatasetError(
                f"{path}: sample {sample} has {len(prompt)} tokens, tok_input_length is {length}", _REMEDY
            )


def _check_references(path: Path, outputs: list[Any]) -> None:
    for sample, output in enumerate(outputs):
        if not isinstance(output, str) or not output:
            raise DatasetError(f"{path}: sample {sample}: output is {output!r}, expected text", _REMEDY)
