"""The official data sets land where the shipped profiles look; a missing one's error names the command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness_llm.benchmark import all_datasets, all_facts, command_for
from harness_llm.config.load import load_config
from harness_llm.core import GenerationLimits
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.prompts import Prompts
from harness_llm.errors import DatasetError

ROOT = Path(__file__).parents[3]
OFFICIAL = {name: known for name, known in all_datasets().items() if known.uri is not None}
NAMES = {"llama2-70b": "openorca", "llama3.1-8b": "cnn_dailymail", "gpt-oss-120b": "gpt-oss"}
MODELS = ROOT / "code/harness_llm/models"
PROFILES = sorted(path for name in NAMES for path in (MODELS / name).glob("*_*.yaml"))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_a_profile_reads_has_a_command_that_puts_it_there(profile: Path) -> None:
    config = load_config(profile, environment={"LAB_DATASET": "/my data", "LAB_MODEL": "/models"})
    harness = config.harness_config
    sources = [harness.dataset, *(given.dataset for given in harness.tests.values())]
    paths = [source.path for source in sources]
    expected = f"LAB_DATASET='/my data' python download_model.py --dataset {NAMES[profile.parent.name]}"
    assert [command_for(path) for path in paths] == [expected] * len(paths)
    assert config.model_path is not None
    model = all_facts()[profile.parent.name].model
    assert model is not None
    assert config.model_path.is_relative_to(Path("/models", model.folder))


def test_there_are_profiles_of_each() -> None:
    assert {path.parent.name for path in PROFILES} == set(NAMES)


@pytest.mark.parametrize("name", ["llama3.1-8b/cnn_eval.jsonl", "gpt-oss-120b/acc/acc_eval_ref.parquet"])
def test_a_file_that_is_not_there_is_an_error_with_its_command(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="cannot be read: no such file") as caught:
        Prompts(path=tmp_path / name).read(Reading(GenerationLimits(2, 4)))
    variable, *words = shlex.split(caught.value.remedy.partition(": ")[2])
    assert variable == f"LAB_DATASET={tmp_path}"
    assert words[:3] == ["python", "download_model.py", "--dataset"]
    assert words[3] in OFFICIAL


@pytest.mark.parametrize(
    "path",
    [
        "/data/cnn_eval.jsonl",
        "/data/my-llama3.1-8b/cnn_eval.jsonl",
        "cnn_eval.jsonl",
        "/",
        "perf_eval_ref.parquet",
    ],
)
def test_a_file_of_the_users_own_has_no_command(path: str) -> None:
    assert command_for(Path(path)) is None


def test_a_relative_path_has_a_relative_place() -> None:
    found = command_for(Path("llama3.1-8b/cnn_eval.jsonl"))
    assert found == "LAB_DATASET=. python download_model.py --dataset cnn_dailymail"


def test_what_is_known_of_each_file_can_be_right() -> None:
    digests = [
        value for known in OFFICIAL.values() for file in known.files for value in (file.md5, file.packed_md5)
    ]
    given = [value for value in digests if value is not None]
    assert len(given) == len(set(given)) == 8
    assert all(re.fullmatch("[0-9a-f]{32}", value) for value in given)
    for known in OFFICIAL.values():
        assert known.uri is not None
        assert re.fullmatch(r"https://inference\.mlcommons-storage\.org/metadata/[\w.-]+\.uri", known.uri)
        assert {made.made_of for made in known.converted} <= {file.name for file in known.files}


def test_the_documents_say_the_same_digests() -> None:
    text = (ROOT / "docs" / "download.md").read_text()
    for known in OFFICIAL.values():
        assert known.uri is not None and known.uri in text, known.name
        assert f"--dataset {known.name}" in text
        for file in known.files:
            assert file.md5 is None or file.md5 in text, file.name
