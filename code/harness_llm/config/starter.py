"""A first configuration as text: a YAML file for each scenario, and a user.conf, a comment a line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness_llm.benchmark.catalogue import MODELS, all_facts
from harness_llm.checkpoint import Checkpoint
from harness_llm.config.asked import Answers
from harness_llm.core import Mode, Scenario
from harness_llm.files import read_regular
from harness_llm.logs.early_stopping import SHORT_TEST_OVER, min_queries
from harness_llm.system.detect import computes_bfloat16

_COLUMN = 44  # where comments begin
_NO_LIMIT_MS = 60_000  # LoadGen requires one; a limit nobody asked for must not make a run INVALID
_MADE_UP = "200:128:64"
_FIRST_RATE = 1.0
_MEASURED_SHARE = 0.5  # as in models/smollm2-135m/server_cpu.yaml: others may take half of the machine


@dataclass(frozen=True)
class _Line:
    """One line of YAML: its key and value, and what they mean."""

    key: str
    value: object
    comment: str
    depth: int = 1

    def __str__(self) -> str:
        shown = "" if self.value is None else f" {_plain(self.value)}"
        indent = "  " * self.depth
        line = f"{indent}{self.key}:{shown}"
        if len(line) > _COLUMN:
            return f"{indent}# {self.comment}:\n{line}"
        return f"{line:<{_COLUMN}} # {self.comment}"


def _plain(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return text.removesuffix("\n...").removesuffix("...").strip()


def starter_files(answers: Answers, folder: Path) -> dict[Path, str]:
    """The text of every file to write in a folder, by its path; `prepare` accepts them."""
    conf = folder / "user.conf"
    files = {
        folder / f"{scenario.lower()}.yaml": _yaml(answers, scenario, folder, conf)
        for scenario in answers.scenarios
    }
    return {**files, conf: _conf(answers)}


# ---------------------------------------------------------------------- YAML


def _yaml(answers: Answers, scenario: Scenario, folder: Path, conf: Path) -> str:
    name = answers.benchmark.name
    official = (
        "official" if answers.benchmark.is_official else "a benchmark of your own, so results are unofficial"
    )
    lines: list[object] = [
        f"# {name}, {scenario}: {official}. Written by `harness-llm init`.",
        f"# Try it: harness-llm prepare -c {folder / f'{scenario.lower()}.yaml'}"
        + ("" if answers.benchmark.is_official else " --test performance"),
    ]
    if (profile := _profile(answers, scenario)) is not None:
        lines.append(
            _Line(
                "extends",
                _relative(profile, folder),
                "the shipped file of which this one is the difference",
                0,
            )
        )
        if profile.stem == "base" and answers.has_gpu:
            lines.append(_Line("llm_config", None, "vLLM's arguments beside those of the shipped file", 0))
            lines.append(_Line("gpu_memory_utilization", 0.9, "share of each GPU's memory for vLLM"))
        lines += [_Line("harness_config", None, "what this file says otherwise", 0)]
        lines += [
            _Line("scenario", str(scenario), _meaning(scenario)),
            _Line("user_conf", str(conf), "LoadGen's settings"),
        ]
        lines += _data(answers) if answers.data is not None else []
        return "\n".join(map(str, lines)) + "\n"
    engine = list(_engine(answers))
    lines += [_Line("llm_config", None if engine else {}, _engine_comment(answers), 0), *engine]
    lines += [_Line("harness_config", None, "everything else", 0), *_harness(answers, scenario, conf)]
    return "\n".join(map(str, lines)) + "\n"


def _relative(path: Path, folder: Path) -> str:
    """Relative to the file that names it where both lie below the present folder, else absolute."""
    here = Path.cwd()
    below = path.is_relative_to(here) and folder.absolute().is_relative_to(here)
    return os.path.relpath(path, folder.absolute()) if below else str(path)


def _profile(answers: Answers, scenario: Scenario) -> Path | None:
    """The shipped file that an official benchmark's begins with; None where none is shipped."""
    facts = answers.benchmark.facts
    if facts is None or answers.servers or answers.model is not None:
        return None
    folder = next(MODELS / name for name, known in all_facts().items() if known is facts)
    names = [f"{scenario.lower()}_{answers.gpu}.yaml", f"{answers.gpu}.yaml"] if answers.gpu else []
    return next((path for name in (*names, "base.yaml") if (path := folder / name).is_file()), None)


def _engine_comment(answers: Answers) -> str:
    return "of a server only its tokenizer is read here" if answers.servers else "handed to vLLM as it is"


def _engine(answers: Answers) -> Iterator[_Line]:
    if answers.model is None:
        if not answers.servers:
            yield _Line("model", "${LAB_MODEL:-/model}/my-model", "checkpoint folder")
        return
    yield _Line("model", answers.model, _about_model(answers.model))
    if answers.servers:
        return
    if answers.has_gpu:
        yield _Line("tensor_parallel_size", 1, "GPUs of one replica; each group of so many gets a replica")
        yield _Line("gpu_memory_utilization", 0.9, "share of each GPU's memory for vLLM")
        yield _Line("max_num_seqs", 256, "samples that a replica works on at once")
    else:
        yield _Line("enforce_eager", True, "a host without GPU need not have a C++ compiler")
        if not computes_bfloat16():
            yield _Line("dtype", "float32", "this CPU is slow in bfloat16; float32 takes twice the memory")
        yield _Line("max_num_seqs", 64, "samples that a replica works on at once")
        yield _Line("max_num_batched_tokens", 256, "of one step: on a CPU, its time is that of its tokens")


def _about_model(model: str) -> str:
    folder = Path(model)
    if not folder.is_dir():
        return "checkpoint folder, from `harness-llm fetch`"
    longest = Checkpoint(folder).max_positions
    has_template = (folder / "chat_template.jinja").is_file() or "chat_template" in _text(
        folder / "tokenizer_config.json"
    )
    said = "its chat template wraps each prompt" if has_template else "without a chat template"
    return f"checkpoint folder; {said}" + (f"; up to {longest:,} tokens" if longest else "")


def _text(path: Path) -> str:
    try:
        return read_regular(path).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _harness(answers: Answers, scenario: Scenario, conf: Path) -> Iterator[_Line]:
    benchmark = answers.benchmark
    yield _Line("benchmark", benchmark.name, "the name in user.conf, too, and of the run folder")
    yield _Line("scenario", str(scenario), _meaning(scenario))
    if answers.servers:
        yield _Line("engine", None, "servers that run already")
        yield _Line("kind", "openai", "token ids in and out over HTTP", 2)
        yield _Line("base_urls", list(answers.servers), "each is a replica", 2)
        if answers.served_model:
            yield _Line("model", answers.served_model, "as the servers call it", 2)
    yield from _data(answers)
    limit = benchmark.output_limit(Mode.PERFORMANCE) or answers.max_tokens
    yield _Line("max_tokens", limit, "longest answer, tokens")
    yield _Line("min_tokens", 2, "LoadGen refuses answers of one token")
    yield _Line("user_conf", str(conf), "LoadGen's settings: rate, length, limits")
    if _is_measured(answers, scenario):
        yield _Line("measured_rate", _MEASURED_SHARE, "asked at this share of what was held right before")
    if not answers.has_gpu and not answers.servers:
        yield _Line("engine_env", None, "variables of the engine's process")
        yield _Line("VLLM_CPU_KVCACHE_SPACE", "2", "GiB for the cache of all samples", 2)
        yield _Line("VLLM_CPU_NUM_OF_RESERVED_CPU", "0", "vLLM leaves a core idle otherwise", 2)


def _data(answers: Answers) -> Iterator[_Line]:
    if answers.data is None:
        yield _Line("dataset", None, "made up: replace it by your prompts")
        yield _Line("kind", "synthetic", "for your own: kind: prompts, and path: the file", 2)
        yield _Line("shape", _MADE_UP, "samples:prompt:answer, tokens", 2)
        return
    name = answers.data.name.lower()
    kind = "openorca" if "open_orca" in name else "humaneval" if name.startswith("humaneval") else "prompts"
    yield _Line("dataset", kind, "kind of data set")
    yield _Line("dataset_path", str(answers.data), "the prompts")


def _is_measured(answers: Answers, scenario: Scenario) -> bool:
    """Whether the rate is a share of what the machine holds: for a benchmark of one's own without a rate."""
    return answers.rate is None and scenario.is_timed_per_token and not answers.benchmark.is_official


def _meaning(scenario: Scenario) -> str:
    if scenario is Scenario.OFFLINE:
        return "all samples at once: how many tokens per second?"
    return "samples arrive at target_qps: are TTFT and TPOT within the limits?"


# ---------------------------------------------------------------------- user.conf


def _conf(answers: Answers) -> str:
    lines = ["# LoadGen's settings: model.Scenario.key = value, times in ms, rates in samples per second."]
    timed = [scenario for scenario in answers.scenarios if scenario.is_timed_per_token]
    if timed and not answers.benchmark.is_official:
        lines += ["", "# TTFT and TPOT are judged, not the time of a whole answer."]
        lines += [f"{answers.benchmark.loadgen_model(s)}.*.use_token_latencies = 1" for s in timed]
    for scenario in answers.scenarios:
        lines += _conf_of(answers, scenario)
    return "\n".join(lines) + "\n"


def _conf_of(answers: Answers, scenario: Scenario) -> Sequence[str]:
    place = f"{answers.benchmark.loadgen_model(scenario)}.{scenario.loadgen_name}"
    is_own, is_timed = not answers.benchmark.is_official, scenario.is_timed_per_token
    about = "A rate to begin with: the result says which was held, and what to set."
    if _is_measured(answers, scenario) and _profile(answers, scenario) is None:
        about = "Not asked while the YAML file has measured_rate; to choose a rate, remove that and set this."
    lines = ["", f"# {about}", f"{place}.target_qps = {answers.rate or _FIRST_RATE:g}"]
    if is_own and is_timed:
        for name, asked, what in (
            ("ttft", answers.ttft_ms, "The first token within this time"),
            ("tpot", answers.tpot_ms, "Each further token within this time, mean of a sample"),
        ):
            none = "" if asked else f" No limit was given (--{name}), so this one is too high to matter."
            lines += [
                f"# {what}, for 99 of 100 samples.{none}",
                f"{place}.{name}_latency = {asked or _NO_LIMIT_MS:.0f}",
            ]
    if is_own:
        lines += ["# Least length of the test (MLPerf asks for 600000).", f"{place}.min_duration = 60000"]
        least = min_queries(SHORT_TEST_OVER) if is_timed else 1
        about = f"; with so many, {SHORT_TEST_OVER} may be over a limit, with 459 none" if is_timed else ""
        lines += [f"# Least number of samples{about}.", f"{place}.min_query_count = {least}"]
    return lines
