"""A harness YAML file of AMD's form, written in ours."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness_llm.benchmark import Benchmark, resolve
from harness_llm.config.convert_engine import convert_arguments, convert_environment, convert_sampling
from harness_llm.config.convert_notes import NO_EFFECT, Note, Notes, Weight
from harness_llm.config.foreign import FORM, is_foreign
from harness_llm.config.nodes import UnreadableError, parse
from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError
from harness_llm.files import read_text

_MISSING = "MISSING"  # that harness's word for a value that another file must give
_SECTIONS = {
    "llm_config", "vllm_engine_config", "vllm_env_config", "env_config", "vllm_sampling_config",
    "sampling_params", "harness_config", "benchmark_name", "scenario",
}  # fmt: skip


@dataclass(frozen=True)
class Converted:
    """One file in our form.

    Attributes:
        source: The file that was read.
        document: What it says, in our form.
        notes: What became of keys that did not simply move.
    """

    source: Path
    document: Mapping[str, Any]
    notes: tuple[Note, ...]

    @property
    def title(self) -> str:
        """What it describes, for people."""
        harness = self.document["harness_config"]
        count = f", {harness['replicas']} replicas" if "replicas" in harness else ""
        return f"{harness['scenario']} of {harness['benchmark']}{count}"

    def text(self) -> str:
        """As YAML that `load_config` reads, the notes as comments above."""
        lines = [f"Converted by `harness-llm convert` from {self.source}: {self.title}."]
        lines += [f"{note.weight}: {note}" for note in self.notes]
        comments = (textwrap.fill(line, 110, initial_indent="# ", subsequent_indent="#   ") for line in lines)
        return "\n".join([*comments, yaml.safe_dump(dict(self.document), sort_keys=False, width=110)])


def convert(path: Path) -> Converted:
    """Write a file of AMD's form in ours.

    Raises:
        ConfigError: The file cannot be read, is not of that form, or lacks what a run needs.
    """
    found = _read(path)
    notes = Notes()
    engine = found.get("vllm_engine_config") or found.get("llm_config") or {}
    sampling = found.get("vllm_sampling_config") or found.get("sampling_params") or {}
    environment = (found.get("env_config") or {}) | (found.get("vllm_env_config") or {})
    harness = found.get("harness_config") or {}
    if found.get("sglang_engine_config") and not engine.get("model"):
        raise ConfigError(
            f"{path}: its engine is SGLang, which is not started here",
            "Start that server as you do now, and drive it: harness-llm init --server URL.",
        )
    _require(path, {"scenario": found.get("scenario"), "benchmark_name": found.get("benchmark_name"),
                    "harness_config.dataset_path": harness.get("dataset_path"),
                    "vllm_engine_config.model": engine.get("model"),
                    "vllm_sampling_config.max_tokens": sampling.get("max_tokens")})  # fmt: skip
    benchmark, scenario = _benchmark(path, str(found["benchmark_name"]), str(found["scenario"]), notes)
    llm_config = convert_arguments(engine, notes) | convert_sampling(sampling, notes)
    llm_config["model"] = _mounted(str(llm_config["model"]), "/model", "LAB_MODEL")
    ours = {
        "benchmark": benchmark.name,
        "scenario": str(scenario),
        **_samples(benchmark, harness, notes),
        "user_conf": _user_conf(path, harness, benchmark, scenario, notes),
        "max_tokens": sampling["max_tokens"],
        "min_tokens": _min_tokens(sampling, notes),
        **_replicas(harness, engine),
        "engine_env": convert_environment(environment, notes),
    }
    _note_the_rest(found, harness, notes)
    return Converted(path, {"llm_config": llm_config, "harness_config": ours}, notes.all())


def _read(path: Path) -> dict[str, Any]:
    try:
        root, mistakes = parse(read_text(path), str(path))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except UnreadableError as error:
        raise ConfigError(str(error)) from error
    found = root.plain()
    if not isinstance(found, dict) or not is_foreign(found):
        ours = isinstance(found, dict) and {"llm_config", "harness_config"} & found.keys()
        said = "this file is in our form already" if ours else f"this file is not in the form of {FORM}"
        raise ConfigError(f"{path}: {said}", f"That form has benchmark_name, scenario and {_form_parts()}.")
    if mistakes:
        raise ConfigError("\n".join(map(str, mistakes)))
    if wrong := [name for name in _SECTIONS if name.endswith(("config", "params"))
                 and not isinstance(found.get(name) or {}, dict)]:  # fmt: skip
        raise ConfigError(f"{path}: {', '.join(sorted(wrong))}: expected keys")
    return found


def _form_parts() -> str:
    return "vllm_engine_config (or llm_config) at the top"


def _require(path: Path, values: Mapping[str, object]) -> None:
    absent = [key for key, value in values.items() if value in (None, "", _MISSING)]
    if absent:
        raise ConfigError(
            f"{path}: {', '.join(absent)}: without a value",
            "Convert the file of a scenario; one that holds the defaults of others need not be converted.",
        )


def _benchmark(path: Path, name: str, scenario: str, notes: Notes) -> tuple[Benchmark, Scenario]:
    try:
        asked = Scenario(scenario.capitalize())
    except ValueError as error:
        known = ", ".join(Scenario)
        raise ConfigError(f"{path}: scenario {scenario!r} is not known", f"Known are {known}.") from error
    base = name.removesuffix("-interactive")
    if base != name and asked is Scenario.SERVER:
        asked = Scenario.INTERACTIVE
        notes.add(Weight.REPLACED, "benchmark_name", f"now {base} with scenario Interactive")
    benchmark = resolve(base)
    if benchmark.note:
        notes.add(Weight.REPLACED, "benchmark_name", benchmark.note)
    return benchmark, asked


def _mounted(path: str, mount: str, variable: str) -> str:
    """A path in the container's mount as one that also holds outside of the container."""
    inside = path == mount or path.startswith(f"{mount}/")
    return f"${{{variable}:-{mount}}}{path.removeprefix(mount)}" if inside else path


def _samples(benchmark: Benchmark, harness: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    main = _dataset("dataset_path", str(harness["dataset_path"]), notes)
    accuracy = harness.get("accuracy_dataset_path")
    if accuracy in (None, "", _MISSING):
        return main
    limit = benchmark.output_limit(Mode.ACCURACY)
    own = _dataset("accuracy_dataset_path", str(accuracy), notes) | ({"max_tokens": limit} if limit else {})
    return {**main, "tests": {"accuracy": own}}


def _dataset(key: str, path: str, notes: Notes) -> dict[str, Any]:
    suffixes = Path(path).suffixes
    is_openorca = "open_orca" in Path(path).name
    if ".pkl" in suffixes and not is_openorca:
        notes.add(
            Weight.CHECK, key, "no kind of data set here reads this pickle; save its column of token ids as "
            "Parquet (tok_input, ground_truth) and name that file",
        )  # fmt: skip
    return {
        "dataset": "openorca" if is_openorca else "jsonl",
        "dataset_path": _mounted(path, "/data", "LAB_DATASET"),
    }


def _user_conf(
    path: Path, harness: Mapping[str, Any], benchmark: Benchmark, scenario: Scenario, notes: Notes
) -> str:
    given = Path(str(harness.get("user_conf_path") or "user.conf"))
    near = [folder / given.name for folder in (path.parent, *path.absolute().parents)]
    places = (given, *near, Path("code", given.name))
    found = next((it for it in places if os.path.isfile(it)), None)  # noqa: PTH113 - any path, the longest too
    if found is None:
        notes.add(
            Weight.CHECK, "user_conf_path", f"{given} is not on this host; give harness_config.user_conf"
        )
    elif found != given:
        notes.add(Weight.REPLACED, "user_conf_path", f"now {found}, for {given} is not on this host")
    rate = harness.get("target_qps")
    line = f"{benchmark.loadgen_model(scenario)}.{scenario.loadgen_name}.target_qps"
    if isinstance(rate, int | float) and rate > 0:
        notes.add(Weight.CHECK, f"target_qps = {rate}", f"write `{line} = {rate}` into user.conf")
    elif rate is not None:
        notes.add(Weight.NO_EFFECT, "target_qps", f"user.conf says it, as {line}")
    return str(found or given)


def _min_tokens(sampling: Mapping[str, Any], notes: Notes) -> int:
    given = sampling.get("min_tokens", 0)
    least = max(2, given) if isinstance(given, int) else 2
    if least != given:
        notes.add(
            Weight.REPLACED, f"min_tokens = {given}", f"now {least}, for LoadGen refuses answers of one token"
        )
    return least


def _replicas(harness: Mapping[str, Any], engine: Mapping[str, Any]) -> dict[str, int]:
    """Engines by the number of devices: each takes tensor x pipeline parallel size."""
    devices, engines = harness.get("device_count"), harness.get("data_parallel_size")
    if isinstance(engines, int) and engines > 0:
        return {"replicas": engines}
    if not isinstance(devices, int):
        return {}
    each = [engine.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline")]
    taken = each[0] * each[1] if all(isinstance(size, int) and size > 0 for size in each) else 1
    return {"replicas": max(1, devices // taken)}


def _note_the_rest(found: Mapping[str, Any], harness: Mapping[str, Any], notes: Notes) -> None:
    read = {"dataset_path", "accuracy_dataset_path", "user_conf_path", "target_qps", "device_count",
            "data_parallel_size"}  # fmt: skip
    for key in [
        *(key for key in found if key not in _SECTIONS),
        *(key for key in harness if key not in read),
    ]:
        if key == "backend" and found[key] not in ("vllm", _MISSING):
            notes.add(Weight.CHECK, f"backend = {found[key]}", "vLLM is started; a server of another kind is "
                      "reached by engine openai")  # fmt: skip
        elif key.startswith("sglang_"):
            notes.add(Weight.NO_EFFECT, key, "SGLang is reached as a server, by engine openai")
        elif key in NO_EFFECT:
            notes.add(Weight.NO_EFFECT, key, NO_EFFECT[key])
        else:
            notes.add(Weight.CHECK, key, "left out: not known to this conversion")
