"""Engine arguments with values to choose from, as the command line gives them: `max_num_seqs=64,128`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from harness_llm.errors import ConfigError
from harness_llm.tune.batching import BOUNDS


def combinations(option: str, texts: Sequence[str]) -> list[dict[str, str]]:
    """Every combination of values by argument; of no texts, one that is empty.

    Args:
        option: Which gave the texts.
        texts: Such as `max_num_seqs=64,128`; of an argument that is given again, all values count.

    Raises:
        ConfigError: One is not `key=value,…`, or the value of a bound is no number.
    """
    options: dict[str, dict[str, None]] = {}
    for text in texts:
        key, _, values = text.removeprefix("llm_config.").partition("=")
        found = [value.strip() for value in values.split(",")]
        if not key or not all(found):
            raise ConfigError(
                f"{option} {text}: not an argument with its values", "Write max_num_seqs=64,128."
            )
        if key in BOUNDS and not all(value.isdecimal() and int(value) > 0 for value in found):
            raise ConfigError(f"{option} {text}: not whole numbers above 0", f"Write {key}=64,128.")
        options.setdefault(key, {}).update(dict.fromkeys(found))
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]


def named(values: Mapping[str, str]) -> str:
    """The name of a combination; empty of an empty one."""
    return ", ".join(f"{key}={value}" for key, value in values.items())
