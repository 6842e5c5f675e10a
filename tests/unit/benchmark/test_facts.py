"""models/<folder>/benchmark.yaml is read strictly, and every file there is right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from harness_llm import rules
from harness_llm.benchmark import all_datasets, all_facts, catalogue
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HUB = {"hub": "owner/name", "revision": "a" * 40, "folder": "name", "source": "README"}
WHEEL = {"requirement": "x==1", "sha256": "0" * 64, "member": "m", "size": 1}
SPREAD = {"mean": 5.0, "sigma": 1.0, "shortest": 2, "longest": 8}
MADE = {"name": "b", "made_of": "a", "by": "articles_to_lines"}
SET: dict[str, Any] = {
    "name": "d", "folder": "f", "uri": "https://h/x.uri", "source": "s",
    "files": [{"name": "a", "md5": "0" * 32}],
}  # fmt: skip


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(catalogue, "MODELS", tmp_path)
    all_facts.cache_clear()
    yield tmp_path
    all_facts.cache_clear()


def _write(models: Path, folder: str, **content: object) -> None:
    (models / folder).mkdir()
    (models / folder / "benchmark.yaml").write_text(yaml.safe_dump({"benchmarks": [folder], **content}))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"surprise": 1}, "surprise"),
        ({"benchmarks": []}, "benchmarks"),
        ({"benchmarks": ["a", "a"]}, "a name is given twice"),
        ({"model": {**HUB, "revision": "main"}}, "model.revision"),
        ({"model": {**HUB, "wheel": WHEEL}}, "hub and revision, or a wheel"),
        ({"model": {"folder": "name", "source": "s"}}, "hub and revision, or a wheel"),
        ({"end_tokens": {"ids": [], "source": "s"}}, "end_tokens.ids"),
        ({"end_tokens": {"ids": ["2"], "source": "s"}}, "end_tokens.ids"),
        ({"end_tokens": {"ids": [2]}}, "end_tokens.source"),
        ({"datasets": [{**SET, "wheel": WHEEL}]}, "a uri or a wheel"),
        ({"datasets": [{**SET, "files": [{"name": "a"}]}]}, "md5 or packed_md5"),
        ({"datasets": [{**SET, "files": [{"name": "a", "md5": "0"}]}]}, "md5"),
        ({"datasets": [{**SET, "converted": [{**MADE, "made_of": "c"}]}]}, "c, which is not fetched"),
        ({"datasets": [{**SET, "converted": [{**MADE, "by": "magic"}]}]}, "by"),
        (
            {"shape": {"samples": 2, "source": "s", "answer": {**SPREAD, "mean": 9.0}, "prompt": SPREAD}},
            "shape.answer",
        ),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_file_and_key(models: Path, content: dict[str, Any], named: str) -> None:
    _write(models, "mine", **content)
    with pytest.raises(ConfigError, match=re.escape(named)) as caught:
        all_facts()
    assert "mine/benchmark.yaml" in str(caught.value)


def test_two_files_cannot_have_one_name(models: Path) -> None:
    _write(models, "one", datasets=[SET])
    assert set(all_facts()) == {"one"}
    all_facts.cache_clear()
    _write(models, "two", datasets=[SET])
    with pytest.raises(ConfigError, match="d is also in one/benchmark.yaml"):
        all_facts()


def test_every_file_is_of_official_benchmarks_or_of_one_that_has_a_profile() -> None:
    assert {"llama2-70b", "llama3.1-8b", "gpt-oss-120b", "smollm2-135m"} <= set(all_facts())
    for folder, found in all_facts().items():
        official = [name for name in found.benchmarks if name in rules.table().benchmarks]
        if official:
            assert list(found.benchmarks) == official and not found.metrics
        else:
            assert not found.aliases and any((catalogue.MODELS / folder).glob("*_*.yaml"))


def test_data_sets_that_share_a_folder_share_no_file() -> None:
    places = [f"{known.folder}/{name}" for known in all_datasets().values() for name in known.names]
    assert len(places) > 8 and len(set(places)) == len(places)
