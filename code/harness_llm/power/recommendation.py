"""Which setting to recommend, from training_stats.csv and inference_stats.csv, also those of other tools."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from harness_llm.errors import FolderError
from harness_llm.power.stats_files import SCHEMA
from harness_llm.results.sample_rows import Floats
from harness_llm.study.estimates import Estimate, mean_of, outliers, pareto, tells_apart, tied_with_least

Objective = Literal["energy", "edp", "cost", "slowdown", "slo"]
_BINDS = 0.01
_FAST_ENOUGH = 0.95  # of the fastest
_OWN = ("window_tokens", "window_seconds")
_MEANS = ("tokens_per_sec", "temperature", "gpu_utilization", "memory_utilization", "sm_mhz", "loss")
_SETTINGS = ("max_watt", "knob_value")
_AMOUNTS = (*_SETTINGS, "tokens_per_sec", "power_draw", "total_power_draw", *_OWN, "schema")
_FATAL = {
    "thermal": "heat slowed the cards",
    "counter_reset": "the energy counter was reset",
    "device_missing": "one card has fewer readings than the others",
    "sampling_gap": "no readings for more than 3 s",
    "window_not_bracketed": "no reading before the start or after the end",
    "energy_disagrees": "the energy counter and the power readings differ by more than 5 %",
}
"""Reasons for which a trial's energy does not count, in words."""
_TOLD = {"short_window": "measured for less than 10 s"}
_ABLE = {"slo": "was VALID in each trial", "slowdown": "is fast enough"}  # other objectives take any setting


@dataclass(frozen=True)
class Choice:
    """One setting of a scenario, over its trials.

    Attributes:
        value: The cap, watts, or the load.
        is_cap: Whether it is a cap.
        energy: J/token of each trial; empty where no power was measured.
        rate: Tokens/s of each trial.
        minutes: Mean length of a trial; None where rows have no times.
        watt_minutes: Mean energy of a trial.
        watts: Mean power of all cards together.
        is_counted: Whether the energy is that of the study's own windows, not another tool's power over time.
        means: Means of the columns of its rows.
        dropped: Rows that were left out as outliers, of `rows`.
        rows: Its rows.
        binding: Share of the time in which the cap bound; None where that is not known.
        verdicts: LoadGen's, of each trial that has one.
        reasons: Why its trials may not count.
    """

    value: float
    is_cap: bool
    energy: tuple[float, ...]
    rate: tuple[float, ...]
    minutes: float | None
    watt_minutes: float | None
    watts: float | None = None
    is_counted: bool = False
    means: dict[str, float | None] = field(default_factory=dict)
    dropped: int = 0
    rows: int = 0
    binding: float | None = None
    verdicts: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.value:g} W" if self.is_cap else f"{self.value:g} open" if self.value else "as it is"

    @property
    def joules(self) -> Estimate | None:
        """J/token."""
        return mean_of(self.energy) if self.energy else None

    @property
    def tokens_per_s(self) -> Estimate:
        """Tokens/s."""
        return mean_of(self.rate)

    @property
    def is_sound(self) -> bool:
        """Whether its energy may be compared."""
        return bool(self.energy) and not set(self.reasons) & _FATAL.keys()


@dataclass(frozen=True)
class Advice:
    """What is recommended: None, and why, or a setting and what it costs."""

    choice: Choice | None
    words: str
    tied: tuple[Choice, ...] = ()
    front: tuple[Choice, ...] = ()


def read_stats(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file.

    Raises:
        FolderError: It is missing, of a newer version, lacks a column, or has a row that cannot be read.
    """
    rows, line = [], 1
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            for row in reader:
                rows.append(row)
                line = reader.line_num
                if (_number(row, "schema") or 0) > SCHEMA:
                    raise FolderError(f"{path}: was written by a newer version of this harness")
                if mistake := _mistake(row):
                    raise FolderError(f"{path}:{line}: {mistake}", "Correct the row, or remove it.")
    except (OSError, UnicodeDecodeError) as error:
        raise FolderError(
            f"{path}: cannot be read: {error}", "Run process_experiment_data.py first."
        ) from error
    except csv.Error as error:
        raise FolderError(f"{path}: cannot be read after line {line}: {error}") from error
    if "tokens_per_sec" not in columns or not {*_SETTINGS} & {*columns}:
        raise FolderError(
            f"{path}: needs the columns tokens_per_sec and max_watt, found {', '.join(columns) or 'none'}",
            "Name the columns in the first line, with commas between them.",
        )
    return rows


def _mistake(row: dict[str, str]) -> str:
    """Why a row cannot be read; empty where it can. A cell that is empty or nan was not measured."""
    if None in row or None in row.values():
        return "more or fewer cells than there are columns"
    for name in _AMOUNTS:
        text = row.get(name) or "nan"
        try:
            if float(text) < 0 or np.isinf(float(text)):
                return f"{name}: must not be negative or infinite, found {text[:40]}"
        except ValueError:
            return f"{name}: must be a number, found {text[:40]!r}"
    try:
        _time_s(row.get("timestamp") or "0")
    except ValueError:
        return f"timestamp: must be a time such as 2026-01-31 12:00:00, found {row['timestamp'][:40]!r}"
    return ""


def choices_of(rows: Sequence[dict[str, str]]) -> list[Choice]:
    """The settings in a file, ascending; outliers among the rows of a trial are left out of means."""
    groups: dict[float, list[dict[str, str]]] = {}
    for row in rows:
        value = _number(row, "max_watt")
        value = _number(row, "knob_value") if value is None else value
        groups.setdefault(value or 0.0, []).append(row)
    return [_choice(value, own) for value, own in sorted(groups.items())]


def _choice(value: float, rows: Sequence[dict[str, str]]) -> Choice:
    trials: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        trials.setdefault(row.get("trial") or "1", []).append(row)
    kept = [row for own in trials.values() for row in _without_outliers(own)]
    figures = [_figures(own) for own in trials.values()]
    energies = tuple(it.energy for it in figures if it.energy is not None)
    lengths = [it.seconds for it in figures if it.seconds is not None]
    known = [it.joules for it in figures if it.joules is not None]
    return Choice(
        value=value,
        is_cap=_number(rows[0], "max_watt") is not None,
        energy=energies if len(energies) == len(figures) else (),
        rate=tuple(it.rate for it in figures),
        minutes=float(np.mean(lengths)) / 60 if len(lengths) == len(figures) else None,
        watt_minutes=float(np.mean(known)) / 60 if len(known) == len(figures) else None,
        watts=_watts(kept),
        is_counted=_number(rows[0], "window_energy_j") is not None,
        means={name: _mean(kept, name) for name in _MEANS},
        dropped=len(rows) - len(kept),
        rows=len(rows),
        binding=_mean(rows, "cap_binding"),
        verdicts=tuple(own[0]["verdict"] for own in trials.values() if own[0].get("verdict")),
        reasons=tuple(sorted({why for row in rows for why in (row.get("reasons") or "").split()})),
    )


def _without_outliers(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    values = np.array([_number(row, "tokens_per_sec") or 0.0 for row in rows])
    return [row for row, is_out in zip(rows, outliers(values), strict=True) if not is_out]


class _Figures(NamedTuple):
    """Of a trial: tokens/s, J/token, its length and its energy."""

    rate: float
    energy: float | None
    seconds: float | None
    joules: float | None


def _figures(rows: Sequence[dict[str, str]]) -> _Figures:
    """By the trial's own window; of another tool's rows by mean rate, mean power and span."""
    tokens, seconds = (_number(rows[0], name) for name in _OWN)
    if tokens is not None and seconds:
        joules = _number(rows[0], "window_energy_j")
        return _Figures(tokens / seconds, joules / tokens if joules and tokens else None, seconds, joules)
    seconds, watts, rate = _span_s(rows), _watts(rows), _mean(rows, "tokens_per_sec") or 0.0
    joules = None if watts is None or seconds is None else watts * seconds
    return _Figures(rate, watts / rate if watts and rate else None, seconds, joules)


def _watts(rows: Sequence[dict[str, str]]) -> float | None:
    """Of all cards together, where a column says so."""
    return _mean(rows, "total_power_draw") or _mean(rows, "power_draw") or None


def _span_s(rows: Sequence[dict[str, str]]) -> float | None:
    times = [_time_s(row["timestamp"]) for row in rows if row.get("timestamp")]
    return max(times) - min(times) if len(times) > 1 else None


def _time_s(text: str) -> float:
    """Also as nvidia-smi writes it, 2026/01/31 12:00:00.000, or as seconds."""
    try:
        return datetime.fromisoformat(text.replace("/", "-")).timestamp()
    except ValueError:
        seconds = float(text)
        if not np.isfinite(seconds):
            raise
        return seconds


def _number(row: dict[str, str], name: str) -> float | None:
    try:
        found = float(row.get(name) or "nan")
    except ValueError:
        return None
    return found if np.isfinite(found) else None


def _mean(rows: Sequence[dict[str, str]], name: str) -> float | None:
    known = [value for row in rows if (value := _number(row, name)) is not None]
    return float(np.mean(known)) if known else None


def recommend(choices: Sequence[Choice], objective: Objective = "energy") -> Advice:
    """The setting with the least of what is asked for; of those that cannot be told from it, the fastest.

    Args:
        choices: All settings of a scenario.
        objective: `energy`: J/token; `edp`: energy times delay; `cost`: half energy and half the highest
            power times time, as Zeus weighs them; `slowdown`: least energy among those not slower than the
            fastest by more than 5 %; `slo`: least energy among those that LoadGen found VALID each time.
    """
    sound = [choice for choice in choices if choice.is_sound]
    front = _front(sound)
    able = [choice for choice in sound if _is_able(choice, sound, objective)]
    if len(choices) < 2:
        what = "one setting" if choices else "nothing"
        return Advice(None, f"nothing is recommended: {what} was measured", front=front)
    if not able or len(sound) < 2:
        return Advice(None, f"nothing is recommended: {_why_none(choices, sound, objective)}", front=front)
    highest_w = max(float(np.mean(_power(choice))) for choice in able)
    values = [_objective(choice, objective, highest_w) for choice in able]
    places = tied_with_least(values)
    if places is None:
        least = able[int(np.argmin([np.mean(own) for own in values]))]
        if len(able) == 1:
            return Advice(least, f"{least.name}: the only setting that {_ABLE[objective]}", (least,), front)
        return Advice(
            least, _told(least, sound) + "; of one trial each, so that chance may have chosen it", (), front
        )
    tied = [able[place] for place in places]
    chosen = max(tied, key=lambda choice: choice.tokens_per_s.value)
    words = _told(chosen, sound)
    if len(tied) > 1:
        words += f"; not told apart from it: {', '.join(it.name for it in tied if it is not chosen)}"
    return Advice(chosen, words, tuple(tied), front)


def _front(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    places = pareto([it.tokens_per_s.value for it in choices], [float(np.mean(it.energy)) for it in choices])
    return tuple(choices[place] for place in places)


def _power(choice: Choice) -> Floats:
    found: Floats = np.asarray(choice.energy) * np.asarray(choice.rate)
    return found


def _objective(choice: Choice, objective: Objective, highest_w: float) -> list[float]:
    energy, rate = np.asarray(choice.energy), np.asarray(choice.rate)
    if objective == "edp":
        return list(energy / rate)
    if objective == "cost":
        return list((energy + highest_w / rate) / 2)
    return list(energy)


def _is_able(choice: Choice, choices: Sequence[Choice], objective: Objective) -> bool:
    if objective == "slowdown":
        fastest = max(it.tokens_per_s.value for it in choices)
        return choice.tokens_per_s.value >= _FAST_ENOUGH * fastest
    if objective == "slo":
        return bool(choice.verdicts) and set(choice.verdicts) == {"VALID"}
    return True


def _why_none(choices: Sequence[Choice], sound: Sequence[Choice], objective: Objective) -> str:
    if not any(choice.energy for choice in choices):
        return "no power was measured"
    if len(sound) > 1:
        return f"no setting {_ABLE[objective]}"
    reasons = sorted({_FATAL[why] for choice in choices for why in choice.reasons if why in _FATAL})
    others = f" ({', '.join(reasons)})" if reasons else ""
    return f"the energy of {'only one' if sound else 'no'} setting is sound{others}"


def _told(choice: Choice, choices: Sequence[Choice]) -> str:
    """The setting, its energy, and both against the fastest."""
    fastest = max(choices, key=lambda it: it.tokens_per_s.value)
    said = f"{choice.name}: {choice.joules} J/token"
    if fastest is choice:
        return f"{said}, the fastest"
    slower = 1 - choice.tokens_per_s.value / fastest.tokens_per_s.value
    less = 1 - float(np.mean(choice.energy)) / float(np.mean(fastest.energy))
    return f"{said}, {slower:.1%} slower than {fastest.name}, {less:.1%} less energy"


def notes_on(choices: Sequence[Choice]) -> list[str]:
    """What people must know of the settings, a sentence each."""
    said: dict[str, list[str]] = {}
    for it in choices:
        if it.is_cap and it.binding is not None and it.binding < _BINDS:
            said.setdefault("the cap never limited the cards", []).append(it.name)
        for why in it.reasons:
            words = (
                f"{_FATAL[why]}, so that the energy does not count" if why in _FATAL else _TOLD.get(why, why)
            )
            said.setdefault(words, []).append(it.name)
        if it.dropped:
            rows = f"{it.name} ({it.dropped} of {it.rows})"
            said.setdefault("rows that are outliers, left out of means", []).append(rows)
    notes = [f"{', '.join(names)}: {what}" for what, names in said.items()]
    first, last = (choices[0], choices[-1]) if len(choices) > 1 else (None, None)
    if first and last and first.energy and tells_apart(first.energy, last.energy) is False:
        notes.append("the lowest and the highest setting cannot be told apart by energy")
    return notes
