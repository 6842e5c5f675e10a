"""The official data of llama2-70b: 24,576 tokenized OpenOrca prompts, and the set for calibration."""

from __future__ import annotations

from harness_llm.fetch.published import PublishedFile, PublishedSet

__all__ = ["OPENORCA"]

# MD5 of the packed files: mlcommons/r2-infra @5d77ea6e, inference/metadata/llama-2-70b-open-orca-dataset.md5.
# MD5 of the 24,576 samples: mlcommons/inference issue 1636. That folder's other files, 366 MB of reference
# outputs and logs, are not needed.
OPENORCA = PublishedSet(
    name="openorca",
    folder="processed-openorca",
    uri="https://inference.mlcommons-storage.org/metadata/llama-2-70b-open-orca-dataset.uri",
    files=(
        PublishedFile(
            name="open_orca_gpt4_tokenized_llama.sampled_24576.pkl",
            md5="5fe8be0a7ce5c3c9a028674fd24b00d5",
            packed_md5="c247a315b9328365f66d2c2585b35cd4",
            size=200_000_000,
        ),
        PublishedFile(
            name="open_orca_gpt4_tokenized_llama.calibration_1000.pkl",
            packed_md5="d04917e08afb675640c9d7a5bb9b5e2a",
            size=10_000_000,
        ),
    ),
)
