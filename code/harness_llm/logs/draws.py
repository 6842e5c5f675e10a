"""LoadGen's draws of samples, made again from its seeds: which sample has which sequence number.

LoadGen shuffles the data set once (`loaded_qsl_set`), and for each query draws a place in that order
(mlcommons/inference @b66003e1 loadgen/loadgen.cc lines 209-245, 280-410, 618-680). Both are `std::shuffle`
and `std::uniform_int_distribution` over `std::mt19937`, of libstdc++: two places by one draw where their
product fits 32 bits, and a range by Lemire's multiplication since GCC 11, by division before.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import TypeAlias

import numpy as np

from harness_llm.logs.detail import DetailLog

Words = Iterator[int]
Uniform = Callable[[Words, Iterable[int]], Iterator[int]]
Order: TypeAlias = "array[int]"
"""Samples in an order, in as few bytes as may be: a tree has hundreds of orders."""

_WORD = 2**32
_MASK = _WORD - 1
_BLOCK = 4096
MOST_SAMPLES = 2_000_000
"""Samples of a data set, and answers in a log; beyond that a log is no run's."""


def _words(seed: int) -> Words:
    """The 32-bit words of std::mt19937, which takes the low 32 bits of a seed."""
    generator = np.random.RandomState(seed & _MASK)
    while True:
        yield from generator.randint(0, _WORD, size=_BLOCK, dtype=np.uint32).tolist()


def _by_multiplication(words: Words, sizes: Iterable[int]) -> Iterator[int]:
    """A number below each size, as libstdc++ draws it since GCC 11."""
    for size in sizes:
        product = next(words) * size
        if product & _MASK < size:
            threshold = _WORD % size
            while product & _MASK < threshold:
                product = next(words) * size
        yield product >> 32


def _by_division(words: Words, sizes: Iterable[int]) -> Iterator[int]:
    """The same before GCC 11."""
    for size in sizes:
        scaling = _MASK // size
        word, end = next(words), size * scaling
        while word >= end:
            word = next(words)
        yield word // scaling


def _shuffle(places: list[int], words: Words, uniform: Uniform) -> list[int]:
    """std::shuffle in place: two swaps by one draw, for all data sets that are in use."""
    size = len(places)
    if _MASK // max(1, size) < size:
        for at, other in enumerate(uniform(words, range(2, size + 1)), 1):
            places[at], places[other] = places[other], places[at]
        return places
    first = 1
    if size % 2 == 0 and size:
        other = next(uniform(words, (2,)))
        places[1], places[other] = places[other], places[1]
        first = 2
    twos = range(first, size, 2)
    for at, drawn in zip(twos, uniform(words, [(at + 1) * (at + 2) for at in twos]), strict=True):
        one, two = divmod(drawn, at + 2)
        places[at], places[one] = places[one], places[at]
        places[at + 1], places[two] = places[two], places[at + 1]
    return places


@lru_cache(maxsize=64)
def _order(seed: int, size: int, uniform: Uniform) -> Order:
    return array("q", _shuffle(list(range(size)), _words(seed), uniform))


def loaded_order(seed: int, size: int) -> Order:
    """The order in which LoadGen, built by GCC 11 or later, loads a data set with `qsl_rng_seed`."""
    return _order(seed, size, _by_multiplication)


def is_loaded_order(order: Order, seed: int) -> bool:
    """Whether this is the order in which LoadGen loads a data set of that size with `qsl_rng_seed`."""
    if not 0 < len(order) <= MOST_SAMPLES:
        return False
    return any(order == _order(seed, len(order), kind) for kind in (_by_multiplication, _by_division))


@dataclass(frozen=True)
class Draw:
    """What decides which sample has which sequence number.

    Attributes:
        qsl_seed: `effective_qsl_rng_seed`.
        sample_seed: `effective_sample_index_rng_seed`.
        size: Samples that are loaded.
        count: Sequence numbers.
        is_offline: Offline repeats the loaded order; Server draws a place for each query.
        is_accuracy: Accuracy mode asks each sample once.
        is_equal_issue: `sample_concatenate_permutation`: whole shuffled copies of the data set.
        is_unique: `performance_issue_unique`: each sample once.
        copies: Shuffled copies that LoadGen prepares before the first draw.
    """

    qsl_seed: int
    sample_seed: int
    size: int
    count: int
    is_offline: bool
    is_accuracy: bool = False
    is_equal_issue: bool = False
    is_unique: bool = False
    copies: int = 1

    @classmethod
    def of_log(cls, detail: DetailLog) -> Draw | None:
        """The draw of a logged test; None where the log lacks a setting or has one of no real run."""
        loaded = detail.value("loaded_qsl_set")
        size = len(loaded) if isinstance(loaded, array) else 0
        offline = detail.value("effective_scenario") == "Offline"
        accuracy = detail.value("effective_test_mode") == "AccuracyOnly"
        unique = detail.value("effective_performance_issue_unique") is True
        seeds = (
            detail.integer("effective_qsl_rng_seed"),
            detail.integer("effective_sample_index_rng_seed"),
        )
        count = detail.integer("generated_samples_per_query" if offline else "generated_query_count")
        least = detail.integer("effective_min_query_count")
        if None in (*seeds, count, least) or not 0 < size <= MOST_SAMPLES:
            return None
        assert seeds[0] is not None and seeds[1] is not None and count is not None and least is not None
        if accuracy or unique:
            least = 1 if offline else size
        if not (0 < count <= MOST_SAMPLES and 0 <= least <= MOST_SAMPLES):
            return None
        return cls(
            qsl_seed=seeds[0],
            sample_seed=seeds[1],
            size=size,
            count=count,
            is_offline=offline,
            is_accuracy=accuracy,
            is_equal_issue=detail.value("effective_sample_concatenate_permutation") is True,
            is_unique=unique,
            copies=-(-least // size),
        )


def issued_samples(draw: Draw) -> Iterator[Order]:
    """The samples in the order of their sequence numbers, once by each way of drawing a range."""
    return (_issued(draw, kind) for kind in (_by_multiplication, _by_division))


def drawn_samples(draw: Draw) -> Order:
    """The samples in the order of their sequence numbers, by LoadGen's wheels (GCC 11 or later)."""
    return _issued(draw, _by_multiplication)


@lru_cache(maxsize=64)
def _issued(draw: Draw, uniform: Uniform) -> Order:
    loaded, size = _order(draw.qsl_seed, draw.size, uniform), draw.size
    words = _words(draw.sample_seed)
    # LoadGen prepares all of its distributions, whichever it will use.
    once = _shuffle(list(range(size)), words, uniform) if draw.is_accuracy else []
    unique = _shuffle(list(range(size)), words, uniform)
    equal: list[int] = []
    copy = list(range(size))
    for _ in range(draw.copies):
        equal += _shuffle(copy, words, uniform)
    if draw.is_offline:
        samples: list[int] = []
        for _ in range(draw.count // size):
            samples += _shuffle(list(loaded), words, uniform) if draw.is_equal_issue else loaded
        return array("q", samples) + loaded[: draw.count % size]
    if draw.is_unique:
        places = unique
    elif draw.is_equal_issue:
        places = [equal[number % len(equal)] for number in range(draw.count)] if equal else []
    elif draw.is_accuracy:
        places = once
    else:
        places = list(uniform(words, repeat(size, draw.count)))
    return array("q", [loaded[place] for place in places[: draw.count]])
