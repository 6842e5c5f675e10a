"""A CUDA compiler for FlashInfer, which compiles its kernels the first time that an engine starts.

FlashInfer looks for a whole toolkit: bin/nvcc below CUDA_HOME, CUDA_PATH, the folder of the nvcc on PATH or
/usr/local/cuda, and beside it lib64 with libcudart.so and stubs/libcuda.so (flashinfer/jit/cpp_ext.py,
get_cuda_path and generate_ninja_build_for_op, 0.6.13). NVIDIA's packages for pip, which vLLM brings, hold the
same compiler in another layout; a folder of links makes a toolkit of them.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness_llm.engines.vllm_arguments import as_read
from harness_llm.errors import ConfigError

CUDA_HOME = "CUDA_HOME"
_NAMED = (CUDA_HOME, "CUDA_PATH")
_USUAL = Path("/usr/local/cuda")
_NVCC = Path("bin/nvcc")
_COMPILED = "flashinfer_jit_cache"  # FlashInfer's package of kernels that are compiled already
_DRIVER = "libcuda.so.1"
_SCRIPTS = Path(sysconfig.get_path("scripts"))  # programs that pip installed beside this Python


def require_compiler(arguments: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    """Refuse FlashInfer's attention where nothing could compile it.

    Args:
        arguments: `llm_config`.
        variables: The environment of the engine.

    Raises:
        ConfigError: `llm_config` asks for FLASHINFER, and this host lacks what compiles its kernels.
    """
    if not _asks_for_flashinfer(arguments) or importlib.util.find_spec(_COMPILED):
        return
    path = variables.get("PATH")
    missing, named = [], _named(variables)
    if not toolkit(variables) and (named or not packages()):
        missing.append(f"CUDA compiler (nvcc){f' in {named}' if named else ''}")
    if not shutil.which(variables.get("CXX") or "c++", path=path):
        missing.append("C++ compiler")
    if not shutil.which("ninja", path=path) and not (_SCRIPTS / "ninja").exists():
        missing.append("ninja")
    if missing:
        raise ConfigError(
            "llm_config.attention_backend: FLASHINFER compiles its kernels when it first starts; this host "
            f"has no {', no '.join(missing)}",
            "Install what is missing and name a CUDA toolkit as CUDA_HOME, or remove attention_backend.",
        )


def provide_compiler() -> None:
    """Let this process and its children find pip's packages, where the host has no toolkit or no ninja."""
    found = packages()
    if found is not None and toolkit(os.environ) is None and not _named(os.environ):
        os.environ[CUDA_HOME] = str(as_toolkit(found, _cache() / _digest(found), _driver()))
    if toolkit(os.environ) is not None and shutil.which("ninja") is None:  # its environment is not activated
        os.environ["PATH"] = os.pathsep.join(filter(None, (os.environ.get("PATH"), str(_SCRIPTS))))


def toolkit(variables: Mapping[str, str]) -> Path | None:
    """The toolkit that FlashInfer would take, if it has a compiler."""
    if named := _named(variables):
        return _with_compiler(Path(named))
    nvcc = shutil.which("nvcc", path=variables.get("PATH"))
    return Path(nvcc).parents[1] if nvcc else _with_compiler(_USUAL)


def packages() -> Path | None:
    """NVIDIA's packages for pip, if a compiler is among them: site-packages/nvidia/cu13."""
    spec = importlib.util.find_spec("nvidia")
    places = spec.submodule_search_locations if spec else None
    found = (_with_compiler(it) for place in places or () for it in sorted(Path(place).glob("cu*")))
    return next((it for it in found if it), None)


def as_toolkit(found: Path, folder: Path, driver: Path | None) -> Path:
    """Make a toolkit of pip's packages, with links alone; the folder is made or brought up to date.

    Args:
        found: See `packages`.
        folder: Where. It must stay the same, as FlashInfer compiles again what was compiled with another one.
        driver: The driver's libcuda, against which kernels are linked.

    Returns:
        The folder.
    """
    (folder / "lib64/stubs").mkdir(parents=True, exist_ok=True)
    links = {name: found / name for name in ("bin", "include", "nvvm")}
    libraries = found / "lib"
    links |= {f"lib64/{it.name}": it for it in libraries.iterdir()}
    links |= {f"lib64/{it.name.partition('.so')[0]}.so": it for it in libraries.glob("lib*.so.*")}
    if driver is not None:
        links["lib64/stubs/libcuda.so"] = driver
    for name, target in links.items():
        _link(folder / name, target)
    return folder


def _link(path: Path, target: Path) -> None:
    """A link, in one step, since other replicas may start at the same time."""
    if path.is_symlink() and path.readlink() == target:
        return
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.symlink_to(target)
    new.replace(path)


def _named(variables: Mapping[str, str]) -> str:
    """The folder that the user names as a toolkit, if any; FlashInfer looks nowhere else then."""
    return next((variables[name] for name in _NAMED if variables.get(name)), "")


def _asks_for_flashinfer(arguments: Mapping[str, Any]) -> bool:
    read = as_read(arguments)
    config = read.get("attention_config")
    asked = (read.get("attention_backend"), config.get("backend") if isinstance(config, dict) else None)
    return any(str(it).upper() == "FLASHINFER" for it in asked)


def _with_compiler(folder: Path) -> Path | None:
    return folder if (folder / _NVCC).exists() else None


def _driver() -> Path | None:
    """The driver's library, as the dynamic linker finds it; None without one, and then no engine starts."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return None
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").split()
    return next((Path(word) for word in maps if Path(word).name.startswith("libcuda.so")), None)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harness-llm"


def _digest(found: Path) -> str:
    return f"cuda-{hashlib.sha256(str(found).encode()).hexdigest()[:12]}"
