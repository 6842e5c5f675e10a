import hashlib
import json
import multiprocessing
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from harness_llm import rules
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError, FolderError, HostError
from harness_llm.package import package
from harness_llm.package.accuracy_files import accuracy_text, copy_truncated
from harness_llm.package.documents import merge_calibration
from harness_llm.package.staging import edit_tree

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
        run = {
            "format": 1,
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
            "dataset": {"name": "openorca", "samples": samples, "digest": "d" * 64},
        }
        (folder / "run.json").write_text(json.dumps({**run, **changes}))
        return folder

    def _test(self, folder: Path, round: str, detail: dict[str, object]) -> None:
        folder.mkdir(parents=True)
        record = {"format": 1, "state": "complete", "loadgen_model": "llama2-70b", "samples": 24576}
        (folder / "test.json").write_text(json.dumps(record))
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
        (folder / "mlperf_log_detail.txt").write_text(mllog(**{**values, **detail}))
        (folder / "mlperf_log_accuracy.json").write_text("[\n" + "x" * 20000 + "\n]\n")
        if folder.name == "TEST06":
            passing = "First token check pass: True\nEOS check pass: True\nSample length check pass: True\n"
            (folder / "verify_accuracy.txt").write_text(passing + "TEST06 verification complete\n")

    def package(self, run: Path, **options: object):
        given = {"company": "Org", "system_name": "8xGPU", "output": self.path / "out"}
        return package(run, **{**given, "repository": self.repository, "system_yaml": self.system, **options})


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def files(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


SCENARIO_V6 = {
    "README.md",
    "TEST06/accuracy/mlperf_log_accuracy.json",
    "TEST06/performance/run_1/mlperf_log_detail.txt",
    "TEST06/performance/run_1/mlperf_log_summary.txt",
    "TEST06/verify_accuracy.txt",
    "accuracy/accuracy.txt",
    "accuracy/mlperf_log_accuracy.json",
    "accuracy/mlperf_log_detail.txt",
    "accuracy/mlperf_log_summary.txt",
    "measurements.json",
    "performance/run_1/mlperf_log_detail.txt",
    "performance/run_1/mlperf_log_summary.txt",
    "user.conf",
}


@pytest.mark.parametrize("round", ["v6.0", "v6.1"])
def test_the_closed_tree_of_v6(maker: Maker, round: str) -> None:
    result = maker.package(maker.run(round=round), division="closed", round=round)
    assert result.tree == maker.path / "out" / f"inference_results_{round}"
    (warning,) = result.warnings
    assert "bandwidth.md" in warning and "--documentation" in warning
    assert result.marks == ()
    base = "results/8xGPU/llama2-70b-99.9"
    scenarios = {f"{base}/{scenario}/{name}" for scenario in Scenario for name in SCENARIO_V6}
    source = f"src/llama2-70b-99.9/harness_llm-{maker.commit[:12]}/code/a.py"
    expected = scenarios | {source, "systems/8xGPU.json", "documentation/calibration.md"}
    assert set(files(result.tree / "closed" / "Org")) == expected
    assert [path.name for path in (maker.path / "out").iterdir()] == [result.tree.name]


def test_the_closed_tree_of_v5_1(maker: Maker) -> None:
    result = maker.package(maker.run(round="v5.1"), division="closed", round="v5.1")
    found = set(files(result.tree / "closed" / "Org"))
    below = "8xGPU/llama2-70b-99.9/Interactive"
    assert {
        f"measurements/{below}/8xGPU_harness_llm_Interactive.json",
        f"measurements/{below}/user.conf",
        f"measurements/{below}/README.md",
        f"compliance/{below}/TEST06/verify_accuracy.txt",
        f"results/{below}/accuracy/accuracy.txt",
        f"code/llama2-70b-99.9/harness_llm-{maker.commit[:12]}/code/a.py",
    } <= found
    assert not any(name.startswith("src/") or name.endswith("measurements.json") for name in found)


def test_interactive_was_a_benchmark_of_its_own_in_v5_0(maker: Maker) -> None:
    result = maker.package(maker.run(round="v5.0"), division="closed", round="v5.0")
    assert [str(path.relative_to(result.tree)) for path in result.results] == [
        "closed/Org/results/8xGPU/llama2-70b-99.9/Offline",
        "closed/Org/results/8xGPU/llama2-70b-99.9/Server",
        "closed/Org/results/8xGPU/llama2-70b-interactive-99.9/Server",
    ]


def test_accuracy_files_are_what_the_checker_reads(maker: Maker) -> None:
    run = maker.run(scenarios=("Offline", "Server"))
    result = maker.package(run, division="closed")
    folder = result.results[0] / "accuracy"
    text = (folder / "accuracy.txt").read_text()
    assert "np.float64" not in text
    for name, value in {
        "rouge1": 44.5,
        "rougeLsum": 42.0,
        "gen_len": 29615930.0,
        "tokens_per_sample": 294.4,
    }.items():
        match = re.search(rf"'{name}':\s([\d.]+)[,}}]", text)
        assert match and float(match[1]) == value
    log = run / "Offline/accuracy/mlperf_log_accuracy.json"
    assert f"\nhash={hashlib.sha256(log.read_bytes()).hexdigest()}\n" in text
    assert (folder / "mlperf_log_accuracy.json").stat().st_size == 2 * 4096 + len("\n\n...\n\n")


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8192, 10000])
def test_truncation_keeps_both_ends(tmp_path: Path, size: int) -> None:
    content = (b"0123456789" * 1000)[:size]
    log, cut = tmp_path / "log", tmp_path / "cut"
    log.write_bytes(content)
    assert copy_truncated(log, cut) == hashlib.sha256(content).hexdigest()
    expected = content if size < 4096 else content[:4096] + b"\n\n...\n\n" + content[-4096:]
    assert cut.read_bytes() == expected


def test_no_number_has_an_exponent() -> None:
    assert accuracy_text({"rouge1": 0.00001, "gen_len": 29615930.0}, ("a note",)) == (
        "# a note\n{'rouge1': 0.00001, 'gen_len': 29615930}\n"
    )


def test_a_merge_keeps_what_was_there(maker: Maker) -> None:
    first = maker.package(maker.run("a", scenarios=("Offline",)), division="closed")
    assert first.warnings and "Server or Interactive" in first.warnings[0]
    before = files(first.tree)
    maker.package(maker.run("b", scenarios=("Server",)), division="closed")
    maker.package(maker.run("c"), division="closed", system_name="4xGPU")
    after = files(first.tree)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"closed/Org/documentation/calibration.md"}
    assert "4xGPU" in (first.tree / "closed/Org/documentation/calibration.md").read_text()
    assert len(list((first.tree / "closed/Org/systems").iterdir())) == 2


def test_another_result_is_replaced_only_on_request(maker: Maker) -> None:
    tree = maker.package(maker.run("a"), division="closed").tree
    before = files(tree)
    run = maker.run("b", detail={"result_completed_tokens_per_second": 99.0})
    with pytest.raises(FolderError, match="--replace"):
        maker.package(run, division="closed")
    assert files(tree) == before
    maker.package(run, division="closed", replace=True)
    assert (
        "| 99 tokens/s |" in (tree / "closed/Org/results/8xGPU/llama2-70b-99.9/Server/README.md").read_text()
    )


def test_replacing_leaves_nothing_of_the_old_result(maker: Maker) -> None:
    tree = maker.package(maker.run("a"), division="open").tree
    run = maker.run("b")
    for scenario in Scenario:
        shutil.rmtree(run / scenario / "TEST06")
    maker.package(run, replace=True)
    assert not [name for name in files(tree) if "TEST06" in name]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"simulated": True}, "simulated"),
        ({"official": False}, "data set"),
        ({"state": "broken", "reason": "replica 3 died"}, "replica 3 died"),
        ({"state": "interrupted"}, "interrupted"),
        ({"samples": 100}, "100 samples"),
        ({"dataset": {"name": "synthetic", "samples": 24576, "digest": "d"}}, "synthetic"),
        ({"detail": {"result_validity": "INVALID"}}, "INVALID"),
        ({"detail": {"error_runtime": "n_tokens argument missing"}}, "n_tokens argument missing"),
        ({"detail": {"effective_schedule_rng_seed": 7}}, "schedule_rng_seed"),
        ({"round": "v6.0"}, "those of v6.0, not of v6.1"),
        ({"config": {"model": "m", "quantization": "fp8"}}, "calibration.md"),
        ({"format": 2}, "format"),
        ({"command": "harness-llm run"}, "command"),
        ({"git": {"commit": "0" * 40, "dirty": False}}, "commit 0000"),
    ],
)
def test_closed_refuses(maker: Maker, changes: dict[str, object], words: str) -> None:
    run = maker.run(**changes)
    with pytest.raises(FolderError) as caught:
        maker.package(run, division="closed")
    assert words in str(caught.value)
    assert not (maker.path / "out" / "inference_results_v6.1").exists()


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("Server/accuracy/accuracy.json", "remove"),
        ("Server/accuracy/mlperf_log_accuracy.json", "remove"),
        ("Server/performance/user.conf", "empty"),
        ("Server/performance/mlperf_log_detail.txt", "link"),
        ("Server/TEST06/verify_accuracy.txt", "fail"),
        ("Server/TEST06", "remove"),
        ("Server/accuracy/accuracy.txt", "other"),
        ("Server/accuracy/accuracy.txt", "remove"),
        ("Server/performance/test.json", "other"),
        ("run.json", "other"),
        ("config/Server.yaml", "other"),
    ],
)
def test_closed_refuses_a_damaged_run(maker: Maker, path: str, action: str) -> None:
    run = maker.run()
    target = run / path
    if action == "remove":
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    elif action == "link":
        target.rename(target.with_suffix(".moved"))
        target.symlink_to(target.with_suffix(".moved"))
    else:
        target.write_text(
            {"empty": "", "fail": "TEST06 verification failed\n", "other": "{'rouge1': 44.9"}[action]
        )
    with pytest.raises(FolderError) as caught:
        maker.package(run, division="closed")
    assert path.split("/")[-1] in str(caught.value)
    assert not (maker.path / "out" / "inference_results_v6.1").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"round": "v7.0"}, "v6.1"),
        ({"division": "network"}, "closed or open"),
        ({"company": "../Org"}, "company"),
        ({"company": ""}, "company"),
        ({"system_name": "a/b"}, "system name"),
        ({"system_name": ".hidden"}, "system name"),
        ({"benchmark": "llama3.1-8b"}, "other settings"),
        ({"benchmark": "llama2-70b-99"}, "v5.0, v5.1, v6.0"),
        ({"benchmark": "llama2-70b"}, "Did you mean llama2-70b-99.9?"),
        ({"maps_to": "llama3.1-8b"}, "is official"),
        ({"system_yaml": None}, "host_processor_model_name is empty"),
    ],
)
def test_wrong_usage_is_named(maker: Maker, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        maker.package(maker.run(), **{"division": "closed", **options})
    assert words in str(caught.value)
    assert not (maker.path / "out" / "inference_results_v6.1").exists()


def test_a_run_may_be_submitted_at_its_other_accuracy_level(maker: Maker) -> None:
    run = maker.run(benchmark="llama2-70b-99.9", round="v6.0")
    result = maker.package(run, division="closed", round="v6.0", benchmark="llama2-70b-99")
    assert result.results[0].parent.name == "llama2-70b-99"


def test_an_unofficial_benchmark_is_marked_beside_every_number(maker: Maker) -> None:
    run = maker.run(benchmark="smollm2-135m", samples=164, scenarios=("Offline", "Server"))
    result = maker.package(run, system_yaml=None)
    assert "unofficial" in result.marks[0] and "NoResults" in result.warnings[0]
    organization = result.tree / "open" / "Org"
    readme = (result.results[1] / "README.md").read_text()
    rows = [line for line in readme.splitlines() if re.match(r"\| (?!figure|package|vllm).*\d", line)]
    assert len(rows) >= 6 and all("unofficial" in row for row in rows)
    for name in ("systems/8xGPU.json", "model_mapping.json", "documentation/calibration.md"):
        assert "unofficial" in (organization / name).read_text(), name
    for name in ("measurements.json", "accuracy/accuracy.txt", "TEST06/verify_accuracy.txt"):
        assert "unofficial" in (result.results[0] / name).read_text(), name
    assert list(json.loads((organization / "model_mapping.json").read_text())) == ["notice"]


def test_an_own_model_maps_only_to_a_data_set_it_answered(maker: Maker) -> None:
    own = maker.run("own", benchmark="my-model", scenarios=("Offline",))
    result = maker.package(own, maps_to="llama2-70b-99.9")
    mapping = json.loads((result.tree / "open/Org/model_mapping.json").read_text())
    assert mapping["my-model"] == "llama2-70b-99.9"
    part = maker.run("part", benchmark="my-part", samples=164, scenarios=("Offline",))
    with pytest.raises(ConfigError, match="164"):
        maker.package(part, maps_to="llama2-70b-99.9")
    with pytest.raises(ConfigError, match="Did you mean llama2-70b-99.9"):
        maker.package(own, maps_to="llama2-70b-999")
    maker.package(part)
    assert (
        json.loads((result.tree / "open/Org/model_mapping.json").read_text())["my-model"] == "llama2-70b-99.9"
    )


def test_a_simulated_run_is_marked_in_every_file_that_is_written(maker: Maker) -> None:
    run = maker.run(simulated=True, dataset={"name": "synthetic", "samples": 24576, "digest": "d"})
    for scenario in Scenario:
        (run / scenario / "accuracy" / "accuracy.json").unlink()
        (run / scenario / "accuracy" / "accuracy.txt").unlink()
    result = maker.package(run)
    copied = re.compile(r"mlperf_log_|/src/")
    written = [path for path in result.tree.rglob("*") if path.is_file() and not copied.search(str(path))]
    assert len(written) == 3 * (5 + 4) + 2
    logs = {path.parent for path in result.tree.rglob("mlperf_log_*")}
    assert len(logs) == 3 * 4 and all((folder / "NOTICE.txt").is_file() for folder in logs)
    for path in written:
        assert "simulated, not a result" in path.read_text(), path
    conf = (result.results[0] / "user.conf").read_text()
    assert conf.endswith((run / "Offline" / "performance" / "user.conf").read_text())
    text = (result.results[0] / "accuracy" / "accuracy.txt").read_text()
    assert "not scored" in text and "hash=" in text and "rouge" not in text


def test_a_dirty_work_tree_is_named(maker: Maker) -> None:
    git = {"commit": maker.commit, "dirty": True, "changed": [f"code/{n}.py" for n in range(30)]}
    result = maker.package(maker.run(git=git), division="closed")
    assert any("changes that are not in commit" in warning for warning in result.warnings)
    readme = (result.results[0] / "README.md").read_text()
    assert "changes that are not in this commit" in readme and "`code/0.py`" in readme and "10 more" in readme
    assert "harness-llm run --config 'a file.yaml'" in readme


def test_the_source_is_the_commit_that_ran_not_the_files_of_today(maker: Maker) -> None:
    run = maker.run()
    (maker.repository / "code" / "a.py").write_text("x = 2\n")
    maker.git("commit", "-qam", "second")
    (maker.repository / "code" / "a.py").write_text("x = 3\n")
    result = maker.package(run, division="closed")
    (source,) = (result.tree / "closed/Org/src").rglob("a.py")
    assert source.read_text() == "x = 1\n"
    assert not [path for path in result.tree.rglob("*") if path.is_symlink()]


def test_without_git_the_files_of_today_are_taken_and_said_so(maker: Maker) -> None:
    (maker.repository / "code" / "harness_llm").mkdir()
    (maker.repository / "code" / "harness_llm" / "b.py").write_text("")
    run = maker.run(git={"commit": None, "dirty": None})
    result = maker.package(run)
    assert any("outside of a git checkout" in warning for warning in result.warnings)
    names = {path.name for path in (result.tree / "open/Org/src").rglob("*") if path.is_file()}
    assert {"a.py", "b.py"} <= names and not any(".git" in str(path) for path in result.tree.rglob("*"))
    assert "not made from a git checkout" in (result.results[0] / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "weights", "transformations"),
    [
        ({"model": "/model/x/", "dtype": "bfloat16"}, "bf16", "none"),
        ({"model": "/model/x", "quantization": "fp8"}, "fp8", "quantization (fp8)"),
        ({"model": "/model/x", "quantization": "modelopt_fp4"}, "fp4", "quantization (modelopt_fp4)"),
    ],
)
def test_measurements_follow_the_configuration(
    maker: Maker, arguments, weights: str, transformations: str
) -> None:
    result = maker.package(maker.run(config=arguments, scenarios=("Offline",)))
    found = json.loads((result.results[0] / "measurements.json").read_text())
    assert (found["weight_data_types"], found["weight_transformations"]) == (weights, transformations)
    assert found["starting_weights_filename"] == "x" and all(found.values())


@pytest.mark.parametrize(("quantization", "weights"), [("modelopt", "fp8"), (None, "bf16")])
def test_what_vllm_resolved_wins_over_what_was_written(
    maker: Maker, quantization: str | None, weights: str
) -> None:
    run = maker.run(config={"model": "m", "dtype": "auto"}, scenarios=("Offline",))
    model = {"quantization": quantization, "dtype": "torch.bfloat16"}
    (run / "replicas" / "0").mkdir(parents=True)
    facts = {"name": "vllm", "resolved": {"config": {"model_config": model}}}
    (run / "replicas" / "0" / "facts.json").write_text(json.dumps(facts))
    result = maker.package(run)
    assert json.loads((result.results[0] / "measurements.json").read_text())["weight_data_types"] == weights


def test_a_test_that_was_set_aside_is_left_out(maker: Maker) -> None:
    run = maker.run()
    aside = run / "Server" / "TEST06.broken-1"
    shutil.copytree(run / "Server" / "TEST06", aside)
    (aside / "test.json").write_text('{"format": 1, "state": "broken"}')
    result = maker.package(run, division="closed")
    assert not [name for name in files(result.tree) if "broken" in name]


def test_documentation_is_copied_and_calibration_wins(maker: Maker) -> None:
    extra = maker.path / "extra"
    extra.mkdir()
    (extra / "calibration.md").write_text("Per-tensor FP8.\n")
    (extra / "bandwidth.md").write_text("PCIe\n")
    run = maker.run(config={"model": "m", "quantization": "fp8"})
    result = maker.package(run, division="closed", documentation=extra)
    assert result.warnings == ()
    target = result.tree / "closed/Org/documentation"
    assert "Per-tensor FP8." in (target / "calibration.md").read_text()
    assert (target / "bandwidth.md").read_text() == "PCIe\n"


def test_calibration_sections_are_replaced_one_by_one() -> None:
    text = merge_calibration(merge_calibration("", "b/x", "# old\n"), "a/x", "# a\n")
    text = merge_calibration(text, "b/x", "# new\n")
    assert (
        "# a" in text and "# new" in text and "# old" not in text and text.index("# a") < text.index("# new")
    )
    assert merge_calibration(text, "b/x", "# new\n") == text


def test_a_failure_halfway_leaves_the_tree_as_it_was(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    with edit_tree(tree) as stage:
        (stage / "a").write_text("good")
    with pytest.raises(RuntimeError), edit_tree(tree) as stage:
        (stage / "a").write_text("bad")
        raise RuntimeError
    assert (tree / "a").read_text() == "good"
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_a_death_between_the_two_renames_is_repaired(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tmp_path / ".tree.old").mkdir()
    (tmp_path / ".tree.old" / "a").write_text("good")
    with edit_tree(tree) as stage:
        assert (stage / "a").read_text() == "good"
    (tmp_path / ".tree.old").mkdir()
    (tmp_path / ".tree.old" / "a").write_text("stale")
    (tmp_path / ".tree.new").mkdir()
    (tmp_path / ".tree.new" / "b").write_text("half done")
    with edit_tree(tree):
        pass
    assert files(tmp_path) == {"tree/a": hashlib.sha256(b"good").hexdigest()}


def test_a_link_in_the_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "loop").symlink_to(tmp_path / "tree")
    with pytest.raises(FolderError, match="symbolic link"), edit_tree(tmp_path / "tree"):
        pass


def test_an_output_that_is_a_file_is_an_error(maker: Maker) -> None:
    (maker.path / "out").write_text("")
    with pytest.raises(HostError, match="out"):
        maker.package(maker.run())


def _hold(tree: Path, ready, release) -> None:
    with edit_tree(tree):
        ready.set()
        release.wait(30)


def test_two_packagers_cannot_work_on_one_tree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "tree", ready, release))
    process.start()
    try:
        assert ready.wait(30)
        with pytest.raises(FolderError, match="another process"), edit_tree(tmp_path / "tree"):
            pass
    finally:
        release.set()
        process.join(30)
    assert process.exitcode == 0
