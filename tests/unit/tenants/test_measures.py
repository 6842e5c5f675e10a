"""Figures of tenants whose every request takes a known time, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness_llm.core import EventStatus
from harness_llm.driver.issuers import Schedule
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.reading import as_json, write_record
from harness_llm.study.points import TrialRecord
from harness_llm.tenants.measures import jain, percentile
from harness_llm.tenants.tenants_report import read_measured, write_tenants_report
from harness_llm.transport.spec import DriverSpec, DriverTest, write_spec

S = 1_000_000_000
GO = 1000 * S
KEYS = {
    "run_start": {"timestamp", "model_name", "tag", "device", "batch_size", "seq_len", "num_iters",
                  "num_warmup", "config"},
    "iteration": {"iter", "latency_ms"},
    "run_end": {"timestamp", "avg_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "throughput_tokens_per_s",
                "tokens_processed", "num_iters"},
    "time_elapsed": {"sec"},
}  # fmt: skip


class Made:
    """A study folder of two tenants: `a` in batches of 2, by prompt tokens; `b` at a rate, by answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.order = 0
        folder.mkdir()
        seats = {"a": {"model": "distilgpt2", "counts": "prompt"}, "b": {"model": "b", "counts": "answer"}}
        tenants = [{"name": "a", "batch_size": 2, "seq_len": 100, "num_warmup": 1}, {"name": "b"}]
        asked = {"experiment_name": "made", "device": "cpu", "tenants": tenants, "marker": "made up",
                 "seats": seats}  # fmt: skip
        (folder / "asked.json").write_bytes(as_json(asked))

    def trial(self, label: str, number: int, skew_ms: float = 0.0, **took_s: tuple[float, float]) -> None:
        """One trial: of each tenant, seconds of an iteration, and of its whole measured part."""
        path = self.folder / "trials" / f"{label} #{number}"
        loads = {name: self._load(path, name, *how) for name, how in took_s.items()}
        record = TrialRecord(
            label=label, number=number, settings={"tenants": "+".join(took_s), "count": len(took_s)},
            order=self.order, began_s=GO / S - 1, ended_s=GO / S + 60, skew_ms=skew_ms, loads=loads,
        )  # fmt: skip
        self.order += 1
        write_record(path / "trial.json", record)

    def _load(self, path: Path, name: str, each_s: float, seconds: float) -> dict[str, Any]:
        (path / name).mkdir(parents=True)
        count = round(seconds / each_s)
        rows = self._batches(each_s, count + 4) if name == "a" else self._timed(path, each_s, count + 4)
        with (path / name / "events.npy").open("wb") as file:
            np.save(file, rows)
        rule, width = ("groups", 2) if name == "a" else ("timed", 1)
        test = DriverTest(name, "none", str(path / f"{name}.npy"), rule, width, warm_up=2)  # type: ignore[arg-type]
        write_spec(DriverSpec(name, "", [], str(path / name), test), path / name / "spec.json")
        measured = count * width
        return {"warm_up": 2, "measured": measured, "go_ns": GO, "begin_ns": GO, "tail": len(rows)}

    @staticmethod
    def _batches(each_s: float, count: int) -> np.ndarray[Any, np.dtype[np.void]]:
        rows = np.zeros(2 + 2 * count, EVENT_DTYPE)
        begin = (np.arange(count) * each_s * S).astype(np.int64) + GO
        rows["issued_ns"][2:] = np.repeat(begin, 2)
        rows["finished_ns"][2:] = np.repeat(begin + round(each_s * S), 2)
        rows["first_token_ns"] = rows["finished_ns"]
        rows["tokens"], rows["prompt_tokens"], rows["status"] = 1, 100, EventStatus.FINISHED
        return rows

    @staticmethod
    def _timed(path: Path, each_s: float, count: int) -> np.ndarray[Any, np.dtype[np.void]]:
        """Due every `each_s`, issued 1 ms late, first token 10 ms later, then 10 more of 4 ms."""
        rows = np.zeros(2 + count, EVENT_DTYPE)
        due = (np.arange(count) * each_s * S).astype(np.int64)
        at_ns = np.concatenate(([0, 0], due[:-4]))
        Schedule(at_ns, np.zeros(len(at_ns), np.int64)).save(path / "b.npy")
        rows["issued_ns"][2:] = due + GO + S // 1000
        rows["first_token_ns"] = rows["issued_ns"] + S // 100
        rows["finished_ns"] = rows["first_token_ns"] + 10 * S // 250
        rows["tokens"], rows["prompt_tokens"], rows["status"] = 11, 7, EventStatus.FINISHED
        return rows


@pytest.fixture
def made(tmp_path: Path) -> Made:
    study = Made(tmp_path / "study")
    for number in (1, 2):
        study.trial("a", number, a=(0.1, 2.0))
        study.trial("b", number, b=(0.2, 10.0))
        study.trial("all together", number, skew_ms=3.0, a=(0.16, 3.2), b=(0.25, 10.0))
    return study


def test_figures_are_those_of_closed_form(made: Made) -> None:
    _, found, _ = read_measured(made.folder)
    one = next(it for it in found if len(it.tenants) == 2)
    a, b = one.models["a"], one.models["b"]
    assert a["num_iters"] == 20 and b["num_iters"] == 40
    assert a["p50_ms"] == a["p99_ms"] == pytest.approx(160) and a["tpot_p50_ms"] is None
    assert a["throughput_tokens_per_s"] == pytest.approx(200 / 0.16)
    assert b["p50_ms"] == pytest.approx(51) and b["ttft_p99_ms"] == pytest.approx(11)  # from when it was due
    assert b["tpot_p50_ms"] == pytest.approx(4)
    assert b["throughput_tokens_per_s"] == pytest.approx(40 * 11 / (39 * 0.25 + 0.051), rel=0.001)
    end = 39 * 0.25 + 0.051
    assert one.gpu["gpu_tokens_per_s"] == pytest.approx((20 * 200 + 40 * 11) / end, rel=1e-3)
    total = a["throughput_tokens_per_s"] + b["throughput_tokens_per_s"]
    assert one.gpu["sum_of_model_tokens_per_s"] == pytest.approx(total)
    assert one.gpu["gpu_tokens_per_s_overlap"] == pytest.approx(200 / 0.16 + 11 / 0.25, rel=0.01)


def test_what_sharing_costs_is_by_each_alone_in_the_same_trial(made: Made) -> None:
    _, found, _ = read_measured(made.folder)
    one = next(it for it in found if len(it.tenants) == 2)
    a, b = one.models["a"], one.models["b"]
    assert a["slowdown"] == pytest.approx(1.6) and a["progress"] == pytest.approx(1 / 1.6)
    assert b["slowdown"] == pytest.approx(1.0) and b["progress"] == pytest.approx(0.8, rel=0.01)
    assert (a["standing"], b["standing"]) == ("starves", "hogs")
    assert a["slo"] == {"1": 0.0, "1.5": 0.0, "2": 1.0, "3": 1.0, "4": 1.0, "8": 1.0}
    assert one.gpu["system_throughput"] == pytest.approx(a["progress"] + b["progress"])
    assert one.gpu["jain"] == pytest.approx(jain([0.625, 0.8]), rel=0.01)
    assert jain([1, 1, 1]) == pytest.approx(1) and jain([1, 0, 0]) == pytest.approx(1 / 3)
    alone = next(it for it in found if it.tenants == ("a",))
    assert "slowdown" not in alone.models["a"]


def test_a_study_that_was_stopped_is_reported_by_what_it_has(tmp_path: Path) -> None:
    study = Made(tmp_path / "study")
    study.trial("a", 1, a=(0.1, 2.0))
    study.trial("b", 1, b=(0.2, 10.0))
    study.trial("all together", 1, a=(0.16, 3.2), b=(0.25, 10.0))
    study.trial("all together", 2, a=(0.32, 3.2), b=(0.5, 10.0))
    said = " ".join(write_tenants_report(study.folder))
    assert "Together they do the work of 1.42" in said, "of the first trial alone"


@pytest.mark.parametrize(("together_s", "said"), [(0.1, ""), (0.08, "a 1.25 times in all together #1")])
def test_a_tenant_that_is_faster_beside_others_than_alone_is_named(
    tmp_path: Path, together_s: float, said: str
) -> None:
    study = Made(tmp_path / "study")
    study.trial("a", 1, a=(0.1, 2.0))
    study.trial("b", 1, b=(0.2, 10.0))
    study.trial("all together", 1, a=(together_s, 2.0), b=(0.2, 10.0))
    faster = [line for line in write_tenants_report(study.folder) if "than alone" in line]
    assert len(faster) == bool(said) and all(said in line and "b 1" not in line for line in faster)


@pytest.mark.parametrize("asked", [True, False])
def test_a_tenant_of_which_no_request_was_measured_is_named(tmp_path: Path, *, asked: bool) -> None:
    study = Made(tmp_path / "study")
    study.trial("a", 1, a=(0.1, 0.0))
    study.trial("b", 1, b=(0.2, 10.0))
    study.trial("all together", 1, a=(0.16, 0.0), b=(0.25, 10.0))
    if not asked:  # not even after the measured part
        for path in study.folder.glob("trials/*/a/events.npy"):
            np.save(path, np.load(path)[:2])
    said = write_tenants_report(study.folder)
    assert (
        "a: no request was measured in all together #1; its duration_s, or until, was too short for one."
        in said
    )
    assert not any("alone" in line for line in said) and sum(line.startswith("b: ") for line in said) == 1
    trials = json.loads((study.folder / "metrics.json").read_text())["trials"]
    of_a = [it["models"]["a"] for it in trials if "a" in it["models"]]
    assert [(it["num_iters"], it["throughput_tokens_per_s"], it["p50_ms"]) for it in of_a] == [
        (0, 0, None)
    ] * 2


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    values = np.arange(1.0, 101.0)
    assert [percentile(values, share) for share in (0.5, 0.9, 0.99)] == [50, 90, 99]
    assert percentile(np.array([np.nan]), 0.5) is None


def _recomputed(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    own = [it for it in lines if it["type"] == "iteration" and it["phase"] == "measured"]
    latency = sorted(it["latency_ms"] for it in own)
    end = max(it["start_s"] + it["latency_ms"] / 1000 for it in own)
    tokens = sum(it["tokens"] for it in own)
    return {
        "avg_ms": sum(latency) / len(latency),
        **{f"p{q}_ms": latency[-(-q * len(latency) // 100) - 1] for q in (50, 90, 95, 99)},
        "tokens_processed": tokens,
        "throughput_tokens_per_s": tokens / (end - min(it["start_s"] for it in own)),
    }


def test_each_model_has_a_file_with_the_keys_that_are_documented_and_all_that_figures_need(
    made: Made,
) -> None:
    said = write_tenants_report(made.folder)
    metrics = json.loads((made.folder / "metrics.json").read_text())
    together = next(it for it in metrics["trials"] if len(it["tenants"]) == 2 and it["trial"] == 1)
    for name in ("a", "b"):
        lines = [json.loads(line) for line in (made.folder / name / "events.jsonl").read_text().splitlines()]
        assert [it["type"] for it in lines if it["type"] != "iteration"] == [
            "run_start", "run_end", "time_elapsed",
        ]  # fmt: skip
        assert all(KEYS[it["type"]] <= it.keys() for it in lines)
        assert {it["phase"] for it in lines if it["type"] == "iteration"} == {"measured", "tail"}
        for key, value in _recomputed(lines).items():
            assert together["models"][name][key] == pytest.approx(value, rel=1e-9), key
    assert any("starves" in line for line in said)
    assert any("work of 1.42" in line and "of 2" in line for line in said)
    plots = {path.stem for path in (made.folder / "plots").iterdir()}
    assert plots == {"latency", "latency_over_time", "tokens_over_time", "throughput", "slowdown_matrix",
                     "fairness", "slo"}  # fmt: skip
    page = (made.folder / "report.html").read_text()
    assert "made up" in page and len(page) < 1_000_000 and "<script" not in page


def test_a_start_that_was_not_together_is_said(tmp_path: Path) -> None:
    study = Made(tmp_path / "late")
    study.trial("all together", 1, skew_ms=40.0, a=(0.1, 1.0), b=(0.2, 2.0))
    said = " ".join(write_tenants_report(study.folder))
    assert "more than 25 ms after others" in said and "--set matrix=solo" in said
    metrics = json.loads((study.folder / "metrics.json").read_text())
    assert metrics["trials"][0]["reasons"] == ["start_skew"]
