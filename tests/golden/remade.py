"""LoadGen's logs for any benchmark and round: a recorded log, each figure made again from made-up events.

Form, order and wording are those of real LoadGen; settings are the round's. Times follow from the
round's seed, a rate and made-up latencies within the limits, and results from these as loadgen/results.cc
makes them. No number is a result.
"""

from __future__ import annotations

import json
import lzma
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from golden.recorded import LOGS

from harness_llm import rules
from harness_llm.compliance import AUDIT_TESTS
from harness_llm.core import EventStatus, Mode, Scenario
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.draws import Draw, issued_samples, loaded_order
from harness_llm.logs.schedule import arrivals_ns
from harness_llm.logs.source import ACCURACY_LOG, DETAIL_LOG, SUMMARY_LOG
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.paths import EVENTS_NPY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PREFIX = ":::MLLOG "
_SECONDS = 640  # of a performance run, and a little more than its 600
_PERCENTILES = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
_POWER = "%m-%d-%Y %H:%M:%S.%f"
_FAMILIES = {
    "latency": ("result_{}_latency_ns", "result_{}_percentile_latency_ns"),
    "ttft": ("result_first_token_{}_latency_ns", "result_first_token_{}_percentile_latency_ns"),
    "tpot": ("result_time_to_output_token_{}", "result_time_per_output_token_{}_percentile_ns"),
}
_SUMMARY = {
    "Samples per second": "result_samples_per_second",
    "Tokens per second": "result_tokens_per_second",
    "Completed samples per second": "result_completed_samples_per_sec",
    "Completed tokens per second": "result_completed_tokens_per_second",
    "Scheduled samples per second": "result_scheduled_samples_per_sec",
    "ttft_latency (ns)": "requested_server_ttft_latency",
    "tpot_latency (ns)": "requested_server_tpot_latency",
    "min_duration (ms)": "effective_min_duration_ms",
    "max_duration (ms)": "effective_max_duration_ms",
    "performance_sample_count": "effective_performance_sample_count",
    "accuracy_sample_count": "effective_accuracy_sample_count",
}  # fmt: skip


@dataclass(frozen=True)
class Remade:
    """One test of one result.

    Attributes:
        known: The rules of the benchmark in its round.
        scenario: The scenario.
        test: `performance`, `accuracy`, or a compliance test.
        tokens: Tokens of every answer.
    """

    known: rules.BenchmarkRules
    scenario: Scenario
    test: str
    tokens: int

    @property
    def _own(self) -> int:
        """A number of its own for each run, so that no two measure the same times."""
        return crc32(f"{self.known.name} {self.scenario} {self.test}".encode())

    @property
    def samples(self) -> int:
        """Samples of its data set."""
        counts = self.known.samples
        if self.test == "accuracy":
            return counts.accuracy
        return self.audit["min_query_count"] if self.test == "TEST07" else counts.performance

    @property
    def answers(self) -> int:
        """Samples that are asked."""
        return self.audit.get("min_query_count", self.samples)

    @property
    def audit(self) -> dict[str, int]:
        """Settings of a compliance test."""
        return AUDIT_TESTS[self.test].row.audit if self.test in AUDIT_TESTS else {}

    @property
    def qps(self) -> float:
        """The rate of user.conf: so that one copy of the data set takes longer than 600 s."""
        tenth_more = 1.1 if self._is_offline else 1  # which LoadGen asks of Offline
        return float(f"{self.known.samples.performance / _SECONDS / tenth_more:.4g}")

    @property
    def user_conf(self) -> str:
        """A user.conf with this rate alone, as prepare completes it."""
        name = f"{self.known.loadgen_model(self.scenario)}.{self.scenario.loadgen_name}"
        least = self._least
        added = f"{name}.min_query_count = {least}\n" if least != self.known.samples.offline_queries else ""
        return f"{name}.target_qps = {self.qps:g}\n" + (added if self._is_offline else "")

    @property
    def _is_offline(self) -> bool:
        return self.scenario is Scenario.OFFLINE

    @property
    def _least(self) -> int:
        return self.audit.get("min_query_count", self.known.samples.offline_minimum)

    def write(self, folder: Path) -> None:
        """Write detail log, summary, answers and user.conf."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = self._rows()
        (folder / DETAIL_LOG).write_text("\n".join(_PREFIX + json.dumps(row) for row in rows) + "\n")
        (folder / SUMMARY_LOG).write_text(self._summary({row["key"]: row["value"] for row in rows}))
        (folder / "user.conf").write_text(self.user_conf)
        draw = Draw.of_log(DetailLog.read(folder / DETAIL_LOG))
        assert draw is not None
        samples = next(issued_samples(draw))
        np.save(folder / EVENTS_NPY, self._events(samples))
        if self.test != "performance":
            (folder / ACCURACY_LOG).write_text(self._answers(samples))

    @property
    def _recorded(self) -> Path:
        suffix = {"performance": "", "accuracy": "-accuracy"}.get(self.test, "-test06")
        return LOGS / f"llama2-{self.scenario.lower()}{suffix}"

    def _rows(self) -> list[dict[str, Any]]:
        text = lzma.decompress((self._recorded / f"{DETAIL_LOG}.xz").read_bytes()).decode()
        rows = [json.loads(line.removeprefix(_PREFIX)) for line in text.splitlines()]
        begin = next(row["value"] for row in rows if row["key"] == "power_begin")
        end = datetime.strptime(begin, _POWER) + timedelta(seconds=self.end_ns / 1e9)
        values = self._settings | self._results | {"power_end": end.strftime(_POWER)[:-3]}
        closing = False
        for row in rows:
            closing = closing or row["key"].startswith("logger_swap")
            row["value"] = values.get(row["key"], row["value"])
            later = 1 + self._own / 2**33
            row["time_ms"] = self.end_ns / 1e6 + 200 if closing else round(row["time_ms"] * later, 6)
        return rows

    @cached_property
    def _settings(self) -> dict[str, Any]:
        known, counts, audit = self.known, self.known.samples, self.audit
        own_accuracy = counts.accuracy if counts.accuracy != counts.performance else 0
        duration, spq = (0, self.answers) if audit else (600_000, 1)
        least = audit.get("min_query_count", 100)
        override = self.samples if self.test == "TEST07" else counts.performance
        both: dict[str, Any] = dict(known.seeds.as_settings())
        both |= {key: value for key, value in audit.items() if key.startswith("accuracy_log")}
        both |= {
            "min_duration_ms": duration,
            "performance_issue_unique": bool(audit.get("performance_issue_unique")),
        }
        both["sample_concatenate_permutation"] = not audit
        if not audit and self._is_offline:
            spq = max(self._least, int(1.1 * 600 * self.qps))
        found = {f"{side}_{key}": value for key, value in both.items() for side in ("requested", "effective")}
        found |= {
            "qsl_reported_total_count": self.samples, "qsl_reported_performance_count": override,
            "requested_min_query_count": self._least if self._is_offline else least,
            "requested_performance_sample_count_override": override,
            "requested_accuracy_sample_count_override": own_accuracy,
            "effective_performance_sample_count": override,
            "effective_accuracy_sample_count": own_accuracy or counts.accuracy,
            "effective_target_duration_ms": 0 if self._is_offline else duration,
            "effective_target_qps": self.qps, "requested_server_target_qps": self.qps,
            "requested_offline_expected_qps": self.qps,
            "effective_samples_per_query": spq if self._is_offline else 1,
            "generated_samples_per_query": self.answers if self._is_offline else 1,
            "generated_query_count": 1 if self._is_offline else self.answers,
            "loaded_qsl_set": list(loaded_order(known.seeds.qsl, self.samples)),
        }  # fmt: skip
        if self._is_offline:
            return found | {
                "effective_min_sample_count": spq,
                "generated_query_duration": int(1e9 / self.qps),
            }
        limits = known.latency[self.scenario]
        return found | {
            "effective_min_query_count": least, "effective_min_sample_count": least,
            "requested_server_ttft_latency": limits.ttft_ns, "requested_server_tpot_latency": limits.tpot_ns,
            "generated_query_duration": int(self._arrivals[-1]),
        }  # fmt: skip

    @cached_property
    def _arrivals(self) -> Any:
        """When each query is due, and the one after the last, ns."""
        return arrivals_ns(self.known.seeds.schedule, self.qps, self.answers + 1)

    @cached_property
    def _latencies(self) -> dict[str, Any]:
        """Of every query or Offline sample, ns."""
        count, draw = self.answers, np.random.default_rng(self._own)
        if self._is_offline:
            seconds = (_SECONDS if not self.audit else 5) * draw.uniform(1, 1.01)
            return {"latency": np.linspace(seconds * 1e9 / count, seconds * 1e9, count).astype(np.int64)}
        limits = self.known.latency[self.scenario]
        ttft = (limits.ttft_ns * draw.uniform(0.30, 0.32, count)).astype(np.int64)
        tpot = (limits.tpot_ns * draw.uniform(0.50, 0.51, count)).astype(np.int64)
        return {"latency": ttft + tpot * (self.tokens - 1), "ttft": ttft, "tpot": tpot}

    @cached_property
    def end_ns(self) -> int:
        """When the last answer ended."""
        latency = self._latencies["latency"]
        return int(latency.max() if self._is_offline else (self._arrivals[:-1] + latency).max())

    @cached_property
    def _results(self) -> dict[str, Any]:
        if self.test == "accuracy":
            return {}
        found: dict[str, Any] = {"num_errors": 0}
        for family, values in self._latencies.items():
            ends, percentile = _FAMILIES[family]
            ordered = np.sort(values)
            found |= {ends.format("min"): int(ordered[0]), ends.format("max"): int(ordered[-1])}
            found[ends.format("mean")] = int(ordered.sum()) // len(ordered)
            for name in _PERCENTILES:
                found[percentile.format(name)] = int(ordered[int(len(ordered) * (float(name) / 100))])
        count = self.answers
        if self._is_offline:
            rate = count / (self.end_ns / 1e9)
            return found | {
                "result_query_count": 1, "result_samples_per_second": _six(rate),
                "result_tokens_per_second": _six(rate * self.tokens),
            }  # fmt: skip
        last = int(self._arrivals[-2])
        done = (last + int(self._latencies["latency"][-1])) / 1e9
        scheduled = (count - 1) / (last / 1e9)
        return found | {
            "result_query_count": count, "result_overlatency_query_count": count,
            "result_scheduled_samples_per_sec": _six(scheduled),
            "result_completed_samples_per_sec": _six((count - 1) / done),
            "result_completed_tokens_per_second": _six(count * self.tokens / done),
            "result_token_throughput_with_loadgen_overhead": _six(scheduled * self.tokens),
            "result_token_throughput": _six(self.tokens / found["result_mean_latency_ns"]),
        }  # fmt: skip

    def _summary(self, values: dict[str, Any]) -> str:
        text = lzma.decompress((self._recorded / f"{SUMMARY_LOG}.xz").read_bytes()).decode()
        names = {**_SUMMARY}
        for key in (
            "samples_per_query",
            "target_qps",
            "min_query_count",
            *rules.round_seeds("v6.1").as_settings(),
            "accuracy_log_rng_seed",
            "accuracy_log_sampling_target",
            "performance_issue_unique",
        ):
            names[key] = f"effective_{key}"
        said = {"latency": "", "first token latency": "ttft", "time to output token": "tpot"}
        heads = {"latency": "latency", "First Token latency": "ttft", "Time per Output Token": "tpot"}
        for label, family in said.items():
            for name in _PERCENTILES:
                names[f"{name} percentile {label} (ns)"] = _FAMILIES[family or "latency"][1].format(name)
        for label, family in heads.items():
            for end in ("Min", "Max", "Mean"):
                names[f"{end} {label} (ns)"] = _FAMILIES[family][0].format(end.lower())

        def again(line: str) -> str:
            label, colon, _ = line.rpartition(":")
            key = names.get(label.strip())
            if not colon or key not in values:
                return line
            value = values[key]
            rounded = f"{value:.2f}" if "ompleted" in label or "Scheduled" in label else f"{value:g}"
            return f"{label}: {rounded if isinstance(value, float) else int(value)}"

        return "\n".join(again(line) for line in re.split("\n", text))

    def _events(self, samples: Sequence[int]) -> Any:
        """What the harness notes of these times, by a clock of its own."""
        latencies, start = self._latencies, 10**9
        due = np.zeros(self.answers, np.int64) if self._is_offline else self._arrivals[:-1]
        events = np.zeros(self.answers, EVENT_DTYPE)
        events["sample"], events["tokens"], events["prompt_tokens"] = samples, self.tokens, 3
        events["issued_ns"], events["finished_ns"] = start + due, start + due + latencies["latency"]
        first = latencies.get("ttft", latencies["latency"] // 2)
        events["first_token_ns"], events["status"] = start + due + first, EventStatus.FINISHED
        return events

    def _answers(self, samples: Sequence[int]) -> str:
        rest = "".join(_hexadecimal(100 + (self._own + at) % 900) for at in range(1, self.tokens))

        def row(number: int, sample: int) -> str:
            first = _hexadecimal(100 + sample)
            reported = "" if self._is_offline else f', "token_data" : "{first}"'
            told = f'"data" : "{first}{rest}"{reported}, "token_count" : {self.tokens} }}'
            return f'{{ "seq_id" : {number}, "qsl_idx" : {sample}, {told}'

        return "[\n" + ",\n".join(row(*one) for one in enumerate(samples)) + "\n]\n"

    @property
    def mode(self) -> Mode:
        """LoadGen's mode."""
        return Mode.ACCURACY if self.test == "accuracy" else Mode.PERFORMANCE


def _six(number: float) -> float:
    """As LoadGen writes a double: six digits."""
    return float(f"{number:.6g}")


def _hexadecimal(token: int) -> str:
    """A token id as an accuracy log has it."""
    return token.to_bytes(4, "little").hex().upper()
