"""The one shape that every data set takes: an immutable table of tokenized samples with a digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness_llm.errors import BROKEN_INPUT, DatasetError
from harness_llm.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


_FORMAT = 1


@dataclass(frozen=True, eq=False)
class SampleTable:
    """All samples of one data set, tokenized, in data set order.

    Prompts lie end to end in one array, so a table of 24,576 samples is two allocations and one file.

    Attributes:
        name: What the data set is called, e.g. `humaneval`.
        tokens: int32, shape (total prompt tokens,): every prompt, end to end.
        offsets: int64, shape (samples + 1,): prompt i is `tokens[offsets[i]:offsets[i + 1]]`.
        max_tokens: int32, shape (samples,): output limit of each sample.
        min_tokens: int32, shape (samples,): no answer is shorter; equal to max_tokens where the
            output length is forced.
        references: The expected answers, in order, or None where the data set has none
            (then accuracy cannot be scored).
        source: Where it was read from.
        notes: What people should know of how it was read, a sentence each; not kept in a file.
        first_sample: What was done to make the first sample, a line each; not kept in a file.
    """

    name: str
    tokens: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    max_tokens: npt.NDArray[np.int32]
    min_tokens: npt.NDArray[np.int32]
    references: tuple[str, ...] | None = None
    source: str = field(default="", compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    first_sample: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        count = len(self.offsets) - 1
        assert self.tokens.dtype == np.int32 and self.offsets.dtype == np.int64
        assert len(self.max_tokens) == len(self.min_tokens) == count
        assert self.references is None or len(self.references) == count
        for array in (self.tokens, self.offsets, self.max_tokens, self.min_tokens):
            array.flags.writeable = False

    @classmethod
    def from_prompts(
        cls,
        name: str,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int | Sequence[int],
        min_tokens: int | Sequence[int],
        references: Sequence[str] | None = None,
        source: str = "",
        notes: tuple[str, ...] = (),
        first_sample: tuple[str, ...] = (),
    ) -> SampleTable:
        """Build a table from one list of token ids a sample.

        Raises:
            DatasetError: No samples, an empty prompt, or a token id that is no non-negative int32.
        """
        if not prompts:
            raise DatasetError(f"{source or name}: the data set has no samples")
        lengths = np.fromiter((len(prompt) for prompt in prompts), np.int64, len(prompts))
        if not lengths.all():
            index = int(np.argmin(lengths))
            raise DatasetError(
                f"{source or name}: sample {index} is empty", "Remove that sample or give it a prompt."
            )
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        try:
            tokens = np.concatenate([np.asarray(prompt, dtype=np.int64) for prompt in prompts])
        except (TypeError, ValueError, OverflowError) as error:
            raise DatasetError(
                f"{source or name}: a prompt holds something that is not a token id: {error}"
            ) from error
        if tokens.min() < 0 or tokens.max() > np.iinfo(np.int32).max:
            index = int(np.searchsorted(offsets, np.argmax((tokens < 0) | (tokens > 2**31 - 1)), "right")) - 1
            raise DatasetError(f"{source or name}: sample {index} holds a token id outside 0..2^31-1")
        return cls(
            name=name,
            tokens=tokens.astype(np.int32),
            offsets=offsets,
            max_tokens=np.broadcast_to(np.asarray(max_tokens, np.int32), (len(prompts),)).copy(),
            min_tokens=np.broadcast_to(np.asarray(min_tokens, np.int32), (len(prompts),)).copy(),
            references=None if references is None else tuple(references),
            source=source,
            notes=notes,
            first_sample=first_sample,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def prompt(self, index: int) -> npt.NDArray[np.int32]:
        """Token ids of sample `index`, int32, a view."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def first(self, count: int) -> SampleTable:
        """The first `count` samples.

        Raises:
            DatasetError: There are not so many.
        """
        if not 1 <= count <= len(self):
            raise DatasetError(
                f"{self.source or self.name}: {count} samples are asked for, the data set has {len(self)}",
                f"Ask for 1 to {len(self)} samples.",
            )
        return replace(
            self,
            tokens=self.tokens[: self.offsets[count]].copy(),
            offsets=self.offsets[: count + 1].copy(),
            max_tokens=self.max_tokens[:count].copy(),
            min_tokens=self.min_tokens[:count].copy(),
            references=None if self.references is None else self.references[:count],
        )

    @cached_property
    def prompt_lengths(self) -> npt.NDArray[np.int64]:
        """Prompt tokens of each sample, int64, shape (samples,)."""
        return np.diff(self.offsets)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over prompts, limits and references; two tables with one digest ask the same work."""
        state = hashlib.sha256()
        for array in (self.tokens, self.offsets, self.max_tokens, self.min_tokens):
            state.update(np.ascontiguousarray(array).tobytes())
            state.update(b"|")
        state.update(json.dumps(self.references).encode())
        return state.hexdigest()

    def save(self, path: Path) -> None:
        """Write the table to one `.npz` file that `load` reads back without pickle."""
        references = json.dumps(self.references).encode()
        with path.open("wb") as file:
            np.savez(
                file,
                format=np.int64(_FORMAT),
                name=np.frombuffer(self.name.encode(), np.uint8),
                source=np.frombuffer(self.source.encode(), np.uint8),
                tokens=self.tokens,
                offsets=self.offsets,
                max_tokens=self.max_tokens,
                min_tokens=self.min_tokens,
                references=np.frombuffer(references, np.uint8),
            )

    @classmethod
    def load(cls, path: Path) -> SampleTable:
        """Read a table that `save` wrote.

        Raises:
            DatasetError: The file is missing or is not such a table.
        """
        try:
            # Opened here, for numpy leaves a file open whose archive is cut.
            with open_regular(path) as opened, np.load(opened, allow_pickle=False) as file:
                if int(file["format"]) != _FORMAT:
                    raise DatasetError(
                        f"{path}: table format {int(file['format'])}, this version reads {_FORMAT}"
                    )
                references = json.loads(file["references"].tobytes())
                return cls(
                    name=file["name"].tobytes().decode(),
                    tokens=file["tokens"],
                    offsets=file["offsets"],
                    max_tokens=file["max_tokens"],
                    min_tokens=file["min_tokens"],
                    references=None if references is None else tuple(references),
                    source=file["source"].tobytes().decode(),
                )
        except DatasetError:
            raise
        except BROKEN_INPUT as error:
            reason = str(error) or type(error).__name__
            raise DatasetError(f"{path}: not a sample table of this project: {reason}") from error
