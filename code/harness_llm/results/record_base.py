"""The form of every record in a run folder."""

from __future__ import annotations

from typing import Self

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON object of a run folder, or a part of one."""

    @classmethod
    def blank(cls) -> Self:
        """What stands for a record of which nothing can be read."""
        return cls()
