"""The toolkit that FlashInfer is given; docs/containers.md says what it compiled with real packages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness_llm.engines import cuda_compiler
from harness_llm.engines.cuda_compiler import (
    as_toolkit,
    packages,
    provide_compiler,
    require_compiler,
    toolkit,
)
from harness_llm.errors import ConfigError

FLASHINFER = {"attention_backend": "FlashInfer"}


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without a toolkit, and without pip's packages."""
    monkeypatch.setattr(cuda_compiler, "_USUAL", tmp_path / "usual")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cuda_compiler, "_SCRIPTS", tmp_path / "scripts")
    for name in ("CUDA_HOME", "CUDA_PATH", "CXX"):
        monkeypatch.delenv(name, raising=False)


def _toolkit(folder: Path) -> Path:
    nvcc = folder / "bin/nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text("#!/bin/sh\necho this is nvcc\n")
    nvcc.chmod(0o755)
    return folder


def _packages(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As pip lays them out: libraries in lib, by their soname alone."""
    found = _toolkit(site / "nvidia/cu13")
    (found / "include").mkdir()
    (found / "lib").mkdir()
    for name in ("libcudart.so.13", "libcudart_static.a"):
        (found / "lib" / name).write_text(name)
    spec = SimpleNamespace(submodule_search_locations=[str(site / "nvidia")])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec if name == "nvidia" else None)
    return found


def test_a_toolkit_is_looked_for_where_flashinfer_looks(tmp_path: Path) -> None:
    assert toolkit(os.environ) is None
    usual = _toolkit(tmp_path / "usual")
    assert toolkit({"PATH": "/nowhere"}) == usual
    on_path, named = _toolkit(tmp_path / "on_path"), _toolkit(tmp_path / "named")
    assert toolkit({"PATH": str(on_path / "bin")}) == on_path
    assert toolkit({"PATH": str(on_path / "bin"), "CUDA_PATH": str(named)}) == named
    assert toolkit({"CUDA_HOME": str(tmp_path), "CUDA_PATH": str(named)}) is None


def _program(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def test_flashinfer_without_what_compiles_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (FLASHINFER, {"attention_config": {"backend": "FLASHINFER"}}):
        with pytest.raises(ConfigError, match=r"no CUDA compiler \(nvcc\), no C\+\+ compiler, no ninja\n"):
            require_compiler(arguments, os.environ)
    with pytest.raises(ConfigError, match=rf"no CUDA compiler \(nvcc\) in {tmp_path}, no"):
        require_compiler(FLASHINFER, {**os.environ, "CUDA_HOME": str(tmp_path)})
    for arguments in ({}, {"attention_backend": "FLASH_ATTN"}, {"attention_config": None}):
        require_compiler(arguments, os.environ)
    _packages(tmp_path / "site", monkeypatch)
    _program(tmp_path / "bin", "c++")
    with pytest.raises(ConfigError, match="this host has no ninja\n"):
        require_compiler(FLASHINFER, os.environ)
    _program(tmp_path / "scripts", "ninja")
    require_compiler(FLASHINFER, os.environ)
    with pytest.raises(ConfigError, match=rf"no CUDA compiler \(nvcc\) in {tmp_path}\n"):
        require_compiler(FLASHINFER, {**os.environ, "CUDA_PATH": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"this host has no C\+\+ compiler\n"):
        require_compiler(FLASHINFER, {**os.environ, "CXX": "g++-99"})


def test_flashinfers_compiled_kernels_need_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: {"flashinfer_jit_cache": name}.get(name))
    require_compiler(FLASHINFER, os.environ)


def test_pips_packages_become_a_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _packages(tmp_path / "site", monkeypatch)
    assert packages() == found
    driver = tmp_path / "libcuda.so.1"
    folder = tmp_path / "toolkit"
    for _ in range(2):  # the second replica finds it as it is
        assert as_toolkit(found, folder, driver) == folder
    assert {str(it.relative_to(folder)) for it in folder.rglob("*") if it.is_symlink()} == {
        "bin", "include", "nvvm", "lib64/libcudart.so", "lib64/libcudart.so.13", "lib64/libcudart_static.a",
        "lib64/stubs/libcuda.so",
    }  # fmt: skip
    assert subprocess.check_output([folder / "bin/nvcc"], text=True, env={}) == "this is nvcc\n"
    assert (folder / "lib64/libcudart.so").read_text() == "libcudart.so.13"
    assert (folder / "lib64/stubs/libcuda.so").readlink() == driver
    moved = _toolkit(tmp_path / "elsewhere")
    (moved / "lib").mkdir()
    as_toolkit(moved, folder, None)
    assert (folder / "bin").readlink() == moved / "bin"


def test_an_engine_is_given_pips_packages_only_where_there_is_no_toolkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_compiler, "_driver", lambda: None)
    provide_compiler()
    assert "CUDA_HOME" not in os.environ
    _packages(tmp_path / "site", monkeypatch)
    usual = _toolkit(tmp_path / "usual")
    provide_compiler()
    assert "CUDA_HOME" not in os.environ
    (usual / "bin/nvcc").unlink()
    monkeypatch.setenv("CUDA_HOME", "/chosen/by/the/user")
    provide_compiler()
    assert os.environ["CUDA_HOME"] == "/chosen/by/the/user"
    monkeypatch.setenv("CUDA_HOME", "")
    provide_compiler()
    home = Path(os.environ["CUDA_HOME"])
    assert home.parent == tmp_path / "cache/harness-llm" and toolkit(os.environ) == home
    assert os.environ["PATH"].endswith(f":{tmp_path / 'scripts'}"), "where pip puts ninja"
