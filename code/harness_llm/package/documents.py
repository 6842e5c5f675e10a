"""What a submission says in words: README.md of a result, measurements.json, the calibration statement."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from harness_llm import rules
from harness_llm.core import NANOSECONDS_PER_MS
from harness_llm.package.layout import Place
from harness_llm.results.finished import FinishedRun, FinishedScenario
from harness_llm.secret_values import masked_document
from harness_llm.system import Measurements

_SECTION = re.compile(r"^<!-- calibration: (.+) -->$", re.MULTILINE)
_SHOWN_CHANGES = 20


@dataclass(frozen=True)
class Marks:
    """What must be said beside every number of a result.

    Attributes:
        is_simulated: The answers were made up.
        is_unofficial: The benchmark is none of MLPerf's, or was not run as the rules ask.
        engine: What is said of the engine, such as that nobody here knows what it caches; mostly nothing.
    """

    is_simulated: bool
    is_unofficial: bool
    engine: str = ""

    @property
    def sentences(self) -> tuple[str, ...]:
        """The marks as sentences; empty for an official result."""
        simulated = rules.SIMULATED if self.is_simulated else ""
        unofficial = rules.UNOFFICIAL if self.is_unofficial else ""
        return tuple(filter(None, (simulated, self.engine, unofficial)))

    @property
    def text(self) -> str:
        """The marks on one line; empty for an official result."""
        return "; ".join(self.sentences)

    def label(self, text: str) -> str:
        """A text with the marks, shortened, behind it in brackets."""
        short = ", ".join(sentence.partition(":")[0] for sentence in self.sentences)
        return f"{text} ({short})" if short else text


def measurements(folder: FinishedScenario, stated: Measurements, marks: Marks) -> dict[str, str]:
    """The fields of measurements.json; what the submitter states wins over the run's configuration."""
    arguments: dict[str, Any] = folder.config.get("llm_config") or {}
    weights = folder.engine_kind.weights(arguments, folder.engine.as_facts())
    model = str(arguments.get("model") or "none")
    known = {
        "input_data_types": "int32",
        "retraining": "No",
        "starting_weights_filename": model.rstrip("/").rsplit("/", 1)[-1],
        "weight_data_types": weights.data_type,
        "weight_transformations": (
            f"quantization ({weights.quantization})" if weights.quantization else "none"
        ),
    }
    if marks.is_simulated:
        known |= dict.fromkeys(
            ("starting_weights_filename", "weight_data_types", "weight_transformations"), "none"
        )
    told = {key: value for key, value in stated.model_dump().items() if value}
    return {**known, **told, **({"notice": marks.text} if marks.text else {})}


def readme(
    folder: FinishedScenario, run: FinishedRun, place: Place, source: str, marks: Marks, round_name: str
) -> str:
    """README.md of one result: what it is, how it was made, how to make it again."""
    record = run.record
    config = (
        yaml.safe_dump(masked_document(folder.config), sort_keys=False, allow_unicode=True).strip()
        if folder.config
        else ""
    )
    parts = [
        f"# {marks.label(f'{place.benchmark}, {folder.scenario}, {place.system}')}",
        *(f"**{sentence}.**" for sentence in marks.sentences),
        _figures(folder, marks),
        f"## How it was made\n\nMLPerf Inference {round_name}; LoadGen model name "
        f"`{folder.performance.loadgen_model}`; data set {record.dataset.name}, "
        f"{record.dataset.samples} samples, SHA-256 {record.dataset.digest}; started {record.started_utc}.",
        _source(run, source),
        f"Command of the run:\n\n```bash\n{shlex.join(record.command)}\n```",
        "README.md of the source says how to set the machine up and how to get model and data set.",
    ]
    if config:
        parts.append(f"Configuration as it was resolved:\n\n```yaml\n{config}\n```")
    rows = "\n".join(f"| {name} | {version} |" for name, version in sorted(record.packages.items()))
    parts.append(f"## Packages\n\n| package | version |\n| --- | --- |\n{rows}")
    return "\n\n".join(parts) + "\n"


def _figures(folder: FinishedScenario, marks: Marks) -> str:
    """The table of figures; each value carries the marks, because single rows get copied."""
    detail, accuracy = folder.detail, folder.accuracy
    rows: list[tuple[str, str]] = []
    if detail.tokens_per_second is not None:
        rows.append(("Throughput", f"{detail.tokens_per_second:g} tokens/s"))
    if (
        folder.scenario.is_timed_per_token
        and detail.ttft_p99_ns is not None
        and detail.tpot_p99_ns is not None
    ):
        rows.append(("Time to first token, p99", f"{detail.ttft_p99_ns / NANOSECONDS_PER_MS:g} ms"))
        rows.append(("Time per output token, p99", f"{detail.tpot_p99_ns / NANOSECONDS_PER_MS:g} ms"))
    rows.append(("LoadGen's verdict", {True: "VALID", False: "INVALID", None: "none"}[detail.is_valid]))
    for name, score in accuracy.scores.items() if accuracy else ():
        gate = f", gate {accuracy.gates[name]:g}" if accuracy and name in accuracy.gates else ""
        rows.append((name, f"{score:g}{gate}"))
    rows.append(("Tokens per sample", f"{accuracy.tokens_per_sample:g}" if accuracy else "not scored"))
    table = "\n".join(f"| {name} | {marks.label(value)} |" for name, value in rows)
    return f"| figure | value |\n| --- | --- |\n{table}"


def _source(run: FinishedRun, source: str) -> str:
    git = run.record.git
    if git.commit is None:
        return (
            f"Source: `{source}`. The run was not made from a git checkout, so no commit can be named; "
            "these are the files that were there when the result was packaged."
        )
    if git.dirty is None:
        return f"Source: `{source}`, commit {git.commit}; whether its work tree was clean is not known."
    if not git.dirty:
        return f"Source: `{source}`, commit {git.commit}, clean work tree."
    named = [f"\n- `{path}`" for path in git.changed[:_SHOWN_CHANGES]]
    more = len(git.changed) - len(named)
    rest = f"\n- and {more} more" if more > 0 else ""
    return (
        f"Source: `{source}`, commit {git.commit}. **The work tree had changes that are not in this commit**"
        f"{':' if named else '.'}{''.join(named)}{rest}"
    )


def calibration_section(place: Place, document: str | None, quantization: str, marks: Marks) -> str:
    """What documentation/calibration.md says of one system and benchmark.

    Args:
        place: Of the result.
        document: The write-up of the quantization, or None where there is none.
        quantization: `weight_transformations` of measurements.json.
        marks: Of the result.
    """
    title = marks.label(f"{place.benchmark} on {place.system}")
    if document is not None:
        return f"# {title}\n\n{document.strip()}\n"
    if marks.is_simulated:
        statement = "No model was run: the answers were made up."
    elif quantization == "none":
        statement = "The weights were used as published, without quantization, so nothing was calibrated."
    else:
        statement = (
            f"Weight transformations: {quantization}. No calibration write-up came with the checkpoint."
        )
    return f"# {title}\n\n{statement}\n"


def merge_calibration(existing: str, key: str, section: str) -> str:
    """Put one section into calibration.md, replacing the one with the same key and keeping all others."""
    pieces = _SECTION.split(existing)
    sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    sections[key] = f"\n{section}\n"
    return "".join(f"<!-- calibration: {name} -->{sections[name]}" for name in sorted(sections))
