"""A finished run scored again by `harness-llm score`: real LoadGen, answers that can be predicted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import Run

from harness_llm.accuracy.reference import Reference
from harness_llm.checkpoint import weights_digest
from harness_llm.datasets.table import SampleTable
from harness_llm.engines.simulated import simulated_answer
from harness_llm.errors import FolderError
from harness_llm.run.score import score_run

SAMPLES, LIMITS = 40, (2, 12)
CONF = "mine.Offline.target_qps = 1000\nmine.Offline.min_duration = 100\n"


def _model(folder: Path) -> Path:
    """A checkpoint of one number, and a tokenizer with a word for each token that the engine makes up."""
    tokenizers = pytest.importorskip("tokenizers")
    folder.mkdir()
    words = {f"w{token}": token for token in range(31_000)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    return folder


def _right_answer(prompt: int) -> str:
    packed = np.array([prompt], "<i4").tobytes()
    return " ".join(f"w{token}" for token in np.frombuffer(simulated_answer(packed, *LIMITS), "<i4"))


def _write_reference(path: Path, run: Path, model: Path, rouge1: float) -> None:
    made = Reference(
        benchmark="mine", model_digest=weights_digest(model),
        dataset_digest=SampleTable.load(run / "samples.npz").digest, dtype="float32", transformers="5",
        torch="2", max_tokens=LIMITS[1], min_tokens=LIMITS[0], samples=SAMPLES, tokens_per_sample=5.0,
        scores={"rouge1": rouge1}, made_by="a test", date="2026-11-27",
    )  # fmt: skip
    path.write_text(made.model_dump_json())


def _score(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness_llm", "score", *map(str, arguments)]
    path = str(Path(__file__).parents[2] / "code")
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)


def test_a_run_is_scored_again_to_the_same_result_and_judged_by_the_gate_of_today(tmp_path: Path) -> None:
    model, data = _model(tmp_path / "model"), tmp_path / "data.jsonl"
    rows = [
        {"token_ids": [100 + index], "reference": _right_answer(100 + index) if index % 4 else "w1 w2"}
        for index in range(SAMPLES)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = Run(
        tmp_path, CONF, llm={"model": str(model)},
        harness={
            "benchmark": "mine", "dataset": "jsonl", "dataset_path": str(data),
            "max_tokens": LIMITS[1], "min_tokens": LIMITS[0], "scenarios": ["Offline"],
            "engine": {"kind": "simulated", "first_token_ms": 20, "concurrent": 8},
            "tests": ["performance", "accuracy"],
        },
    )  # fmt: skip
    try:
        code, errors = run.complete()
        assert code == 0, errors + run.out
    finally:
        run.end()
    files = [run.output / "Offline/accuracy" / name for name in ("accuracy.txt", "accuracy.json")]
    first = [file.read_text() for file in files]
    assert "'rouge1': 75," in first[0], "three of four answers are word for word the reference"
    for file in files:
        file.unlink()
    again = _score(run.output)
    assert again.returncode == 0, again.stderr
    assert "Offline/accuracy: rouge1 75.00" in again.stdout
    assert "Offline/performance: nothing to score" in again.stdout
    assert [file.read_text() for file in files] == first

    config, reference = run.output / "config/Offline.yaml", tmp_path / "reference.json"
    config.write_text(config.read_text().replace("reference: null", f"reference: {reference}"))
    for rouge1, verdict in ((75.0, True), (76.0, False)):
        _write_reference(reference, run.output, model, rouge1)
        (judged,) = score_run(run.output, ["Offline/accuracy"])
        assert judged.passed is verdict
        assert run.json("Offline/accuracy/accuracy.json")["passed"] is verdict

    judged_by_gate = _score(run.output, "--test", "Offline/accuracy", "--json")
    assert judged_by_gate.returncode == 1, judged_by_gate.stderr
    assert json.loads(judged_by_gate.stdout)["tests"]["Offline/accuracy"]["passed"] is False
    with pytest.raises(FolderError, match="simulated"):
        score_run(run.output, output=data)
