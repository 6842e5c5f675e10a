"""The samples that LoadGen will ask in a Server performance test, before it begins.

For those who predict or judge a run. A system under test must not know what comes: nothing in `loadgen/`,
`replica/` or `engines/` may import this module, `draws` or `schedule`; `tests/contract` holds them to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from harness_llm.logs.draws import Draw, drawn_samples


def loaded_samples(settings: Mapping[str, Any], samples: int) -> int:
    """How many samples of a data set a performance test loads."""
    return min(int(settings["performance_sample_count_override"]) or samples, samples)


def server_samples(settings: Mapping[str, Any], samples: int, count: int) -> npt.NDArray[np.int64]:
    """The sample of each of the first `count` queries, by LoadGen's wheels (GCC 11 or later).

    Args:
        settings: Fields of LoadGen's `TestSettings`.
        samples: Samples of the data set.
        count: Queries.
    """
    loaded = loaded_samples(settings, samples)
    is_unique = bool(settings["performance_issue_unique"])
    least = loaded if is_unique else int(settings["min_query_count"])
    draw = Draw(
        qsl_seed=int(settings["qsl_rng_seed"]),
        sample_seed=int(settings["sample_index_rng_seed"]),
        size=loaded,
        count=count,
        is_offline=False,
        is_equal_issue=bool(settings["sample_concatenate_permutation"]),
        is_unique=is_unique,
        copies=-(-least // loaded),
    )
    return np.array(drawn_samples(draw), np.int64)
