"""What is made of published files, where a run and a quantization read another form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from harness_llm.errors import DatasetError


class _Article(msgspec.Struct):
    """One article, as mlcommons/inference @b66003e1 writes it (language/llama3.1-8b/download_cnndm.py)."""

    tok_input: list[int]
    output: str


class _Sample(msgspec.Struct):
    """The same as a line of ours (datasets/prompts.py)."""

    token_ids: list[int]
    reference: str


def articles_to_lines(source: Path, destination: Path) -> None:
    """Write CNN/DailyMail's one JSON list of articles as one sample per line: `token_ids` and `reference`.

    Args:
        source: JSON list of objects with `tok_input` and `output`; what else they hold is left out.
        destination: Written anew.

    Raises:
        DatasetError: `source` holds something else.
    """
    try:
        articles = msgspec.json.decode(source.read_bytes(), type=list[_Article])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{source} is not a list of articles: {error}") from error
    if not articles:
        raise DatasetError(f"{source} holds no articles")
    encoder = msgspec.json.Encoder()
    with destination.open("wb") as file:
        for article in articles:
            file.write(encoder.encode(_Sample(article.tok_input, article.output)) + b"\n")


CONVERSIONS: Mapping[str, Callable[[Path, Path], None]] = {"articles_to_lines": articles_to_lines}
"""By the name that a benchmark.yaml calls it: given a source and where to write, the same bytes each time."""
