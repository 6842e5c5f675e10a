"""The official data of llama3.1-8b: tokenized CNN/DailyMail articles, 13,368 to run and 1,000 to calibrate.

Each is one JSON list; a run and a quantization read a line a sample, so such a file is made beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness_llm.errors import DatasetError
from harness_llm.fetch.published import MadeFile, PublishedFile, PublishedSet

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CNN_DAILYMAIL", "CNN_DAILYMAIL_CALIBRATION", "write_lines"]


class _Article(msgspec.Struct):
    """One article, as mlcommons/inference @b66003e1 writes it (language/llama3.1-8b/download_cnndm.py)."""

    tok_input: list[int]
    output: str


class _Sample(msgspec.Struct):
    """The same as a line of ours (datasets/jsonl.py)."""

    token_ids: list[int]
    reference: str


def write_lines(source: Path, destination: Path) -> None:
    """Write a list of articles as one sample a line: `token_ids` and `reference`.

    Args:
        source: JSON list of objects with `tok_input` and `output`; what else they hold is left out.
        destination: Written anew.

    Raises:
        DatasetError: `source` holds something else.
    """
    try:
        articles = msgspec.json.decode(source.read_bytes(), type=list[_Article])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{source} is no list of articles: {error}") from error
    if not articles:
        raise DatasetError(f"{source} holds no articles")
    encoder = msgspec.json.Encoder()
    with destination.open("wb") as file:
        for article in articles:
            file.write(encoder.encode(_Sample(article.tok_input, article.output)) + b"\n")


# Addresses: mlcommons/inference @b66003e1, language/llama3.1-8b/README.md lines 147 and 177. MD5:
# mlcommons/r2-infra @5d77ea6e, inference/metadata/llama3-1-8b-cnn-eval.md5 and
# llama3-1-8b-cnn-dailymail-calibration.md5.
CNN_DAILYMAIL = PublishedSet(
    name="cnn_dailymail",
    folder="llama3.1-8b",
    uri="https://inference.mlcommons-storage.org/metadata/llama3-1-8b-cnn-eval.uri",
    files=(PublishedFile(name="cnn_eval.json", md5="c41c613c17794d117899fdcdeeadbe3c"),),
    made=(MadeFile("cnn_eval.jsonl", "cnn_eval.json", write_lines),),
)
CNN_DAILYMAIL_CALIBRATION = PublishedSet(
    name="cnn_dailymail_calibration",
    folder="llama3.1-8b/calibration",
    uri="https://inference.mlcommons-storage.org/metadata/llama3-1-8b-cnn-dailymail-calibration.uri",
    files=(PublishedFile(name="cnn_dailymail_calibration.json", md5="706268fffad9bc1d93be9b29261116d7"),),
    made=(MadeFile("cnn_dailymail_calibration.jsonl", "cnn_dailymail_calibration.json", write_lines),),
)
