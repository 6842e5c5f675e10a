"""Every hint on a faulty user.conf is right: a file in which it was followed has no fault any more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness_llm.benchmark import loadgen_names, resolve
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

RATES = (
    "llama2-70b.Server.target_qps = 40\nllama2-70b.Offline.target_qps = 35\n"
    "llama2-70b-interactive.Server.target_qps = 9\n"
)
FAULTY = (
    "*.Server.min_durations = 600000",
    "*.Server.Min_Duration = 600000",
    "*.Server.target_qp = 5",
    "*.server.min_duration = 600000",
    "*.OFFLINE.min_duration = 600000",
    "*.Ofline.min_duration = 600000",
    "*.Interactive.min_duration = 600000",
    "*.interactive.performance_sample_count_override = 24576",
    "llama2-70b.Interactive.target_qps = 7",
    "llama2-70b-interactive.Interactive.min_query_count = 100",
    "llama2-70b-99.9.Server.min_duration = 600000",
    "lama2-70b.Server.min_duration = 600000",
    "llama3.1-8b.Server.min_duration = 600000",
    "*.Server.min_duration = 6e5",
    "*.Server.min_duration = 600000.0",
    "*.Server.min_duration = 0600000",
    "*.Server.min_duration=600000",
    "*.Server.min_duration = 600000 # ms",
    "llama2-70b.Server.target_qps = 41",
    "llama2-70b.Server.target_latency = 100",
    "llama2-70b.Server.performance_issue_same_index = 3",
    "llama2-70b.Server.target_qp = 5",
    "llama2-70b.server.target_qps = 5",
    "lama2-70b.Server.target_qps = 5",
    "llama2-70b-99.9.Server.target_qps = 5",
    "*.*.mode = 2",
    "*.*.accuracy_log_sampling_target = 100",
)
HARMLESS = (
    "*.Server.performance_sample_count = 24576",
    "*.Interactive.performance_sample_count = 24576",
    "#llama2-70b.Server.target_qps = 5",
    "llama2-70b.Offline.coalesce_queries = 1",
    "llama2-70b.Interactive.samples_per_query = 8",
    "*.*.qsl_rng_seed = 1",
    "llama3_1-70b-fp8.Server.min_duration = 1000",
    "llama2-70b.Server.target_qps = 40",
)


def _said(path: Path, text: str) -> tuple[list[str], tuple[str, ...]]:
    """Errors and notes, without the path."""
    path.write_text(text)
    try:
        found = UserConf.read(path)
        more = found.validate(resolve("llama2-70b-99.9"), list(Scenario), models=loadgen_names())
    except ConfigError as error:
        return [line.removeprefix(f"{path}:").strip() for line in str(error).splitlines()], ()
    return [], (*found.notes, *more)


def _followed(text: str, said: str) -> str:
    """The file with one hint followed, by its words alone."""
    lines = text.splitlines()
    number = re.match(r"(\d+): ", said)
    if found := re.search(r"Add `([^`]+)`", said):
        return text + found[1].replace("<samples per second>", "5") + "\n"
    if number is None:  # of a setting: the line that sets what is named first
        key = re.split(r"[ :]", said)[0]
        return "\n".join(line for line in lines if not line.startswith(f"{key} ")) + "\n"
    place = int(number[1]) - 1
    if found := re.search(r"Remove line (\d+)", said):
        return "\n".join(line for at, line in enumerate(lines, 1) if at != int(found[1])) + "\n"
    if "remove this line" in said:
        return "\n".join(line for at, line in enumerate(lines) if at != place) + "\n"
    if found := re.search(r"[Ww]rite `([^`]+)`", said):
        left = found[1].partition(" ")[0].replace("<model>", "llama2-70b")
        if left.startswith("model."):  # the form alone
            key, _, value = lines[place].partition("=")
            lines[place] = f"{key.strip()} = {value.split()[0]}"
        else:
            lines[place] = left + lines[place][lines[place].index(" =") :]
    elif found := re.search(r"Did you mean `([^`]+)`", said):
        wrong = re.search(r"(?:no key|no scenario|is called) `([^`]+)`", said)
        assert wrong is not None, said
        lines[place] = lines[place].replace(wrong[1], found[1], 1)
    elif "cut it to" in said or "leading zero" in said:
        key, _, value = lines[place].partition("= ")
        lines[place] = f"{key}= {int(float(value))}"
    elif "emove" in said or "put a space" in said:
        del lines[place]
    else:
        raise AssertionError(f"no hint in {said}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("line", FAULTY)
def test_a_hint_that_is_followed_leaves_no_fault(tmp_path: Path, line: str) -> None:
    text = f"{RATES}{line}\n"
    errors, _ = _said(tmp_path / "user.conf", text)
    assert len(errors) == 1, errors
    followed = _followed(text, errors[0])
    assert _said(tmp_path / "user.conf", followed)[0] == [], followed


@pytest.mark.parametrize("line", HARMLESS)
def test_a_harmless_line_is_a_note_and_its_hint_is_right(tmp_path: Path, line: str) -> None:
    text = f"{RATES}{line}\n"
    errors, notes = _said(tmp_path / "user.conf", text)
    assert not errors and len(notes) == 1 and "changes nothing" in notes[0]
    said = notes[0].removeprefix(f"{tmp_path / 'user.conf'}:")
    assert _said(tmp_path / "user.conf", _followed(text, said)) == ([], ())


def test_a_missing_rate_is_added_as_the_hint_says(tmp_path: Path) -> None:
    text = RATES.replace("llama2-70b.Server.target_qps = 40\n", "")
    (said,) = _said(tmp_path / "user.conf", text)[0]
    assert _said(tmp_path / "user.conf", _followed(text, said)) == ([], ())


def test_an_offline_run_of_a_known_length_needs_no_rate(tmp_path: Path) -> None:
    errors, notes = _said(tmp_path / "user.conf", RATES.replace("llama2-70b.Offline.target_qps = 35\n", ""))
    assert not errors
    assert len(notes) == 1 and "no target_qps for Offline: LoadGen takes 1 sample/s" in notes[0]
