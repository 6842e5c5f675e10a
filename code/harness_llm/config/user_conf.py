"""A strict reader of LoadGen's user.conf: what LoadGen would swallow in silence is an error here.

LoadGen's own parser (mlcommons/inference @b66003e1 loadgen/test_settings_internal.cc lines 606-685) drops
lines it does not understand, keeps unknown keys and mistyped model names without a word, and runs with its
defaults.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from harness_llm import rules
from harness_llm.benchmark import Benchmark
from harness_llm.config.conf_keys import KEYS, SCENARIOS, ConfKey
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError
from harness_llm.files import read_text

_LARGEST_BYTES = 1_000_000
_MOST_DIGITS = 20  # of 64 bits
_INTEGER = re.compile(r"0|[1-9][0-9]*")
_NUMBER = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")  # what C's strtod reads whole
_WORD = re.compile(r"[^ \t\r\v\f]+")  # what C++ `>>` reads
LOADGEN_QPS = 1.0
"""LoadGen's target_qps where user.conf sets none (mlperf.conf lines 195-199, @b66003e1)."""

_HINT = re.compile(r"Write `(?P<name>[^`]+)`\.")
_ANY_MODEL = "<model>"  # in a line that is to be written, where nobody has said which
_OR_FIND_IT = "; where you do not know it, `harness-llm tune` finds the highest that is VALID"
_HARMLESS = "The line changes nothing"
_TYPO = 0.9  # so alike, a key is one of LoadGen's, mistyped
_SAME_MODEL = 0.85
_FORM = "Write `model.Scenario.key = value`, with spaces around `=` and nothing after the value."


@dataclass(frozen=True, slots=True)
class ConfEntry:
    """One line of a conf file.

    Attributes:
        model: Model name or `*`.
        scenario: LoadGen's scenario or `*`.
        key: Key as LoadGen spells it.
        text: The value as written.
        value: The value as LoadGen would take it, in the unit of the file (ms, percent, samples/s).
        line: Line number, from 1.
    """

    model: str
    scenario: str
    key: str
    text: str
    value: int | float
    line: int

    @property
    def name(self) -> str:
        """The whole left side, `model.scenario.key`."""
        return f"{self.model}.{self.scenario}.{self.key}"


def parse_conf(text: str) -> tuple[list[ConfEntry], list[str]]:
    """Read every line of a conf file: entries that can be used, and a sentence for each that cannot.

    Sentences begin with the line number and a colon; each names what was found and what would do.
    """
    entries: dict[str, ConfEntry] = {}
    problems: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        words = _WORD.findall(line)
        if not words or words[0] == "#" or (words[0].startswith("#") and len(words) == 1):
            continue
        entry = _parse_line(words, number)
        if isinstance(entry, str):
            problems.append((number, entry))
        elif entry.name in entries:
            problems.append((number, _repeated(entry, entries[entry.name])))
        else:
            entries[entry.name] = entry
    said = [f"{number}: {_with_other_line(problem, entries)}" for number, problem in problems]
    return list(entries.values()), said


def _repeated(entry: ConfEntry, first: ConfEntry) -> str:
    said = f"{entry.name} was set on line {first.line} already"
    if entry.value == first.value:
        return f"{said}. {_HARMLESS}; remove it."
    return f"{said}; LoadGen takes the last value ({entry.text}). Remove line {first.line}."


def _with_other_line(problem: str, entries: Mapping[str, ConfEntry]) -> str:
    """A problem whose hint would set what another line sets already says so instead."""
    hint = _HINT.search(problem)
    other = entries.get(hint["name"] if hint and hint["name"] else "")
    if hint is None or other is None:
        return problem
    return f"{problem[: hint.start()]}`{other.name}` is set on line {other.line}: remove this line."


def is_ignored_line(problem: str) -> bool:
    """Whether a problem of `parse_conf` is a line that LoadGen passes over, and no setting by mistake.

    A key that is not LoadGen's own, or that it does not read there, or a comment without a blank after its
    `#`, changes nothing; a mistyped key or name, or a value that LoadGen would change, is a setting that
    somebody believes in.
    """
    return _HARMLESS in problem


def _parse_line(words: list[str], number: int) -> ConfEntry | str:
    shown = " ".join(words)
    if words[0].startswith("#"):
        return f"`{shown}`: LoadGen takes this for a key. {_HARMLESS}; put a space after `#`."
    if len(words) != 3 or words[1] != "=":
        hint = " A comment after a value makes LoadGen refuse the file." if "#" in shown else ""
        return f"`{shown}`: not of the form `model.Scenario.key = value`.{hint} {_FORM}"
    parts = words[0].rsplit(".", 2)
    if len(parts) != 3 or not all(parts):
        return f"`{words[0]}`: a key has three parts. {_FORM}"
    model, scenario, key = parts
    known = KEYS.get(key)
    if known is None:
        return f"`{words[0]}`: {_key_problem(model, scenario, key)}"
    if problem := _scenario_problem(model, scenario, key, known):
        return f"`{words[0]}`: {problem}"
    value = _read_value(words[2], known)
    if isinstance(value, str):
        return f"{words[0]} = {words[2]}: {value}"
    return ConfEntry(model, scenario, key, words[2], value, number)


def _key_problem(model: str, scenario: str, key: str) -> str:
    """What is wrong with a key that LoadGen does not have: mistyped, or another program's."""
    near = get_close_matches(key, KEYS, 1, _TYPO) or [name for name in KEYS if name == key.lower()]
    if near:
        return f"LoadGen knows no key `{key}`, so it would ignore it. Write `{model}.{scenario}.{near[0]}`."
    return f"LoadGen knows no key `{key}`. {_HARMLESS}; remove it."


def _scenario_problem(model: str, scenario: str, key: str, known: ConfKey) -> str:
    if scenario.lower() == "interactive":
        name = _ANY_MODEL if model == "*" else model.removesuffix("-interactive")
        if known.scenarios and "Server" not in known.scenarios:
            return f"Interactive is LoadGen's Server, where it does not read {key}. {_HARMLESS}; remove it."
        return (
            f"Interactive is LoadGen's Server under another model. Write `{name}-interactive.Server.{key}`."
        )
    if scenario not in (*SCENARIOS, "*"):
        same = next((name for name in SCENARIOS if name.lower() == scenario.lower()), None)
        hint = f" Write `{model}.{same}.{key}`." if same else _did_you_mean(scenario, SCENARIOS)
        return f"LoadGen knows no scenario `{scenario}`.{hint}"
    if known.not_here:
        return f"{known.not_here}. " + ("Remove the line." if known.does_harm else f"{_HARMLESS}; remove it.")
    if known.scenarios and scenario not in (*known.scenarios, "*"):
        return f"LoadGen reads {key} under {' and '.join(known.scenarios)} only. {_HARMLESS}; remove it."
    return ""


def _read_value(text: str, known: ConfKey) -> int | float | str:
    """The value as LoadGen would take it, or a sentence that says why it would take another one."""
    if text.startswith("-") and _NUMBER.fullmatch(text[1:]):
        return "must not be negative."
    if known.kind == "number":
        if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
            return "no decimal number. Give one such as 79 or 79.5."
        return number if number <= known.largest else f"above {known.largest}, the largest that makes sense."
    if not _INTEGER.fullmatch(text):
        if re.fullmatch(r"0[0-9]+", text):
            return "LoadGen reads a leading zero as octal. Drop the zero."
        if _NUMBER.fullmatch(text):
            whole = re.match(r"[0-9]+", text)
            cut = whole.group() if whole else 0
            return f"LoadGen would cut it to {cut}. Give a whole number without exponent."
        return "no whole decimal number."
    if len(text) > _MOST_DIGITS or int(text) > known.largest:
        return f"above {known.largest}, where LoadGen overflows."
    if known.kind == "flag" and text not in ("0", "1"):
        return "must be 0 or 1."
    return int(text)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    found = rules.nearest(name, known)
    return f" Did you mean `{found}`?" if found else f" It knows: {', '.join(sorted(known))}."


@dataclass(frozen=True)
class UserConf:
    """One user.conf, read whole; it may hold lines for several benchmarks.

    Attributes:
        path: The file.
        entries: Its lines, in order.
        text: The whole file as it is, for LoadGen.
        notes: A sentence for each line that changes nothing.
    """

    path: Path
    entries: tuple[ConfEntry, ...]
    text: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path, model: str = _ANY_MODEL) -> UserConf:
        """Read a user.conf.

        Args:
            path: The file.
            model: LoadGen's name of the benchmark, for lines that are to be written instead of wrong ones.

        Raises:
            ConfigError: The file cannot be read, or lines are malformed, have an unknown key or scenario, a
                value that LoadGen would change or ignore, or repeat a key; every such line is named.
        """
        try:
            text = read_text(path, _LARGEST_BYTES)  # line ends as they are
        except FileNotFoundError as error:
            raise ConfigError(
                f"{path}: no such file",
                "Name LoadGen's user.conf in harness_config.user_conf; `harness-llm init` writes one.",
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: cannot read user.conf: {error}", "Give a readable UTF-8 text file."
            ) from error
        entries, problems = parse_conf(text)
        problems = [problem.replace(_ANY_MODEL, model) for problem in problems]
        _raise_for(path, [problem for problem in problems if not is_ignored_line(problem)])
        notes = tuple(f"{path}:{problem}" for problem in problems if is_ignored_line(problem))
        return cls(path, tuple(entries), text, notes)

    def validate(
        self, benchmark: Benchmark, scenarios: Iterable[Scenario], models: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """Refuse what LoadGen would accept in silence for this run, and say what does nothing in it.

        Args:
            benchmark: The benchmark that runs.
            scenarios: Scenarios of the run; each must have its own target_qps, but for an Offline run whose
                length follows from its count.
            models: Further model names that are no mistake, e.g. of other benchmarks of the user.

        Returns:
            A sentence for each thing to know.

        Raises:
            ConfigError: A mistyped model name, no target_qps, or settings in contradiction.
        """
        own = {benchmark.loadgen_model(scenario) for scenario in Scenario}
        known = rules.conf_names() | own | set(models) | {"*"}
        problems, notes = [], []
        for entry in self.entries:
            if entry.model in known:
                continue
            said = f"{entry.line}: {entry.name} = {entry.text}: no benchmark is called `{entry.model}`"
            if meant := _meant(entry.model, benchmark, own, known):
                hint = f"{said}, so LoadGen would ignore the line. Did you mean `{meant}`?"
                other = f"{meant}.{entry.scenario}.{entry.key}"
                lines = [line.line for line in self.entries if line.name == other]
                problems.append(f"{hint} Line {lines[0]} sets that: remove this line." if lines else hint)
            else:
                notes.append(f"{self.path}:{said}. {_HARMLESS}; remove it.")
        for scenario in scenarios:
            model = benchmark.loadgen_model(scenario)
            problems += self._scenario_problems(model, scenario, is_official=benchmark.is_official)
            if not problems and "target_qps" not in self.settings_for(model, scenario):
                notes.append(
                    f"{self.path}: no target_qps for {scenario}: LoadGen takes {LOADGEN_QPS:g} sample/s, and "
                    "min_query_count alone decides how long the run is"
                )
        _raise_for(self.path, problems)
        return tuple(notes)

    def _scenario_problems(self, model: str, scenario: Scenario, *, is_official: bool) -> list[str]:
        place = f"{model}.{scenario.loadgen_name}"
        found = self.settings_for(model, scenario)
        problems = []
        is_counted = scenario is Scenario.OFFLINE and (is_official or "min_query_count" in found)
        if "target_qps" not in found and not is_counted:
            problems.append(
                f"no target_qps for {scenario}: LoadGen would run at 1 query/s. "
                f"Add `{place}.target_qps = <samples per second>`{_OR_FIND_IT * scenario.is_timed_per_token}."
            )
        elif found.get("target_qps", LOADGEN_QPS) <= 0:
            problems.append(f"{place}.target_qps is 0. Give the samples per second to aim for.")
        # mlperf.conf switches token latencies on for every model that it names.
        on = {"use_token_latencies": int(model in rules.conf_names())} | found
        for key in found:
            needs = KEYS[key].needs
            if needs and on.get(needs) != 1:
                problems.append(f"{place}.{key} does nothing without {needs}. Add `{model}.*.{needs} = 1`.")
        if "target_latency" in found and on["use_token_latencies"] == 1:
            problems.append(
                f"{place}.target_latency does nothing with use_token_latencies: LoadGen judges TTFT, TPOT. "
                "Remove the line."
            )
        for what in ("duration", "query_count"):
            low, high = found.get(f"min_{what}", 0), found.get(f"max_{what}", 0)
            if 0 < high < low:
                problems.append(
                    f"{place}: max_{what} {high} is below min_{what} {low}, so no run can be VALID."
                )
        return problems

    def settings_for(self, model: str, scenario: Scenario | str) -> dict[str, int | float]:
        """What LoadGen takes from this file for one model and scenario.

        Args:
            model: LoadGen's model name, e.g. `llama2-70b-interactive`.
            scenario: A scenario of the harness, or LoadGen's own name of one.

        Returns:
            Key to value, in the units of the file; absent keys keep mlperf.conf's value. As in LoadGen,
            `model.Scenario.key` wins over `*.Scenario.key`, then `model.*.key`, then `*.*.key`.
        """
        name = scenario.loadgen_name if isinstance(scenario, Scenario) else scenario
        values = {entry.name: entry.value for entry in self.entries}
        found: dict[str, int | float] = {}
        for key, known in KEYS.items():
            if known.scenarios and name not in known.scenarios:
                continue
            for left in (f"{model}.{name}", f"*.{name}", f"{model}.*", "*.*"):
                if f"{left}.{key}" in values:
                    found[key] = values[f"{left}.{key}"]
                    break
        return found

    def open_only(self, model: str) -> list[ConfEntry]:
        """Lines that confine an official model's result to the open division (limits, percentiles)."""
        return [
            entry for entry in self.entries if entry.model in (model, "*") and KEYS[entry.key].is_open_only
        ]


def _meant(model: str, benchmark: Benchmark, own: Collection[str], known: Collection[str]) -> str | None:
    """The name that an unknown model name was meant to be; None for a benchmark that does not run here."""
    if model == benchmark.name:
        return benchmark.loadgen_model(Scenario.OFFLINE)
    near = get_close_matches(model, [*own, *known], 1, _SAME_MODEL)
    return near[0] if near else None


def _raise_for(path: Path, problems: list[str]) -> None:
    if not problems:
        return
    lines = [
        f"{path}:{problem}" if re.match("[0-9]+: ", problem) else f"{path}: {problem}" for problem in problems
    ]
    raise ConfigError("\n".join(lines))
