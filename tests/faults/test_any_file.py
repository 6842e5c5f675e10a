"""Any file of a run folder exchanged for what is no file, or cut, under every verb that reads run folders.

A verb answers or refuses, soon and by one of its exit codes; it waits at no pipe, reads no device without
end, and calls nothing that others did an error of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from fault_kinds.rig import Rig

from harness_llm import cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_LIMIT_S = 60  # a busy machine imports slowly; a pipe is waited for without end

VERBS: dict[str, tuple[str, ...]] = {
    "show": ("show", "RUN"),
    "check": ("check", "RUN"),
    "list": ("list", "RUN"),
    "watch": ("watch", "RUN", "--view", "plain"),
    "report": ("report", "RUN", "--output", "OUT/report.html"),
    "compare": ("compare", "RUN", "SOUND"),
    "export": ("export", "RUN", "--parquet", "OUT/samples.parquet"),
    "score": ("score", "RUN/Offline/accuracy"),
    "package": ("package", "RUN", "--company", "C", "--system-name", "s", "--output", "OUT/tree"),
    "simulate": ("simulate", "RUN"),
}  # fmt: skip
HARMS: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "missing": lambda path: None,
    "empty": lambda path: path.touch(),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 8),
}
_IN_CI = (".lock", "live.jsonl", "config/Offline.yaml")
_PARTS = 3  # of all files, so that none takes ten minutes
_QUICK_VERBS = ("show", "list", "watch", "compare", "check")


class _TooLongError(BaseException):
    """Nothing catches it."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run with a performance and an accuracy test."""
    rig = Rig(tmp_path_factory.mktemp("sound"))
    try:
        made = rig.run("Offline", "--test", "accuracy")
        assert made.code == 0, made.text
        yield rig.output
    finally:
        rig.close()


@contextmanager
def _within(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _problems(verb: str, run: Path, sound: Path, out: Path, capfd: pytest.CaptureFixture[str]) -> list[str]:
    out.mkdir()
    names = {"RUN": str(run), "SOUND": str(sound), "OUT": str(out)}
    given = [re.sub("^(RUN|SOUND|OUT)", lambda found: names[found[0]], part) for part in VERBS[verb]]
    arguments, sys.argv = sys.argv, ["harness-llm", *given]
    code = None
    try:
        with _within(_LIMIT_S):
            cli.main()
    except SystemExit as ended:
        code = ended.code
    except _TooLongError:
        return [f"{verb}: not done after {_LIMIT_S} s"]
    finally:
        sys.argv = arguments
        shutil.rmtree(out)
    written = "".join(capfd.readouterr())
    found = [f"{verb}: {written[-800:]}" for part in ("Traceback", "harness-llm itself") if part in written]
    if "No such option" in written or "Usage:" in written:
        found.append(f"{verb}: never ran: {written[-300:]}")
    if code not in (None, 0, 1, 2, 3):
        found.append(f"{verb}: exit code {code}")
    return found


def _try(
    sound: Path,
    file: str,
    harm: str,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    verbs: Iterable[str] = VERBS,
) -> None:
    run = folder / "run"
    shutil.copytree(sound, run)
    path = run / file
    path.unlink()
    HARMS[harm](path)
    found = [it for verb in verbs for it in _problems(verb, run, sound, folder / "out", capfd)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("file", _IN_CI)
def test_a_named_pipe_in_a_run_folder(
    sound: Path, file: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _try(sound, file, "a named pipe", tmp_path, capfd, _QUICK_VERBS)


@pytest.mark.long
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("harm", HARMS)
def test_every_file_of_a_run_folder(
    sound: Path, harm: str, part: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = sorted(str(path.relative_to(sound)) for path in sound.rglob("*") if path.is_file())
    assert len(files) > len(_IN_CI), "there is a run to look at"
    found = []
    for number, file in enumerate(files[part::_PARTS]):
        try:
            _try(sound, file, harm, tmp_path / str(number), capfd)
        except AssertionError as error:
            found.append(f"{file} {harm}: {error}")
        shutil.rmtree(tmp_path / str(number))
    assert not found, "\n".join(found)
