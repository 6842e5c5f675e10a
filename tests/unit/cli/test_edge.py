"""The outer edge of the command line: what no verb expects."""

from __future__ import annotations

import pytest

from harness_llm import cli


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
