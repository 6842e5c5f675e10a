"""What all tests share: one hypothesis profile, without deadlines, because two busy cores keep none."""

from __future__ import annotations

import csv
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from harness_llm import secret_values

settings.register_profile("suite", deadline=None, max_examples=60)
settings.register_profile("long", deadline=None, max_examples=6000)
settings.load_profile("suite")

# A shell starts what it puts in the background with SIGINT ignored, which children inherit; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The project's top folder."""
    return Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test masks what another one made a secret, or reads longer CSV cells since another one did."""
    monkeypatch.setattr(secret_values, "_known", set())
    csv.field_size_limit(1 << 17)
