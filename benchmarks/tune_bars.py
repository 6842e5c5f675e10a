"""How near `tune` comes to the best possible rate, on engines whose parameters it is not told.

Each truth is drawn: a roofline, KV cache and padding, steps that vary and drift, pauses, answers that change.
The best possible rate, at which half of the runs are VALID, is found by whole runs of the truth itself.

    python benchmarks/tune_bars.py counted --truths 10    # the search alone; the time of runs only counts
    python benchmarks/tune_bars.py loadgen --truths 3     # the command line with LoadGen; minutes for each
    python benchmarks/tune_bars.py arguments --truths 3   # what `--try` chooses of 30 bounds of a step
    python benchmarks/tune_bars.py honest --truths 10     # what was said to be VALID with p, and was
    python benchmarks/tune_bars.py watched --truths 12    # the same for what views show during a run

docs/benchmarks.md says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "code"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "unit"))

import yaml
from hidden_engine import Hidden, future  # type: ignore[import-not-found] # of the unit tests
from msgspec.structs import replace as replace_record

from harness_llm.datasets.table import SampleTable
from harness_llm.engines.simulated import simulated_answer
from harness_llm.engines.simulated_steps import Batching
from harness_llm.results.events import read_events
from harness_llm.results.latency_bins import binned
from harness_llm.results.live_records import TestState
from harness_llm.results.paths import EVENTS_NPY, SHARED_SAMPLES
from harness_llm.tune.arguments import Combination, choices, next_to_load, reranked
from harness_llm.tune.model import Model
from harness_llm.tune.search import Search, TunedRate
from harness_llm.tune.seen_run import Observed
from harness_llm.views.so_far import TestSoFar

_MODEL = "sim"
_SHARES = (0.06, 0.1, 0.2, 0.33, 0.5, 0.8)
_RATES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 1.0, 1.02, 1.04, 1.08, 1.15)  # of the best
_LEAST_QUERIES = 1024  # of which early stopping lets two be late


@dataclass(frozen=True)
class Truth:
    """An engine and what is asked of it.

    Attributes:
        number: Its draw.
        batching: How it batches.
        concurrent: Requests at once.
        replicas: How many.
        ttft_ms: Limit.
        tpot_ms: Limit.
        seconds: min_duration.
        samples: Of the data set.
    """

    number: int
    batching: Batching
    concurrent: int
    replicas: int
    ttft_ms: int
    tpot_ms: int
    seconds: float
    samples: int

    @classmethod
    def drawn(cls, number: int, seconds: float) -> Truth:
        """One of many."""
        random = np.random.RandomState(100 + number)
        weights = float(random.uniform(10, 40))
        batching = Batching(
            step_tokens=int(random.choice([256, 512, 1024])),
            weights_ms=weights,
            token_ms=float(random.uniform(0.1, 0.4)),
            context_us=float(random.uniform(0, 0.4)),
            host_ms=float(random.uniform(0.5, 3)),
            request_us=float(random.uniform(0, 40)),
            noise=float(random.uniform(0.005, 0.04)),
            drift=float(random.uniform(0, 0.012)),
            pauses_per_s=float(random.choice([0, 1 / 100])),
            pause_ms=200,
            changed_answers=float(random.uniform(0, 0.3)),
            kv_tokens=int(random.choice([0, 6000])) or None,
            graphs=(1, 2, 4, 8, 16, 32, 64, 128) if random.randint(2) else (),
            seed=number,
        )
        tpot = weights + batching.host_ms
        return cls(
            number,
            batching,
            int(random.choice([32, 64, 128])),
            int(random.choice([1, 1, 2])),
            int(random.choice([500, 1000, 2000])),
            int(tpot * random.uniform(1.3, 3)),
            seconds,
            128,
        )

    @property
    def shape(self) -> str:
        """The data set, as `dataset.shape` has it."""
        return f"{self.samples}:20-200:10-60"

    def hidden(self, prompts: Any, answers: Any) -> Hidden:
        """The truth in a time that only counts."""
        limits = {"ttft_ms": self.ttft_ms, "tpot_ms": self.tpot_ms}
        test = future(self.samples, **limits, seconds=self.seconds, least=_LEAST_QUERIES)
        return Hidden(test, self.batching, prompts, answers, self.replicas, self.concurrent, seed=self.number)


def _drawn_lengths(truth: Truth) -> tuple[Any, Any]:
    random = np.random.RandomState(truth.number)
    return random.randint(20, 200, truth.samples), random.randint(10, 60, truth.samples)


def counted(truth: Truth) -> dict[str, Any]:
    """A search against one truth, and what the best would have been."""
    prompts, answers = _drawn_lengths(truth)
    engines = truth.hidden(prompts, answers)
    search = Search(engines, engines.future, prompts, np.full(truth.samples, 64), 0.9, lambda _: None)
    began = time.monotonic()
    found = search.find()
    took = time.monotonic() - began
    even = truth.hidden(prompts, answers).even_qps(found.qps or search.tried[-1].qps)
    legal = float(engines.future.asked(even)[0][-1])
    again = engines.share_valid(found.qps, 8) if found.qps else 0.0
    spent = engines.spent_s / legal
    return {**_compared(found, even), "valid_again": again, "engine_s_by_legal_run": spent, "search_s": took}


def _compared(found: TunedRate, even: float) -> dict[str, Any]:
    row: dict[str, Any] = {"best_qps": even, "tuned": (found.qps or 0) / even, "whole_runs": found.whole_runs,
                           "said_even": found.even_qps / even - 1}  # fmt: skip
    if found.predicted is not None and found.judged is not None:
        for name in ("ttft", "tpot"):
            said, seen = getattr(found.predicted, name).p99_ns, getattr(found.judged, name).p99_ns
            row[f"p99_{name}"] = said / seen - 1
    return row


def by_loadgen(truth: Truth, folder: Path) -> dict[str, Any]:
    """`harness-llm tune` on LoadGen and the simulated engine, which sleeps."""
    lines = [f"{_MODEL}.*.use_token_latencies = 1"] + [
        f"{_MODEL}.Server.{key} = {value}"
        for key, value in {
            "ttft_latency": truth.ttft_ms, "tpot_latency": truth.tpot_ms, "min_query_count": _LEAST_QUERIES,
            "min_duration": int(1000 * truth.seconds), "sample_concatenate_permutation": 1,
        }.items()
    ]  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "user.conf").write_text("\n".join(lines) + "\n")
    engine = {
        "kind": "simulated",
        "concurrent": truth.concurrent,
        "batching": truth.batching.model_dump(mode="json"),
    }
    harness = {"benchmark": _MODEL, "scenario": "Server", "engine": engine, "max_tokens": 64,
               "dataset": {"kind": "synthetic", "shape": truth.shape}, "user_conf": str(folder / "user.conf"),
               "replicas": truth.replicas}  # fmt: skip
    (folder / "tune.yaml").write_text(yaml.safe_dump({"llm_config": {}, "harness_config": harness}))
    output = folder / "tuned"
    command = [sys.executable, "-m", "harness_llm", "tune", "--config", str(folder / "tune.yaml"),
               "--output", str(output), "--view", "plain", "--json"]  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    (folder / "said.txt").write_text(done.stderr)
    if done.returncode not in (0, 1):
        raise SystemExit(f"truth {truth.number}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    table = SampleTable.load(output / "runs" / "result" / SHARED_SAMPLES)
    answers = [
        len(simulated_answer(table.prompt(n).tobytes(), int(table.min_tokens[n]), int(table.max_tokens[n])))
        // 4
        for n in range(len(table))
    ]
    prompts = np.asarray(table.prompt_lengths, np.int64)
    even = truth.hidden(prompts, np.array(answers)).even_qps(found["target_qps"] or 10.0)
    told = found["found"]
    result = output / "runs" / "result"
    ended = [read_events(each / EVENTS_NPY) for each in [*(output / "tries").iterdir(),
                                                        *result.glob("Server/performance")]]  # fmt: skip
    spent_s = sum(float(np.ptp(_times_s(each))) for each in ended if len(each))
    legal_s = float(truth.hidden(prompts, np.array(answers)).future.asked(even)[0][-1])
    row = {
        "best_qps": even,
        "tuned": (found["target_qps"] or 0) / even,
        "whole_runs": told["whole_runs"],
        "said_even": told["even_qps"] / even - 1,
        "loads": len([*result.glob("replicas/*/*/facts.json")]) / truth.replicas,
        "engine_s_by_legal_run": spent_s / legal_s,
        "took_s": took,
    }
    if told["predicted"]:
        for name in ("ttft", "tpot"):
            said, seen = (told[which][name]["p99_ns"] for which in ("predicted", "judged"))
            row[f"p99_{name}"] = said / seen - 1
    return row


def _times_s(events: Any) -> Any:
    """When a query was asked or its answer came, s."""
    times = np.concatenate((events["issued_ns"], events["finished_ns"]))
    return times[times > 0] / 1e9


def _after_one_run(truth: Truth, prompts: Any, answers: Any) -> tuple[Hidden, Model, float]:
    """The truth's engines, what one run of them taught, and the rate of that run."""
    engines = truth.hidden(prompts, answers)
    search = Search(engines, engines.future, prompts, np.full(truth.samples, 64), 0.9, lambda _: None)
    search.probe(search.first_rate())
    return engines, search.model(), search.tried[-1].qps


def arguments(truth: Truth) -> dict[str, Any]:
    """What `tune --try` chooses of 30 bounds of a step, against the best of them by whole runs of the truth.

    As the command does it: the configured bounds give the step times; then, twice, the bounds with the
    highest simulated rate are loaded and the others re-ranked; the highest rate by its own probe wins.
    """
    lengths = _drawn_lengths(truth)
    engines, model, around = _after_one_run(truth, *lengths)
    configured = model.best(engines.future, 0.9, around)
    first, *combined = choices(
        ["max_num_seqs=4,8,16,32,64,128", "max_num_batched_tokens=64,128,256,512,1024"]
    )
    made = reranked(
        [replace_record(first, qps=configured), *combined], model, engines.future, 0.9, configured
    )
    others, loaded = [engines, *(_bounded(truth, one).hidden(*lengths) for one in combined)], [0]
    while (number := next_to_load(made)) is not None:
        search = Search(
            others[number], engines.future, lengths[0], np.full(truth.samples, 64), 0.9, lambda _: None
        )
        search.probe(around)
        model = search.model()
        rate = model.best_or_zero(engines.future, 0.9, around)
        made[number] = replace_record(made[number], qps=rate)
        made = reranked(made, model, engines.future, 0.9, rate)
        loaded.append(number)
    chosen = max(loaded, key=lambda number: made[number].qps or 0.0)
    even = others[chosen].even_qps(made[chosen].qps or around)
    better = [one.even_qps(even) for one in others if one.share_valid(1.01 * even, 2) > 0]
    best = max([even, *better])
    return {"chosen": made[chosen].label, "chosen_by_best": even / best, "best_qps": best,
            "gain": even / engines.even_qps(configured),
            "reloads": len(loaded) - 1 + (chosen != loaded[-1])}  # fmt: skip


def _bounded(truth: Truth, choice: Combination) -> Truth:
    """The truth with other bounds of a step."""
    requests, tokens = map(int, choice.values.values())
    return replace(
        truth, concurrent=requests, batching=truth.batching.model_copy(update={"step_tokens": tokens})
    )


def honest(truth: Truth) -> dict[str, Any]:
    """Whole runs of the truth at rates to which a look at one run gave very different probabilities."""
    engines, model, around = _after_one_run(truth, *_drawn_lengths(truth))
    rates = around * np.arange(0.8, 1.5, 0.02)
    said = np.array([model.p_valid(engines.future, rate) for rate in rates])
    pairs = []
    for number, wanted in enumerate((1.0, 0.9, 0.7, 0.5, 0.3, 0.1)):
        near = int(np.abs(said - wanted).argmin())
        seen = engines.answer(rates[near], engines.future.count(rates[near]), 2 * 10**6 + number)
        pairs.append((float(said[near]), engines.future.judge(seen.ttft, seen.tpot).is_valid))
    sure = [was for p, was in pairs if p >= 0.9]
    return {
        "brier": float(np.mean([(p - was) ** 2 for p, was in pairs])),
        "of_sure_valid": float(np.mean(sure)) if sure else math.nan,
        "sure": len(sure),
        "pairs": " ".join(f"{p:.1f}:{'V' if was else 'I'}" for p, was in pairs),
    }


def watched(truth: Truth) -> dict[str, Any]:
    """What the live view says at some shares of runs at rates around the best, against how they ended."""
    engines = truth.hidden(*_drawn_lengths(truth))
    best = _last_valid(engines)
    row: dict[str, Any] = {}
    apart: dict[float, list[float]] = {share: [] for share in _SHARES}
    valid = []
    for number, rate in enumerate(best * np.repeat(_RATES, 2)):
        seen = engines.answer(rate, engines.future.count(rate), 5000 + number)
        valid.append(engines.future.judge(seen.ttft, seen.tpot).is_valid)
        for share in _SHARES:
            p = _p_valid_at(engines, seen, rate, share)
            if p is not None:
                apart[share].append((p - valid[-1]) ** 2)
    for share, squares in apart.items():
        row[f"brier_at_{share:.0%}"] = float(np.mean(squares)) if squares else math.nan
    return {"valid": float(np.mean(valid)), **row}


def _last_valid(engines: Hidden) -> float:
    """A rate near the highest VALID one, by a run each."""

    def is_valid(rate: float) -> bool:
        seen = engines.answer(rate, engines.future.count(rate), 1)
        return bool(engines.future.judge(seen.ttft, seen.tpot).is_valid)

    high = 0.5
    while is_valid(high):
        high *= 1.5
    low = high / 1.5
    for _ in range(4):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if is_valid(middle) else (low, middle)
    return low


def _p_valid_at(engines: Hidden, seen: Observed, qps: float, share: float) -> float | None:
    """P(VALID) of the live view when a share of the queries is answered."""
    count = len(seen.due)
    until = float(np.sort(seen.finish)[int(share * count)])
    limits = engines.future.limits_s
    allowed = engines.future.judge(seen.ttft, seen.tpot).ttft.allowed
    ttft_ms, tpot_ms = 1000 * limits[0], 1000 * limits[1]
    state = TestState(name="watched", began_at_s=0.0, is_timed=True, target_qps=qps, expected=count,
                      allowed=allowed, ttft_limit_ms=ttft_ms, tpot_limit_ms=tpot_ms)  # fmt: skip
    test, before = TestSoFar(state, 0.0), np.zeros(count, bool)
    for second in np.arange(1.0, until + 1):
        done = seen.finish <= second
        new = done & ~before
        ttft, tpot = (binned(each[new].astype(np.float32).tobytes()) for each in (seen.ttft, seen.tpot))
        over = [
            int((each[done] > limit).sum())
            for each, limit in ((seen.ttft, limits[0]), (seen.tpot, limits[1]))
        ]
        test.take(replace_record(state, done=int(done.sum()), ttft=ttft, tpot=tpot,
                                 ttft_over=over[0], tpot_over=over[1]), float(second))  # fmt: skip
        before = done
    return test.p_valid


def _line(row: dict[str, Any]) -> str:
    return "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
    )


_COUNTED = {"counted": counted, "arguments": arguments, "honest": honest, "watched": watched}


def main() -> None:
    """Print a line for each truth, and the median and the worst of each figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("how", choices=("counted", "loadgen", "arguments", "honest", "watched"))
    parser.add_argument("--truths", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="number of the first truth")
    parser.add_argument("--seconds", type=float, default=60.0, help="min_duration")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.first, given.first + given.truths):
            truth = Truth.drawn(number, given.seconds)
            if given.how == "loadgen":
                row = by_loadgen(truth, Path(folder) / str(number))
            else:
                row = _COUNTED[given.how](truth)
            rows.append(row)
            print(f"truth {number}: {_line(row)}", flush=True)  # noqa: T201
    for key in rows[0]:
        values = np.array(
            [row.get(key, math.nan) for row in rows if not isinstance(row.get(key), str)], float
        )
        if values.size:
            low, middle, high = np.nanquantile(values, (0, 0.5, 1))
            mean = np.nanmean(values)
            print(f"{key}: mean {mean:.4g}, median {middle:.4g}, from {low:.4g} to {high:.4g}")  # noqa: T201


if __name__ == "__main__":
    main()
