"""The keys of a run's YAML file; below `engine` and `dataset`, those of the kind that is chosen there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harness_llm import engines
from harness_llm.config.explain import KnownKeys, meant
from harness_llm.config.harness import RunConfig
from harness_llm.config.layers import EXTENDS
from harness_llm.config.nodes import Node, find
from harness_llm.datasets import kinds as datasets

_KINDS: dict[str, Mapping[str, type[BaseModel]]] = {"dataset": datasets.KINDS, "engine": engines.KINDS}


class RunKeys(KnownKeys):
    """What may stand in the tree of a run's file."""

    def __init__(self, root: Node) -> None:
        super().__init__(RunConfig)
        self._root = root

    def at(self, location: Sequence[str | int]) -> Mapping[str, FieldInfo]:
        """As of any document; annotations name no kind of engine or data set, so they are looked up."""
        chosen = next((place for place, part in enumerate(location) if part in _KINDS), None)
        if chosen is None:
            return super().at(location)
        kind = find(self._root, (*location[: chosen + 1], "kind"))[0].value
        model = _KINDS[str(location[chosen])].get(kind if isinstance(kind, str) else engines.DEFAULT)
        return {} if model is None else KnownKeys(model).at(location[chosen + 1 :])

    def unknown(self, dotted: str, location: Sequence[str | int]) -> str:
        """That a key is not known, and the one that was meant, or where it would do something."""
        *above, name = location
        name, known = str(name), set(self.at(above))
        if not above:
            known.add(EXTENDS)
        if "dataset" in known:
            known.add("dataset_path")
        kinds = _KINDS.get(str(above[-1]), {}) if above else {}
        if others := [kind for kind, keys in kinds.items() if name in keys.model_fields]:
            return f"{dotted} does nothing here: it is a key of {' and '.join(others)}"
        inside = list(_inside(name)) if above == ["harness_config"] else []
        return f"unknown key {dotted}; {meant(name, known, inside)}"


def _inside(name: str) -> Iterator[str]:
    """Keys of engines and data sets that may be meant, as they are written below harness_config."""
    for part, kinds in _KINDS.items():
        for kind, keys in kinds.items():
            yield from (
                f"{part}: {{kind: {kind}, {near}: …}}" for near in get_close_matches(name, keys.model_fields)
            )
