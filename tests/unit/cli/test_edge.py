"""The outer edge of the command line: what no verb expects."""

from __future__ import annotations

import errno
import json
import math
import sys
from pathlib import Path

import pytest

from harness_llm import cli
from harness_llm.cli.output import print_json


def test_an_error_of_the_program_itself_is_no_invalid_result(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Python's own exit code for it is 1, which scripts take for INVALID."""

    def app(**_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    assert "KeyError: 'a bug'" in caplog.text


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENAMETOOLONG, "x", "/a"), 2, ("/a: File name too long", "shorter path")),
        (OSError(errno.EACCES, "x", "/a"), 3, ("/a: Permission denied", "may use")),
        (OSError(errno.ENOTCONN, "x", "/a"), 3, ("/a: Transport endpoint is not connected",)),
        (OSError(errno.EMFILE, "x"), 3, ("Too many open files", "ulimit -n")),
        (OSError(errno.EAGAIN, "x"), 3, ("Resource temporarily unavailable", "ulimit -u")),
        (MemoryError(), 3, ("Cannot allocate memory", "ulimit -v")),
    ],
)
def test_what_the_host_says_is_no_error_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception, code: int,
    said: tuple[str, ...],
) -> None:  # fmt: skip
    def app(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    written = capfd.readouterr().err
    assert ended.value.code == code
    assert all(part in written for part in said) and "Traceback" not in written, written


@pytest.mark.parametrize("verb", ["show", "check", "list", "watch", "report"])
def test_a_path_that_is_too_long_is_the_users_mistake(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], verb: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["harness-llm", verb, "a" * 5000])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "File name too long" in capfd.readouterr().err


def test_a_number_that_is_not_finite_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.nan, "b": [1.5, (math.inf, {"c": -math.inf})], "d": "NaN", "e": Path("x")})
    found = {"a": None, "b": [1.5, [None, {"c": None}]], "d": "NaN", "e": "x"}
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == found
