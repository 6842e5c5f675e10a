"""The scripts of studies/tenants, as their original's README names them, on a host without a GPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HERE = ROOT / "studies" / "tenants"
WRITTEN = shutil.ignore_patterns("data", "plots", "out", "*.egg-info")
NSYS = """\
#!/bin/sh
printf '%s\\n' "$*" >>"$NSYS_SAID"
case "$1 $2" in
    "profile --gpu-metrics-devices=all") exit "$NSYS_REFUSES" ;;
    profile*) for word; do case $word in --output=*) : >"${word#--output=}.nsys-rep" ;; esac; done ;;
    stats*) echo '[]' ;;
esac
"""


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """A copy of the folder beside the source that it uses, so that nothing is written into the repository."""
    (tmp_path / "code").symlink_to(ROOT / "code")
    shutil.copytree(HERE, tmp_path / "studies" / "tenants", ignore=WRITTEN)
    return tmp_path / "studies" / "tenants"


def _run(folder: Path, *command: str, code: int = 0, **variables: str) -> str:
    path = variables.pop("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=250,
        env={**os.environ, "PATH": path, **variables},
    )  # fmt: skip
    assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.long
def test_every_command_of_the_original_ends_well(door: Path) -> None:
    said = _run(door, "./scripts/bench_all_solo.sh", "--only", "solo_distil*")
    assert "note: no GPU: --device cpu --scale tiny" in said
    assert (
        said.count(": done, ") == 2
        and "tiny shapes" in (door / "data/solo_distilBERT/asked.json").read_text()
    )
    said = _run(door, "./scripts/bench_all_multitenants.sh", "--only", "distilbert_gpt2", "--matrix", "solo")
    folder = door / "data" / "distilbert_gpt2"
    given = door / "configs" / "multitenant" / "distilbert_gpt2.yaml"
    assert (folder / "config.yaml").read_text() == given.read_text()
    for name in ("distilbert", "distilgpt2"):
        lines = [json.loads(line) for line in (folder / name / "events.jsonl").read_text().splitlines()]
        measured = [it for it in lines if it["type"] == "iteration" and it["phase"] == "measured"]
        assert len(measured) == 100 and all(it["tokens"] == 8 * 128 for it in measured)
    _run(door, "./scripts/bench_all_multitenants.sh", "--only", "distilbert_gpt2")
    kept = [path.name for path in (door / "data").glob("distilbert_gpt2*")]
    assert len(kept) == 2, "results of before are kept"
    for what in ("configs/multitenant/distilbert_gpt2.yaml", "data/distilbert_gpt2"):
        said = _run(door, sys.executable, "scripts/analyze.py", what)
        assert "tokens/s" in said
    assert (door / "plots" / "distilbert_gpt2" / "throughput.png").exists()
    code = "from multitenant import _; print(len(_.load_experiment('data/distilbert_gpt2')[0].models))"
    assert _run(door, sys.executable, "-c", code, PYTHONPATH=str(door / "src")) == "2\n"


@pytest.mark.long
def test_one_that_breaks_does_not_keep_the_others_from_being_measured(door: Path) -> None:
    (door / "configs" / "solo" / "a_broken.yaml").write_text("experiment_name: broken\n")
    said = _run(door, "./scripts/bench_all_solo.sh", "--only", "[as]*_[bd]*2", code=0)
    assert "solo_distilgpt2: done" in said
    said = _run(door, "./scripts/bench_all_solo.sh", "--only", "a_*", code=3)
    assert "a_broken: FAILED" in said and "single_model" in said


def test_a_mistake_ends_with_one_line(door: Path) -> None:
    assert "no file configs/solo/none.yaml" in _run(
        door, "./scripts/bench_all_solo.sh", "--only", "none", code=2
    )
    profile = ("./scripts/profile_multitenants.sh", "--config", "configs/multitenant/3_llama.yaml")
    said = _run(door, *profile, code=2, PATH="/usr/bin:/bin")
    assert said.splitlines()[-1].startswith("error: nsys is not on PATH; scripts/nsys_setup.sh")
    assert "usage" in _run(door, "./scripts/profile_multitenants.sh", code=2)
    assert "nope.yaml: no such file" in _run(door, *profile[:2], "nope.yaml", code=2)
    for option in ("--only", "--device"):
        said = _run(door, "./scripts/bench_all_solo.sh", option, code=2)
        assert said == f"usage: bench_all_solo.sh [...] {option} VALUE\n"
    assert "no file configs/solo/zzz" in _run(door, "./scripts/profile_all_solo.sh", "--only", "zzz", code=2)
    for package, words in (("a.zip", "neither .deb nor .rpm"), ("nope.deb", "nope.deb: no such file")):
        told = {"NSYS_PREFIX": str(door / "nsight")}
        assert words in _run(door, "./scripts/nsys_setup.sh", package, code=2, **told)
    assert not (door / "nsight").exists()
    assert "absent.yaml: no such file" in _run(
        door, sys.executable, "scripts/analyze.py", "absent.yaml", code=2
    )
    said = _run(door, sys.executable, "scripts/analyze.py", "configs/solo/solo_llama.yaml", code=2)
    assert "has no trial of a tenants study" in said and "Traceback" not in said


def test_the_setup_is_the_project_s_own(door: Path, tmp_path: Path) -> None:
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / "environment.sh").write_text(
        'prepare_environment() { echo prepared; return "$CODE"; }'
    )
    assert "prepared\nready: ./scripts/bench_all_solo.sh" in _run(door, "./scripts/pip_setup.sh", CODE="0")
    assert "ready" not in _run(door, "./scripts/pip_setup.sh", code=2, CODE="2")


@pytest.mark.parametrize("refuses", ["0", "1"])
def test_profiles_are_taken_with_the_flags_that_are_needed(door: Path, tmp_path: Path, refuses: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nsys").write_text(NSYS)
    (tmp_path / "bin" / "nsys").chmod(0o755)
    told = {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}/usr/bin:/bin", "NSYS_SAID": str(tmp_path / "said"),
        "NSYS_REFUSES": refuses,
    }  # fmt: skip
    said = _run(door, "./scripts/profile_all_multitenants.sh", "--only", "3_llama", **told)
    assert ("without them" in said) == (refuses == "1")
    _, asked = (tmp_path / "said").read_text().splitlines()
    out = door / "out" / "nsys" / "3_llama" / "3_llama"
    for flag in ("--trace=cuda,nvtx,osrt", "--trace-fork-before-exec=true", "--cuda-graph-trace=node",
                 f"--output={out}"):  # fmt: skip
        assert f" {flag} " in asked
    assert ("--gpu-metrics-devices=all" in asked) == (refuses == "0") and "sudo" not in asked
    _run(door, "./scripts/nsys_extract_stats.sh", str(out.parent), **told)
    found = {path.name for path in out.parent.glob("*.json")}
    assert found == {"gpu_kernel.json", "cuda_api.json", "nvtx.json", "osrt.json"}


def test_one_file_or_all_solo_ones_are_profiled(door: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nsys").write_text(NSYS)
    (tmp_path / "bin" / "nsys").chmod(0o755)
    told = {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}/usr/bin:/bin", "NSYS_SAID": str(tmp_path / "said"),
        "NSYS_REFUSES": "1",
    }  # fmt: skip
    _run(door, "./scripts/profile_all_solo.sh", **told)
    config = "configs/multitenant/3_llama.yaml"
    _run(door, "./scripts/profile_multitenants.sh", "--config", config, "--out", "mine/three", **told)
    asked = [line for line in (tmp_path / "said").read_text().splitlines() if "--trace" in line]
    assert len(asked) == 5 + 1 and f"--output={door}/mine/three " in asked[-1]
    assert {path.name for path in (door / "out" / "nsys").iterdir()} == {
        "solo_RoBERTa", "solo_distilBERT", "solo_distilgpt2_b8_128", "solo_llama", "solo_mistral7b",
    }  # fmt: skip


def test_what_the_original_installs_from_is_there() -> None:
    environment = yaml.safe_load((HERE / "environment.yml").read_text())
    assert environment["name"] == "mps-multitenant"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert environment["dependencies"][-1]["pip"] == ["-r requirements.txt"]
    for folder, device in ((HERE, "cuda"), (HERE.parent / "power", "cpu")):
        last = (folder / "requirements.txt").read_text().splitlines()[-1]
        assert last == f"../..[{device},report]" and {device, "report"} <= extras.keys()
        assert (folder / "../..").resolve() == ROOT
    scripts = [path for path in (HERE / "scripts").iterdir() if path.is_file()]
    assert len(scripts) == 10 and all(os.access(path, os.X_OK) for path in scripts), "chmod +x changes none"


def test_help_says_what_a_script_does_and_runs_nothing(door: Path) -> None:
    scripts = sorted((door / "scripts").glob("[!c]*.sh"))
    assert len(scripts) == 8
    for script in scripts:
        said = _run(door, str(script), "--help")
        assert said == script.read_text().splitlines()[1].removeprefix("# ") + "\n"


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb")
def test_a_package_of_nsight_is_unpacked_without_root(door: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    for path, text in (
        ("DEBIAN/control", "Package: nsight\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"),
        ("opt/nvidia/nsight-systems/2026.1/bin/nsys", "#!/bin/sh\n"),
    ):
        (package / path).parent.mkdir(parents=True)
        (package / path).write_text(text)
    (package / "opt/nvidia/nsight-systems/2026.1/bin/nsys").chmod(0o755)
    subprocess.run(["dpkg-deb", "--build", package, tmp_path / "n.deb"], check=True, capture_output=True)
    said = _run(door, "./scripts/nsys_setup.sh", str(tmp_path / "n.deb"), NSYS_PREFIX=str(tmp_path / "to"))
    assert f'export PATH="{tmp_path}/to/opt/nvidia/nsight-systems/2026.1/bin:$PATH"' in said
