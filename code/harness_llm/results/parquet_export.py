"""The samples of a run as one Parquet table; each column says in the file what it is."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness_llm.core import EventStatus
from harness_llm.errors import FolderError, HostError
from harness_llm.results.paths import EVENTS_NPY, RUN_JSON
from harness_llm.results.reading import read_record
from harness_llm.results.records import RunRecord, TestRecord
from harness_llm.results.run_folder import TestFolder
from harness_llm.results.sample_rows import SampleRows, read_sample_rows

COLUMNS = {
    "benchmark": "The run's benchmark.",
    "test": "The test, e.g. Offline/performance.",
    "query": "Number of the query in the order of issue, from 0.",
    "sample": "Index into the sample table.",
    "replica": "Number of the replica that answered.",
    "status": "ISSUED, FIRST_TOKEN, FINISHED or FAILED.",
    "prompt_tokens": "Tokens of the prompt.",
    "tokens": "Tokens of the answer.",
    "arrival_s": "When LoadGen's schedule says that the query was due, seconds after the start of the test.",
    "issued_s": "When LoadGen issued it, seconds after the start of the test.",
    "first_token_s": "When its first token came; null in Offline, which does not ask for it.",
    "finished_s": "When its last token came; null where it never did.",
    "ttft_ms": "Time to first token, from arrival, ms.",
    "tpot_ms": "Time per output token after the first, ms.",
    "latency_ms": "From arrival to the last token, ms.",
}
"""Every column in its order, and what it holds."""

_REMEDY = "Give a run folder that `run` printed, of a run that measured something."


def write_parquet(run: Path, target: Path) -> int:
    """Write the samples of every test that has any.

    Args:
        run: The run folder.
        target: The file to write.

    Returns:
        How many.

    Raises:
        FolderError: It is no run folder, or has no samples.
        HostError: The disk said no.
    """
    arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    record = read_record(run / RUN_JSON, RunRecord, _REMEDY)
    tests = list(_tests(run, record))
    if not tests:
        raise FolderError(f"{run}: no test has samples", _REMEDY)
    tables = [_table(arrow, record, name, rows) for name, _, rows in tests]
    table = arrow.concat_tables(tables)
    facts = {name: msgspec.to_builtins(test) for name, test, _ in tests}
    about = {"harness_llm.run": msgspec.json.encode(record), "harness_llm.tests": msgspec.json.encode(facts)}
    temporary = target.with_name(f".{target.name}.part")
    try:
        parquet.write_table(table.replace_schema_metadata(about), temporary, compression="zstd")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HostError(f"{target}: cannot be written: {error}", "Choose another place.") from error
    return int(table.num_rows)


def _tests(run: Path, record: RunRecord) -> Iterator[tuple[str, TestRecord, SampleRows]]:
    for name in record.tests:
        folder = TestFolder(run / name)
        if folder.is_begun and (folder.path / EVENTS_NPY).exists():
            test = folder.record()
            yield name, test, read_sample_rows(folder.path, test)


def _table(arrow: Any, record: RunRecord, test: str, rows: SampleRows) -> Any:
    names = np.array([status.name for status in EventStatus])
    made: dict[str, Any] = {
        **rows.columns(),
        "status": names[rows.status],
        "benchmark": np.full(len(rows), record.benchmark),
        "test": np.full(len(rows), test),
    }
    fields, arrays = [], []
    for name, meaning in COLUMNS.items():
        # pandas' rule: NaN, which stands for what never happened, becomes null.
        array = arrow.array(made[name], from_pandas=True)
        arrays.append(array.dictionary_encode() if array.type == arrow.string() else array)
        fields.append(arrow.field(name, arrays[-1].type, metadata={"description": meaning}))
    return arrow.Table.from_arrays(arrays, schema=arrow.schema(fields))
