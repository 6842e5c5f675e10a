"""What is written about a result: marks, measurements, README, documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from golden.run_folder import edit
from run_maker import Maker

from harness_llm.core import Scenario
from harness_llm.errors import FolderError
from harness_llm.package.documents import merge_calibration
from harness_llm.results.paths import FACTS_JSON, replica_folder


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
    write_facts(run, "Offline", model)
    result = maker.package(run)
    assert json.loads((result.results[0] / "measurements.json").read_text())["weight_data_types"] == weights


def write_facts(run: Path, group: str | None, model: dict[str, object]) -> None:
    """What the first replica of a group made of its model arguments."""
    folder = replica_folder(run, group, 0)
    folder.mkdir(parents=True)
    facts = {"name": "vllm", "resolved": {"config": {"model_config": model}}}
    (folder / FACTS_JSON).write_text(json.dumps(facts))


def weights_of(maker: Maker, run: Path) -> list[str]:
    """Type of the weights by measurements.json of each result."""
    results = maker.package(run).results
    return [json.loads((result / "measurements.json").read_text())["weight_data_types"] for result in results]


def test_each_scenario_has_the_facts_of_the_engines_that_answered_it(maker: Maker) -> None:
    run = maker.run(config={"model": "m", "dtype": "auto"})
    for scenario, group in (("Offline", "Offline"), ("Server", "Server-Interactive"), ("Interactive", None)):
        edit(run / scenario / "performance/test.json", engines=group)
    write_facts(run, "Offline", {"quantization": "modelopt"})
    write_facts(run, "Server-Interactive", {"dtype": "torch.float16"})
    assert weights_of(maker, run) == ["fp8", "fp16", "auto"], "nothing of another group stands in"


def test_a_run_of_format_1_has_one_engine_for_all(maker: Maker) -> None:
    run = maker.run(config={"model": "m", "dtype": "auto"}, format=1)
    for path in run.glob("*/*/test.json"):
        record = json.loads(path.read_text())
        del record["engines"]
        path.write_text(json.dumps(record | {"format": 1}))
    write_facts(run, None, {"dtype": "torch.float16"})
    assert weights_of(maker, run) == ["fp16"] * 3
    (run / "replicas/0/facts.json").write_text("{")
    with pytest.raises(FolderError, match="replicas/0/facts.json: not JSON"):
        maker.package(run)


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


def test_only_closed_asks_how_data_gets_to_the_accelerators(maker: Maker) -> None:
    run = maker.run()
    for division, asked in (("open", False), ("closed", True)):
        result = maker.package(run, division=division)
        assert any("bandwidth" in warning for warning in result.warnings) is asked
