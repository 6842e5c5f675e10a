"""LoadGen's mlperf_log_detail.txt as a typed record; a damaged file is data, never an exception."""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec

from harness_llm.logs.source import LogError, read_lines

SIX_DIGITS = 1e-5
"""Relative tolerance of a rate in the log: LoadGen writes six significant digits."""

_PREFIX = ":::MLLOG "
_KEPT_MESSAGES = 50
_KEPT_PROBLEMS = 20
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_ERRORS_COUNTED_SINCE = "2025-04-15"  # num_errors: mlcommons/inference @fd021be1 loadgen/results.cc
_AUDITED = "Found Audit Config file"
_LARGEST = 2**64  # LoadGen's whole numbers have 64 bits; a longer one is damage, and fits no float


@dataclass(frozen=True, slots=True)
class LogMessage:
    """One error or warning that LoadGen logged.

    Attributes:
        key: E.g. `error_runtime`.
        text: What LoadGen said.
        line: Line number in the detail log, from 1.
    """

    key: str
    text: str
    line: int


@dataclass(frozen=True)
class DetailLog:
    """Everything in one detail log that a check or a report needs.

    Attributes:
        path: The file.
        values: Last value of every key.
        errors: The first 50 lines that LoadGen marked as errors.
        error_lines: Number of lines marked as errors.
        problems: What is wrong with the file itself: missing, cut, no MLLOG line, no JSON.
        warnings: The first 50 lines that LoadGen marked as warnings.
        warning_lines: Number of lines marked as warnings.
        changed: Keys of results and settings that appear more than once with different values.
        processes: Number of distinct process ids: LoadGen writes one process's log.
        backward: First line whose time is before that of an earlier line; 0 where times only grow.
        times_ms: Last `time_ms` of every key, ms since the logger began.
    """

    path: Path
    values: Mapping[str, Any]
    errors: tuple[LogMessage, ...] = ()
    error_lines: int = 0
    problems: tuple[LogError, ...] = ()
    warnings: tuple[LogMessage, ...] = ()
    warning_lines: int = 0
    changed: tuple[str, ...] = ()
    processes: int = 0
    backward: int = 0
    times_ms: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> DetailLog:
        """Read a detail log, line by line."""
        reader = _Reader()
        problems = [error for number, line in read_lines(path) if (error := reader.take(number, line))]
        if not reader.values and not problems:
            problems.append(LogError(path, 0, "holds no LoadGen line"))
        if reader.values and not reader.is_complete:
            problems.append(LogError(path, 0, "the log is cut: LoadGen's closing lines are missing"))
        named = (LogError(path, problem.line, problem.reason) for problem in problems[:_KEPT_PROBLEMS])
        return cls(
            path=path,
            values=reader.values,
            errors=tuple(reader.errors),
            error_lines=reader.error_lines,
            problems=tuple(named),
            warnings=tuple(reader.warnings),
            warning_lines=reader.warning_lines,
            changed=tuple(sorted(reader.changed)),
            processes=len(reader.pids),
            backward=reader.backward,
            times_ms=reader.times_ms,
        )

    def value(self, key: str) -> Any:
        """Value of a key as LoadGen wrote it, or None where the log lacks it."""
        return self.values.get(key)

    def integer(self, key: str) -> int | None:
        """Value of a key if it is a whole number of 64 bits, else None."""
        found = self.values.get(key)
        if not isinstance(found, int) or isinstance(found, bool):
            return None
        return found if abs(found) < _LARGEST else None

    def number(self, key: str) -> float | None:
        """Value of a key if it is a number, else None."""
        found = self.values.get(key)
        if isinstance(found, float):
            return found
        whole = self.integer(key)
        return None if whole is None else float(whole)

    @property
    def is_audited(self) -> bool:
        """Whether LoadGen found an audit.config in its folder (loadgen/loadgen.cc, StartTest)."""
        return any(found.text.startswith(_AUDITED) for found in self.warnings)

    @property
    def is_valid(self) -> bool | None:
        """LoadGen's own verdict; None where it gave none (accuracy mode, or a cut log)."""
        found = self.value("result_validity")
        return None if found is None else bool(found == "VALID")

    @property
    def tokens_per_second(self) -> float | None:
        """The official LLM metric of the scenario, tokens/s; None where the log has none."""
        key = "result_tokens_per_second"
        return self.number(key if key in self.values else "result_completed_tokens_per_second")

    @property
    def samples_per_second(self) -> float | None:
        """Samples of an Offline run, per second; None where the log has none."""
        return self.number("result_samples_per_second")

    @property
    def ttft_p99_ns(self) -> int | None:
        """99th percentile of the first-token latency, ns; None outside Server."""
        return self.integer("result_first_token_99.00_percentile_latency_ns")

    @property
    def tpot_p99_ns(self) -> int | None:
        """99th percentile of the time per output token, ns; None outside Server."""
        return self.integer("result_time_per_output_token_99.00_percentile_ns")


class _Order(msgspec.Struct):
    """The record of `loaded_qsl_set`, the one that is as long as the data set."""

    key: str
    value: list[Annotated[int, msgspec.Meta(ge=0, lt=2**62)]]
    metadata: dict[str, Any]
    time_ms: float = 0


_ORDER_KEY = '{"key": "loaded_qsl_set", "value": ['
_order = msgspec.json.Decoder(_Order)
_record = msgspec.json.Decoder()


def _decoded(text: str) -> dict[str, Any]:
    """One record; `loaded_qsl_set` of whole numbers as an array."""
    try:
        if text.startswith(_ORDER_KEY):
            found = _order.decode(text)
            return msgspec.structs.asdict(found) | {"value": array("q", found.value)}
        return cast("dict[str, Any]", _record.decode(text))
    except msgspec.MsgspecError:  # also NaN, infinities and lone surrogates, which json takes
        return cast("dict[str, Any]", json.loads(text))


class _Reader:
    """Collects one log line by line."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.errors: list[LogMessage] = []
        self.error_lines = 0
        self.warnings: list[LogMessage] = []
        self.warning_lines = 0
        self.changed: set[str] = set()
        self.pids: set[int] = set()
        self.backward = 0
        self.times_ms: dict[str, float] = {}
        self._latest_ms = -math.inf

    @property
    def is_complete(self) -> bool:
        """Whether the lines are there that LoadGen writes last, which differ by mode and by LoadGen's age."""
        if self.values.get("effective_test_mode") == "AccuracyOnly":
            return "power_end" in self.values
        return "num_errors" in self.values or (self._counts_no_errors and self._has_results)

    @property
    def _counts_no_errors(self) -> bool:
        """Whether the log is of a LoadGen before num_errors came to it, as in all of round v5.0."""
        committed = str(self.values.get("loadgen_git_commit_date", ""))[:10]
        if _DATE.fullmatch(committed):
            return committed < _ERRORS_COUNTED_SINCE
        return str(self.values.get("loadgen_version", "")).startswith("5.0.")

    @property
    def _has_results(self) -> bool:
        closing = ("result_tokens_per_second", "result_completed_tokens_per_second")
        if self.values.get("requested_use_token_latencies") is True:
            return any(key in self.values for key in closing)
        return "result_99.90_percentile_latency_ns" in self.values

    def take(self, number: int, line: str | LogError) -> LogError | None:
        """Take one line; gives what is wrong with it, or None."""
        if isinstance(line, LogError):
            return line
        if not line.startswith(_PREFIX):
            return LogError(None, number, f"no :::MLLOG line: {line[:80]!r}") if line.strip() else None
        try:
            found = _decoded(line[len(_PREFIX) :])
            key, value, metadata = found["key"], found["value"], found["metadata"]
            # LoadGen's errors have such keys and are marked; a line of which one was taken away is one still.
            is_error = metadata["is_error"] or str(key).startswith("error_")
            is_warning = metadata.get("is_warning")
            self.pids.add(int(metadata.get("pid", 0)))
            time_ms = float(found.get("time_ms", 0))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return LogError(None, number, f"no complete JSON record: {line[-80:]!r}")
        if line.count('"value": ') > 1 or line.count('"key": ') > 1:
            return LogError(None, number, f"a key or a value twice: {line[:80]!r}")
        if not isinstance(key, str):
            return LogError(None, number, f"key is not text: {key!r}"[:120])
        if is_error:
            self.error_lines += 1
            if len(self.errors) < _KEPT_MESSAGES:
                self.errors.append(LogMessage(key, str(value)[:500], number))
        if is_warning:
            self.warning_lines += 1
            if len(self.warnings) < _KEPT_MESSAGES:
                self.warnings.append(LogMessage(key, str(value)[:500], number))
        if (
            key in self.values
            and self.values[key] != value
            and key.startswith(("result_", "effective_", "requested_", "early_stopping"))
        ):
            self.changed.add(key)
        self.values[key] = value
        self.times_ms[key] = time_ms
        if time_ms < self._latest_ms and not self.backward:
            self.backward = number
        self._latest_ms = max(self._latest_ms, time_ms)
        return None
