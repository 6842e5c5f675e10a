from __future__ import annotations

import errno
import inspect

import pytest

from harness_llm import errors
from harness_llm.errors import HarnessError, HostError, RunBroken, UsageError, named, refused_by_host


def _classes() -> list[type[HarnessError]]:
    return [
        item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, HarnessError)
    ]


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = [line.strip("│├└─ ").split()[0] for line in (errors.__doc__ or "").splitlines() if "─" in line]
    real = [kind.__name__ for kind in _classes() if kind is not HarnessError]
    assert sorted(drawn) == sorted(real)


@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
def test_exit_code_follows_the_branch(kind: type[HarnessError]) -> None:
    assert kind.exit_code == (2 if issubclass(kind, UsageError) else 3)
    assert kind is HarnessError or issubclass(kind, UsageError) != issubclass(kind, RunBroken)


def test_every_class_says_in_a_sentence_what_it_means() -> None:
    for kind in _classes():
        text = inspect.getdoc(kind) or ""
        assert text.partition("\n")[0].endswith("."), kind


def test_text_holds_message_and_remedy() -> None:
    error = HarnessError("x is 3", "Set x to 4.")
    assert str(error) == "x is 3\n  remedy: Set x to 4."
    assert str(HarnessError("x is 3")) == "x is 3"


@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        (errno.EFBIG, HostError, "ulimit -f"),
        (errno.ENOSPC, HostError, "Free space"),
        (errno.ENAMETOOLONG, UsageError, "shorter path"),
        (errno.ENOTCONN, HostError, "else this"),
    ],
)
def test_what_the_host_refuses_has_the_remedy_of_its_kind(
    code: int, kind: type[HarnessError], remedy: str
) -> None:
    found = refused_by_host("x: cannot be written", OSError(code, "said so"), "else this")
    assert type(found) is kind and remedy in found.remedy
    assert found.message == "x: cannot be written: said so"


def test_an_exception_without_text_has_no_empty_colon() -> None:
    assert (named(MemoryError()), named(ValueError("7: x"))) == ("MemoryError", "ValueError: 7: x")
