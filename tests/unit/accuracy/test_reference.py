"""What a reference of one's own may be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from harness_llm.accuracy import reference
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_score_of_nothing_judges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"rouge1": 7.9, "rouge2": 0.0}
    monkeypatch.setattr(reference, "Tokenizer", lambda _: None)
    monkeypatch.setattr(reference, "weights_digest", lambda _: "0" * 64)
    monkeypatch.setattr(reference, "generate", lambda *_, **__: [])
    monkeypatch.setattr(reference, "score_outputs", lambda *_: SimpleNamespace(scores=scores))
    metric = SimpleNamespace(check=lambda _: None)
    with pytest.raises(ConfigError, match="rouge2 of the reference is 0") as caught:
        reference.make_reference(
            "mine",
            tmp_path,
            None,
            metric,
            made_by="",
            dtype="float32",
            batch=1,  # type: ignore[arg-type]
        )
    assert "max_tokens" in caught.value.remedy
