"""An engine whose parameters the search is not told, in a time that only counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness_llm.engines.simulated_steps import Batching, Steps
from harness_llm.logs.schedule import arrivals_ns
from harness_llm.tune.batching import StepLimits
from harness_llm.tune.future import Future
from harness_llm.tune.search import Tried
from harness_llm.tune.seen_run import Floats, Integers, Observed

OFFICIAL = {"schedule_rng_seed": 16159082839903944936, "qsl_rng_seed": 2085463073848966840,
            "sample_index_rng_seed": 2747215439041700203}  # fmt: skip


def future(samples: int, *, ttft_ms: int, tpot_ms: int, seconds: float, least: int = 100) -> Future:
    """A Server test of an official benchmark's kind."""
    settings = {
        **OFFICIAL, "min_query_count": least, "min_duration_ms": int(seconds * 1000),
        "performance_sample_count_override": 0, "sample_concatenate_permutation": True,
        "performance_issue_unique": False, "ttft_latency": ttft_ms * 10**6, "tpot_latency": tpot_ms * 10**6,
    }  # fmt: skip
    return Future(settings, samples)


@dataclass
class Hidden:
    """Engines behind the search's seam; each try costs time that is counted."""

    future: Future
    batching: Batching
    prompts: Integers
    answers: Integers
    replicas: int = 1
    concurrent: int = 256
    others: float = 0.0
    seed: int = 0
    spent_s: float = 0.0
    tries: int = 0

    @property
    def limits(self) -> StepLimits:
        kv, block = self.batching.kv_tokens or np.inf, 16 if self.batching.kv_tokens else 1
        return StepLimits(self.concurrent, self.batching.step_tokens, kv, block, self.batching.graphs)

    def answer(self, qps: float, count: int, seed: int, until: float = np.inf) -> Observed:
        """A run of so many queries."""
        due, sample = arrivals_ns(self.future.seed, qps, count) / 1e9, self.future.order(count)
        batching = [
            self.batching.model_copy(update={"seed": 1000 * seed + number}) for number in range(self.replicas)
        ]
        steps = [Steps(one, self.concurrent) for one in batching]
        first, finish = np.full(count, np.inf), np.full(count, np.inf)
        replica, tokens = np.zeros(count, np.int64), np.zeros(count, np.int64)
        ready, load, now, at = [np.inf] * self.replicas, [0] * self.replicas, 0.0, 0
        ended: list[tuple[list[int], list[int]]] = [([], [])] * self.replicas
        while True:
            r = int(np.argmin(ready))
            if at < count and due[at] <= ready[r]:
                r = int(np.argmin(load))
                asked, now = int(self.answers[sample[at]]), float(due[at])
                replica[at], tokens[at] = r, steps[r].add(at, int(self.prompts[sample[at]]), asked)
                load[r] += asked + int(self.prompts[sample[at]])
                at += 1
                if ready[r] < np.inf:
                    continue
            else:
                now = ready[r]
                if now == np.inf or now > until:
                    break
                first[ended[r][0]], finish[ended[r][1]] = now, now
                for key in ended[r][1]:
                    load[r] -= int(self.answers[sample[key]] + self.prompts[sample[key]])
            if not steps[r]:
                ready[r], ended[r] = np.inf, ([], [])
                continue
            seconds, *whose = steps[r].step()
            ready[r], ended[r] = now + seconds, (whose[0], whose[1])
        last = float(finish[np.isfinite(finish)].max(initial=0.0))
        return Observed(
            due, first, finish, replica, sample, self.prompts[sample], tokens, min(until, last + 0.01)
        )

    def ask(self, qps: float, kind: str, look: Callable[[Observed], str]) -> Tried:
        """A legal run, looked at every second; given up where it is lost for certain, too."""
        self.tries += 1
        count = self.future.count(qps)
        ramp_s = 30.0 if qps >= 0.5 * self.replicas else 240.0
        ask_until = ramp_s if kind == "ramp" else np.inf
        whole = self.answer(qps, count, self.seed * 100 + self.tries, ask_until)
        end = whole.until if kind == "run" else min(ramp_s, whole.until)
        judged = self.future.judge(whole.ttft, whole.tpot)
        lost = np.inf
        for values, limit, when, count_ in (
            (
                whole.ttft,
                self.future.limits_s[0],
                np.minimum(whole.first, whole.due + self.future.limits_s[0]),
                judged.ttft,
            ),
            (whole.tpot, self.future.limits_s[1], whole.finish, judged.tpot),
        ):
            late = np.sort(when[values > limit])
            if len(late) > count_.allowed >= 0:
                lost = min(lost, float(late[count_.allowed]))
        for now in np.arange(1.0, end, 1.0):
            seen = whole.by(float(now))
            why = "lost for certain" if kind == "run" and now > lost else look(seen)
            if why:
                self.spent_s += float(now)
                return Tried(qps, kind, seen, why, self.others)
        self.spent_s += end
        return Tried(qps, kind, whole, "", self.others)

    def share_valid(self, qps: float, runs: int) -> float:
        """How many of so many whole runs are VALID."""
        count = self.future.count(qps)
        good = 0
        for number in range(runs):
            seen = self.answer(qps, count, 10**6 + number)
            good += self.future.judge(seen.ttft, seen.tpot).is_valid
        return good / runs

    def even_qps(self, around: float, runs: int = 6) -> float:
        """The highest rate at which half of the runs are VALID: by a coarse look, then a fine one."""
        rough = self._even(around * np.arange(0.8, 1.6, 0.06), 2)
        return self._even(rough * np.arange(0.94, 1.07, 0.02), runs)

    def _even(self, rates: Floats, runs: int) -> float:
        share = np.array([self.share_valid(float(rate), runs) for rate in rates])
        falling = np.array([share[place:].max() for place in range(len(share))])
        return float(np.interp(-0.5, -falling, rates))
