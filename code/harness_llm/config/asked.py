"""What a user says of a first configuration, made whole by what this host and a server tell."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness_llm.benchmark import Benchmark, resolve
from harness_llm.checkpoint import Checkpoint
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError, UsageError
from harness_llm.fetch.places import model_root
from harness_llm.system import accelerators

_ASK_SERVER_S = 5.0
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Given:
    """What was typed; the attributes are those of `Answers`, unchecked."""

    model: str | None = None
    benchmark: str | None = None
    servers: tuple[str, ...] = ()
    data: Path | None = None
    scenarios: tuple[str, ...] = ("Server",)
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    rate: float | None = None
    max_tokens: int = 256
    gpu: str | None = None


@dataclass(frozen=True)
class Answers:
    """What the user said.

    Attributes:
        benchmark: What is measured; one of the user's own where it is not official.
        scenarios: A file for each.
        model: Checkpoint folder, or with a server the folder of its tokenizer; None for none.
        data: The prompts; None makes them up.
        servers: URLs of servers that run already; empty starts vLLM.
        served_model: The model as the servers call it; None takes their first.
        ttft_ms: Limit of TTFT at p99; None for the rules', or for none.
        tpot_ms: Limit of TPOT at p99.
        rate: Samples a second to begin with; None measures it where the benchmark is the user's own.
        max_tokens: Longest answer.
        gpu: Which shipped profile of a benchmark, such as `h200` or `cpu`; None takes none.
        has_gpu: Whether this host has one.
        notes: What to tell the user.
    """

    benchmark: Benchmark
    scenarios: tuple[Scenario, ...] = (Scenario.SERVER,)
    model: str | None = None
    data: Path | None = None
    servers: tuple[str, ...] = ()
    served_model: str | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    rate: float | None = None
    max_tokens: int = 256
    gpu: str | None = None
    has_gpu: bool = True
    notes: tuple[str, ...] = ()


def kind_of(what: str) -> dict[str, Any]:
    """The field of `Given` that a word belongs into, with it: a URL, a folder, a hub name, or a benchmark.

    Raises:
        UsageError: It is none of them.
    """
    if re.match(r"https?://", what):
        return {"servers": (what,)}
    if "/" in what or Path(what).is_dir():
        return {"model": what}
    found = resolve(what)
    if found.facts is not None or found.is_official:
        return {"benchmark": what}
    raise UsageError(f"{what}: not a folder, not a URL and not a benchmark that is known here")


def answers_to(given: Given) -> Answers:
    """Everything that a first configuration needs.

    Raises:
        UsageError: What was given contradicts itself.
        ConfigError: The benchmark, or a file, is not there.
        ModelError: The model's folder is not one.
    """
    if given.data is not None and not given.data.exists():
        raise ConfigError(f"--data {given.data}: no such file")
    served, root, problem = _ask_server(given.servers[0]) if given.servers else (None, None, "")
    model = _folder(given.model or root, is_served=bool(given.servers))
    if given.servers and given.data is not None and model is None:
        said = problem and f" ({problem.removeprefix('note: ')})"
        raise UsageError(
            f"--server: prompts of text need its tokenizer here{said}", "Pass its folder with --model."
        )
    benchmark = resolve(given.benchmark or _own_name(given.model or served or "my-server"))
    if model is None and not given.servers and benchmark.facts is None:
        raise UsageError(f"--benchmark {benchmark.name}: no official one, so it needs --model or --server")
    gpus = accelerators.read().accelerators
    return Answers(
        benchmark=benchmark,
        scenarios=tuple(dict.fromkeys(map(_scenario, given.scenarios))),
        model=model,
        data=given.data,
        servers=given.servers,
        served_model=served,
        ttft_ms=given.ttft_ms,
        tpot_ms=given.tpot_ms,
        rate=given.rate,
        max_tokens=given.max_tokens,
        gpu=given.gpu or (_short(gpus[0].name) if gpus else "cpu"),
        has_gpu=bool(gpus) or given.gpu not in (None, "cpu"),
        notes=tuple(filter(None, (problem, benchmark.note, _to_fetch(given.model, model)))),
    )


def _scenario(name: str) -> Scenario:
    try:
        return Scenario(name.capitalize())
    except ValueError:
        raise UsageError(f"--scenario {name}: not known", f"Known are {', '.join(Scenario)}.") from None


def _folder(name: str | None, *, is_served: bool) -> str | None:
    """The checkpoint folder to write; of a name of the hub, where `fetch` puts it."""
    if name is None:
        return None
    folder = Path(name)
    if not folder.is_dir() and _HUB_NAME.fullmatch(name):
        return str(model_root(os.environ) / folder.name)
    Checkpoint(folder).require(weights=not is_served)
    return str(folder.absolute())


def _to_fetch(given: str | None, folder: str | None) -> str:
    missing = given is not None and folder is not None and not Path(folder).is_dir()
    return f"get the model first: harness-llm fetch --model {given}" if missing else ""


def _own_name(name: str) -> str:
    """A benchmark's name, from that of a folder or of a served model."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).name).strip("-._") or "my-model"


def _short(gpu: str) -> str | None:
    """`h200` of `NVIDIA H200 NVL`, as profiles are called; None where no word looks so."""
    return next((word.lower() for word in gpu.split() if re.fullmatch(r"(?i)[a-z]+\d+[a-z]*", word)), None)


def _ask_server(url: str) -> tuple[str | None, str | None, str]:
    """The first model that a server lists, its folder if that is here, and what went wrong."""
    address = f"{url.rstrip('/').removesuffix('/v1')}/v1/models"
    try:
        with urllib.request.urlopen(address, timeout=_ASK_SERVER_S) as reply:
            first = json.load(reply)["data"][0]
            name, root = str(first["id"]), first.get("root")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return (
            None,
            None,
            f"note: {address} does not say what is served ({error}); start the server before a run",
        )
    return name, root if isinstance(root, str) and Path(root, "config.json").is_file() else None, ""
