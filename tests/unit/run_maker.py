"""Makes run folders, trees and the git checkout that the runs are said to come from."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import yaml
from golden.run_folder import write_test

from harness_llm import rules
from harness_llm.core import EventStatus
from harness_llm.package import package
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.paths import EVENTS_NPY, RUN_JSON

SCORES = {"rouge1": 44.5, "rouge2": 22.1, "rougeL": 28.7, "rougeLsum": 42.0}
FULL_SYSTEM = {
    "status": "available",
    "system_type": "datacenter",
    "host_processor_model_name": "AMD EPYC 9575F",
    "host_processors_per_node": "2",
    "host_processor_core_count": "64",
    "host_memory_capacity": "1 TiB",
    "host_memory_configuration": "DDR5",
    "host_storage_capacity": "1 TB",
    "host_storage_type": "NVMe SSD",
    "host_networking": "Ethernet",
    "host_networking_topology": "N/A",
    "host_network_card_count": "1",
    "cooling": "air",
    "framework": "vLLM",
    "operating_system": "Linux",
    "other_software_stack": "none",
}


def mllog(**values: object) -> str:
    lines = []
    for key, value in values.items():
        metadata = {"is_error": key == "error_runtime", "is_warning": False, "pid": 1}
        lines.append(":::MLLOG " + json.dumps({"key": key, "value": value, "metadata": metadata}))
    return "\n".join(lines) + "\n"


def _two_answers(folder: Path, tokens: int) -> dict[str, object]:
    """Events of two answers that took 2 s, and what LoadGen's log says of them."""
    rows = np.zeros(2, EVENT_DTYPE)
    rows["issued_ns"] = 10**9
    rows["first_token_ns"] = 2 * 10**9
    rows["finished_ns"] = 3 * 10**9
    rows["tokens"] = tokens // 2, tokens - tokens // 2
    rows["status"] = EventStatus.FINISHED
    np.save(folder / EVENTS_NPY, rows)
    return {
        "generated_samples_per_query": 2,
        "result_query_count": 2,
        "result_max_latency_ns": 2 * 10**9,
        "result_completed_samples_per_sec": 0.5,
    }


class Maker:
    """Makes run folders, trees and the git checkout that the runs are said to come from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repository = path / "repository"
        self.repository.mkdir()
        self.git("init", "-q")
        (self.repository / "code").mkdir()
        (self.repository / "code" / "a.py").write_text("x = 1\n")
        (self.repository / "link.py").symlink_to("code/a.py")
        self.git("add", "-A")
        self.git("commit", "-qm", "first")
        self.commit = self.git("rev-parse", "HEAD")
        self.system = path / "system.yaml"
        self.system.write_text(yaml.safe_dump({"system": FULL_SYSTEM}))

    def git(self, *arguments: str) -> str:
        identity = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run([*identity, *arguments], cwd=self.repository, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def run(
        self,
        name: str = "run",
        *,
        benchmark: str = "llama2-70b-99.9",
        scenarios: tuple[str, ...] = ("Offline", "Server", "Interactive"),
        samples: int = 24576,
        round: str = "v6.1",
        detail: dict[str, object] | None = None,
        config: dict[str, object] | None = None,
        **changes: object,
    ) -> Path:
        folder = self.path / name
        for scenario in scenarios:
            for kind in ("performance", "accuracy", "TEST06"):
                self._test(folder / scenario / kind, round, detail or {})
            accuracy = folder / scenario / "accuracy"
            record = {"metric": "rouge", "scores": SCORES, "gates": {"rouge1": 44.3868}, "passed": True}
            (accuracy / "accuracy.json").write_text(
                json.dumps({**record, "tokens_per_sample": 294.4, "samples": samples})
            )
            shown = ", ".join(f"'{key}': np.float64({value})" for key, value in SCORES.items())
            (accuracy / "accuracy.txt").write_text(
                f"{{{shown}, 'gen_len': 29615930, 'tokens_per_sample': 294.45}}\n"
            )
            (folder / "config").mkdir(exist_ok=True)
            written = {
                "llm_config": config or {"model": "/model/llama2", "dtype": "bfloat16"},
                "harness_config": {},
            }
            (folder / "config" / f"{scenario}.yaml").write_text(yaml.safe_dump(written))
        tests = [
            f"{scenario}/{kind}" for scenario in scenarios for kind in ("performance", "accuracy", "TEST06")
        ]
        run = {
            "format": 2,
            "benchmark": benchmark,
            "official": rules.is_official(benchmark),
            "simulated": False,
            "state": "complete",
            "started_utc": "2026-01-01T00:00:00Z",
            "command": ["harness-llm", "run", "--config", "a file.yaml"],
            "git": {"commit": self.commit, "dirty": False, "changed": []},
            "packages": {"vllm": "0.25.1"},
            "host": {},
            "accelerators": [],
            "tests": tests,
            "dataset": {"name": "openorca", "samples": samples, "digest": "d" * 64},
        }
        (folder / RUN_JSON).write_text(json.dumps({**run, **changes}))
        return folder

    def _test(self, folder: Path, round: str, detail: dict[str, object]) -> None:
        folder.mkdir(parents=True)
        write_test(folder, folder.parent.name, loadgen_model="llama2-70b", samples=24576)
        (folder / "user.conf").write_text("llama2-70b.Server.target_qps = 41\n")
        (folder / "mlperf_log_summary.txt").write_text("Result is : VALID\n")
        seeds = {f"effective_{key}": value for key, value in rules.round_seeds(round).as_settings().items()}
        values = {
            **seeds,
            "result_validity": "VALID",
            "result_completed_tokens_per_second": 1234.5,
            "result_first_token_99.00_percentile_latency_ns": 1500000000,
            "result_time_per_output_token_99.00_percentile_ns": 90000000,
            "num_errors": 0,
        }
        rate = float(str(detail.get("result_completed_tokens_per_second", 1234.5)))
        values |= _two_answers(folder, int(2 * rate))
        (folder / "mlperf_log_detail.txt").write_text(mllog(**{**values, **detail}))
        (folder / "mlperf_log_accuracy.json").write_text("[\n" + "x" * 20000 + "\n]\n")
        if folder.name == "TEST06":
            passing = "First token check pass: True\nEOS check pass: True\nSample length check pass: True\n"
            (folder / "verify_accuracy.txt").write_text(passing + "TEST06 verification complete\n")

    def package(self, run: Path, **options: object):
        given = {"company": "Org", "system_name": "8xGPU", "output": self.path / "out"}
        return package(run, **{**given, "repository": self.repository, "system_yaml": self.system, **options})


def files(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
