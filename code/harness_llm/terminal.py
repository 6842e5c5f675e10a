"""What people see on stdout and stderr: no terminal escapes, no secrets, and never an error of the stream."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import sys
from typing import TextIO

from harness_llm.secret_values import masked

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_KEPT = 200  # characters of a long word
_LONG_WORD = re.compile(rf"\S{{{2 * _KEPT},}}")


def escaped(text: str) -> str:
    r"""The text with what would steer a terminal shown as `\x1b`, `\u202e`; line ends and tabs stay."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def shown(text: object) -> str:
    """A text of any origin as people may see it: no control characters, no secrets."""
    return escaped(masked(str(text)))


def say(text: object) -> None:
    """Write a text and a line end to stderr; an overlong word is shortened."""
    sys.stderr.write(_LONG_WORD.sub(_cut, shown(text)) + "\n")
    sys.stderr.flush()


def _cut(word: re.Match[str]) -> str:
    kept, ends = word[0][:_KEPT], re.search(r"\W*$", word[0])
    assert ends is not None
    return f"{kept}… ({len(word[0]) - _KEPT - len(ends[0]):,} more characters){ends[0][-_KEPT:]}"


class Formatter(logging.Formatter):
    """A log line as people may see it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the traceback if there is one."""
        return shown(super().format(record))


class _Forgiving(io.FileIO):
    """A descriptor on which a failed write is no error: whoever listened is gone, or the disk is full."""

    said = False

    def write(self, data: object) -> int:
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        try:
            return super().write(data) or size  # type: ignore[arg-type]
        except OSError as error:
            if not self.said and error.errno != errno.EPIPE and self.fileno() == 1:
                self.said = True
                say(f"stdout cannot be written ({os.strerror(error.errno or 0)}); what it would hold is lost")
            return size


def open_streams() -> None:
    """Make stdout and stderr such that no write to them ever fails.

    A descriptor that is closed becomes /dev/null, for else the next file that is opened would get its number;
    what an encoding cannot show is written as an escape.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    sys.stdout = _forgiving(sys.stdout, sys.__stdout__, 1)
    sys.stderr = _forgiving(sys.stderr, sys.__stderr__, 2)


def _forgiving(stream: TextIO | None, original: TextIO | None, number: int) -> TextIO:
    if stream is not original:  # somebody else's, as in a test
        assert stream is not None
        return stream
    if stream is not None:
        stream.flush()
    raw = _Forgiving(number, "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or os.isatty(number),
    )
