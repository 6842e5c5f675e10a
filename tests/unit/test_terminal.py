"""What people see: escapes shown, secrets masked, streams that never fail."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm import terminal
from harness_llm.terminal import escaped, shown


@given(st.text())
def test_nothing_that_steers_a_terminal_comes_through(text: str) -> None:
    seen = escaped(text)
    assert all(character.isprintable() or character in "\n\t" or ord(character) > 0x9F for character in seen)
    assert not set(seen) & {"\x1b", "\x07", "\r", "\x9b", "\u202e", "\u2028"}
    assert escaped(seen) == seen
    if text.isascii() and text.isprintable():
        assert seen == text


def test_escapes_are_shown_for_what_they_are() -> None:
    assert escaped("a\x1b[2J\x1b]0;x\x07\u202eb\n") == "a\\x1b[2J\\x1b]0;x\\x07\\u202eb\n"
    assert shown("say \x1bhf_" + "a" * 30) == "say \\x1b<secret>"


_SAY = (
    "from harness_llm import terminal; terminal.open_streams(); import sys, os;"
    "sys.stdout.write('caf\\u00e9 \\u2502 \\ud800\\n'); sys.stdout.flush();"
    "sys.stderr.write('x'); sys.exit(int(os.open('/dev/null', os.O_RDONLY) <= 2))"
)


@pytest.mark.parametrize(
    "redirect", ["", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>&1", "| true"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_state_of_the_streams_is_an_error(redirect: str, encoding: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {redirect}; exit ${{PIPESTATUS[0]}}', sys.executable, _SAY],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": encoding},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    if redirect == ">/dev/full":
        assert "stdout cannot be written (No space left on device)" in done.stderr
    if not redirect:
        assert "\u2502" in done.stdout if encoding == "utf-8" else "\\u2502" in done.stdout


def test_a_word_that_fills_the_screen_is_cut_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(f"u.conf:1: a = {'9' * 5000}: no number; {'x' * 399} stays")
    said = capsys.readouterr().err
    assert said == f"u.conf:1: a = {'9' * 200}… (4,800 more characters): no number; {'x' * 399} stays\n"
