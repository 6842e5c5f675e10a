"""The official data of gpt-oss-120b: tokenized prompts in Parquet files, which a run reads as they are."""

from __future__ import annotations

from harness_llm.fetch.published import PublishedFile, PublishedSet

__all__ = ["GPT_OSS"]

# MD5: mlcommons/r2-infra @5d77ea6e, inference/metadata/gpt-oss-data.md5. That folder's other files, the same
# prompts as padded arrays and a set for calibration, are not needed.
GPT_OSS = PublishedSet(
    name="gpt-oss",
    folder="gpt-oss-120b",
    uri="https://inference.mlcommons-storage.org/metadata/gpt-oss-data.uri",
    files=(
        PublishedFile(name="perf/perf_eval_ref.parquet", md5="e4cd6cef6dd975f3e50c85b3279b358b"),
        PublishedFile(name="acc/acc_eval_ref.parquet", md5="29d35424fc8d31461e73a7766446480e"),
        PublishedFile(name="acc/acc_eval_compliance_gpqa.parquet", md5="e35e6bc6d7343df1930501bb61e61260"),
    ),
)
