"""The locks hold what pyproject.toml asks for, and nothing that only works on one network."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
EXTRAS = ("quantize", "docker", "parquet", "report", "test")
LOCKS = {"cpu": ("cpu", *EXTRAS), "cuda": ("cuda", *EXTRAS)}
# What a Python with torch and vLLM for ROCm holds anyway: vLLM itself asks for them.
WITH_VLLM = {"huggingface-hub", "numba", "numpy", "requests", "torch", "transformers", "urllib3"}
# Names of indexes and mirrors; PyTorch's own is named where it is needed, in setup/environment.sh.
PLACES = re.compile(r"https?://|--(extra-)?index-url|--find-links|@ file:")


def pins(name: str) -> dict[str, list[Requirement]]:
    """Every pin of a lock, by name; a name may have several, for different Pythons or machines."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


@pytest.mark.parametrize("name", list(LOCKS))
def test_a_lock_satisfies_pyproject(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(line for extra in LOCKS[name] for line in extras[extra])]
    locked = pins(name)
    assert len(asked) > 10
    for line in asked:
        requirement = Requirement(line)
        found = locked.get(canonicalize_name(requirement.name))
        assert found, f"{line} is in no line of requirements/{name}.txt: run bash requirements/lock.sh"
        for pin in found:
            version = next(iter(pin.specifier)).version
            assert requirement.specifier.contains(Version(version), prereleases=True), f"{pin} against {line}"


def test_a_rocm_host_gets_what_a_run_needs_beside_its_vllm() -> None:
    """Parquet among it, in which MLCommons publishes the samples of gpt-oss-120b."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["parquet"]]
    lines = (ROOT / "requirements" / "rocm.in").read_text().splitlines()
    named = {canonicalize_name(Requirement(line).name) for line in lines if line and not line.startswith("#")}
    assert {canonicalize_name(Requirement(line).name) for line in asked} - named == WITH_VLLM


@pytest.mark.parametrize("name", list(LOCKS))
def test_a_lock_pins_exactly_and_names_no_place(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert not PLACES.search(text)
    for found in pins(name).values():
        for pin in found:
            assert [specifier.operator for specifier in pin.specifier] == ["=="], pin


@pytest.mark.parametrize("name", list(LOCKS))
def test_what_is_left_out_is_not_in_the_lock(name: str) -> None:
    lines = (ROOT / "requirements" / f"excludes_{name}.txt").read_text().splitlines()
    excluded = {canonicalize_name(line) for line in lines if line and not line.startswith("#")}
    assert excluded and not excluded & set(pins(name))


def test_the_cpu_lock_takes_torchs_cpu_build_and_its_setup_finds_the_pin() -> None:
    assert [str(pin) for pin in pins("cpu")["torch"]] == ["torch==2.13.0+cpu"]
    lines = (ROOT / "requirements" / "cpu.txt").read_text().splitlines()
    assert [line for line in lines if re.match(r"torch==[^ ]+$", line)] == ["torch==2.13.0+cpu"]


def test_the_command_that_the_setup_writes_is_the_one_that_pyproject_declares() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert list(scripts) == ["harness-llm"]
    assert "bin/harness-llm" in (ROOT / "setup" / "environment.sh").read_text()
