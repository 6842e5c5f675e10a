"""What a fault is, and the list that every module of this package adds its own to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


Word = Literal["fail", "note"]


@dataclass(frozen=True)
class Fault:
    """One change to the good tree, the check that must see it, and the word that it must say."""

    name: str
    expected: str
    apply: Callable[[Path], object]
    word: Word = "fail"


FAULTS: list[Fault] = []


def fault(
    expected: str, word: Word = "fail"
) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    def register(function: Callable[[Path], object]) -> Callable[[Path], object]:
        FAULTS.append(Fault(function.__name__, expected, function, word))
        return function

    return register
