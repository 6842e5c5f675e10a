"""What a fault is, and the list that every module of this package adds its own to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One change to the good tree, and the check that must fail."""

    name: str
    expected: str
    apply: Callable[[Path], object]


FAULTS: list[Fault] = []


def fault(expected: str) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    def register(function: Callable[[Path], object]) -> Callable[[Path], object]:
        FAULTS.append(Fault(function.__name__, expected, function))
        return function

    return register
