"""Fixtures that unit tests of several modules share."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from own_benchmark import Setup
from run_maker import Maker

from harness_llm import cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tiny_llama import TinyLlama

    Command = Callable[..., tuple[int, str, str]]


class _Context(zmq.Context[zmq.Socket[bytes]]):
    """Keeps its sockets until it is destroyed.

    One that is collected unclosed warns; a warning is an error in tests, so the socket stays open, unknown to
    its context, and `destroy` waits for it for ever.
    """

    _kept: list[zmq.Socket[bytes]]

    def __init__(self) -> None:
        super().__init__()
        self._kept = []

    def socket(self, *args: Any, **options: Any) -> zmq.Socket[bytes]:
        self._kept.append(super().socket(*args, **options))
        return self._kept[-1]


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context = _Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> TinyLlama:
    """A checkpoint of 100,000 parameters, its calibration set and its FP8 checkpoint."""
    pytest.importorskip("modelopt", reason="nvidia-modelopt is not installed (extra quantize)")
    from tiny_llama import TinyLlama

    return TinyLlama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `harness-llm ARGUMENTS` in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness-llm", *map(str, arguments)])
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        captured = capsys.readouterr()
        return code or 0, captured.out, captured.err

    return run
