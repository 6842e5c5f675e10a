"""What a run tells goes to its view, and once a second to whoever else takes its records."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol, Self

from msgspec.structs import replace

from harness_llm.results.live_records import LIVE_VERSION, LiveRecord
from harness_llm.secret_values import masked
from harness_llm.views.live import View


class Feed(Protocol):
    """Whoever takes records: live.jsonl, a metrics server."""

    def take(self, record: LiveRecord) -> None:
        """The next record; it must not fail, and not take long."""

    def close(self) -> None:
        """Nothing more comes."""


class ToldRun:
    """A view that tells feeds, too: what is said goes into the next record.

    Args:
        view: The view.
        feeds: Whom else to tell; closed with it, which the view is not.
    """

    def __init__(self, view: View, feeds: Sequence[Feed]) -> None:
        self._view, self._feeds = view, feeds
        self._began_at_s = time.monotonic()
        self._said: deque[str] = deque()  # lines may be said on any thread
        self._last = LiveRecord(at_s=self._began_at_s, began_at_s=self._began_at_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, line: str) -> None:
        """Pass it on."""
        self._said.append(masked(line))
        self._view.say(line)

    def tick(self, record: LiveRecord) -> None:
        """Pass it on, whole."""
        said = []
        while self._said:
            said.append(self._said.popleft())
        self._last = replace(
            record, version=LIVE_VERSION, utc_s=time.time(), began_at_s=self._began_at_s, said=tuple(said)
        )
        self._view.tick(self._last)
        for feed in self._feeds:
            feed.take(self._last)

    def end(self, stage: str) -> None:
        """The last record says how the run ended."""
        self.tick(LiveRecord(at_s=time.monotonic(), began_at_s=self._began_at_s, stage=masked(stage)))

    def close(self) -> None:
        """Close the feeds."""
        for feed in self._feeds:
            feed.close()
