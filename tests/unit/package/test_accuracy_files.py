"""accuracy.txt and the cut accuracy log."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from run_maker import Maker

from harness_llm.package.accuracy_files import accuracy_text, copy_truncated


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
