"""`harness-llm quantize` hands its options on, and ends as every verb does."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]

pytest.importorskip("torch")

from harness_llm.quantize import conversion  # noqa: E402


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return ["--model", str(tmp_path), "--calibration", str(tmp_path), "--output", str(tmp_path / "out")]


def test_a_folder_that_is_no_checkpoint_ends_with_2_and_a_remedy(
    command: Command, arguments: list[str]
) -> None:
    code, out, err = command("quantize", *arguments)
    assert (code, out) == (2, "")
    assert "config.json" in err
    assert "remedy" in err


def test_options_and_the_command_as_it_was_typed_are_handed_on(
    command: Command, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[conversion.Options] = []
    monkeypatch.setattr(conversion, "quantize", seen.append)
    code, out, _ = command("quantize", *arguments, "--kind", "jsonl", "--backend", "quark", "--samples", 7)
    assert (code, out) == (0, arguments[-1] + "\n")
    (options,) = seen
    assert (str(options.output), options.kind, options.backend) == (arguments[-1], "jsonl", "quark")
    assert (options.samples, options.sequence_length, options.write_up) == (7, 1024, None)
    assert options.command == shlex.join(
        ["harness-llm", "quantize", *arguments, "--kind", "jsonl", "--backend", "quark", "--samples", "7"]
    )


def test_ctrl_c_says_that_the_same_command_continues(
    command: Command, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "quantize", interrupted)
    code, _, err = command("quantize", *arguments)
    assert code == 3
    assert "the same command" in err
