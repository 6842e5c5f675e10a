"""`harness-llm convert`: what is written and said of one file, of several, and of one that cannot be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


def _theirs(folder: Path, name: str, scenario: str = "server") -> Path:
    path = folder / name
    sections = {
        "benchmark_name": "llama2-70b",
        "scenario": scenario,
        "vllm_engine_config": {"model": "/model/x", "num_scheduler_steps": 9},
        "vllm_sampling_config": {"temperature": 0, "max_tokens": 1024, "min_tokens": 2},
        "harness_config": {
            "dataset_path": "/data/open_orca.pkl",
            "user_conf_path": str(folder / "user.conf"),
        },
    }
    path.write_text(yaml.safe_dump(sections))
    return path


def test_every_file_is_written_and_each_note_said_once(command: Command, tmp_path: Path) -> None:
    (tmp_path / "user.conf").write_text("")
    server, offline = _theirs(tmp_path, "s.yaml"), _theirs(tmp_path, "o.yaml", "offline")
    code, out, err = command("convert", server, offline, "--output", tmp_path / "new")
    assert (code, err) == (0, "")
    assert (tmp_path / "new" / "s.yaml").exists() and (tmp_path / "new" / "o.yaml").exists()
    assert out.count("num_scheduler_steps: gone from vLLM") == 1
    assert f"next: harness-llm prepare -c {tmp_path}/new/s.yaml -c {tmp_path}/new/o.yaml" in out


def test_what_exists_is_kept_unless_told_and_the_source_always(command: Command, tmp_path: Path) -> None:
    theirs = _theirs(tmp_path, "s.yaml")
    before = theirs.read_text()
    assert command("convert", theirs, "--output", tmp_path, "--replace")[0] == 2
    assert theirs.read_text() == before
    assert command("convert", theirs, "--output", tmp_path / "new")[0] == 0
    code, _, err = command("convert", theirs, "--output", tmp_path / "new")
    assert code == 2
    assert "exists" in err and "--replace" in err
    assert command("convert", theirs, "--output", tmp_path / "new", "--replace")[0] == 0


def test_one_that_cannot_be_converted_does_not_keep_the_others_back(command: Command, tmp_path: Path) -> None:
    good, bad = _theirs(tmp_path, "s.yaml"), _theirs(tmp_path, "bad.yaml", "MISSING")
    code, out, err = command("convert", bad, good, "--output", tmp_path / "new", "--json")
    assert code == 2
    assert "bad.yaml: scenario: without a value" in err
    document = json.loads(out)
    assert list(document["converted"]) == [str(tmp_path / "new" / "s.yaml")]
    assert len(document["failed"]) == 1


def test_what_is_written_but_not_good_yet_is_said(command: Command, tmp_path: Path) -> None:
    theirs = _theirs(tmp_path, "s.yaml")
    theirs.write_text(theirs.read_text().replace("max_tokens: 1024", "max_tokens: many"))
    code, _, err = command("convert", theirs, "--output", tmp_path / "new")
    assert code == 2
    assert "written, but not yet good" in err and "max_tokens" in err
