"""Official data sets from a server like MLCommons' storage; its digests stand in for the real ones."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from fetch_command import main
from file_server import QUICK, Site, md5

from harness_llm.benchmark import all_datasets
from harness_llm.benchmark.definition import DataSet
from harness_llm.core import GenerationLimits
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.prompts import Prompts
from harness_llm.errors import DatasetError, FolderError, HostError
from harness_llm.fetch import named
from harness_llm.fetch.folder import write_record
from harness_llm.fetch.hub import HubModel, fetch_hub_model
from harness_llm.fetch.published import fetch_published

if TYPE_CHECKING:
    from pathlib import Path

CNN_DAILYMAIL = all_datasets()["cnn_dailymail"]
CNN_DAILYMAIL_CALIBRATION = all_datasets()["cnn_dailymail_calibration"]
GPT_OSS = all_datasets()["gpt-oss"]
ARTICLES = [
    {
        "instruction": {"llama": "Summarize: {input}"},
        "input": f"Article {number}, “quoted”.\n" * 40,
        "tok_input": list(range(number + 1)),
        "output": f"Summary\n{number} – é",
    }
    for number in range(300)
]
EVAL = json.dumps(ARTICLES, indent=4, ensure_ascii=False).encode()
"""As the official script writes it: indented, not escaped."""
PARQUET = {file.name: file.name.encode() * 20_000 for file in GPT_OSS.files}  # more than a block


def publish(site: Site, wanted: DataSet, folder: str, bodies: dict[str, bytes]) -> DataSet:
    """Put a data set up as MLCommons does, with a file that nobody needs; returns what is known of it."""
    listed = bodies | {"acc/needless.npy": b"needless"}
    site.files |= {f"/{folder}/{name}": body for name, body in listed.items()}
    assert wanted.uri is not None
    name = wanted.uri.rpartition("/")[2]
    site.files[f"/metadata/{name}"] = f"{site.url}/{folder}\n".encode()
    site.files[f"/metadata/{name.removesuffix('.uri')}.md5"] = "".join(
        f"{md5(body).value}  {name}\n" for name, body in listed.items()
    ).encode()
    files = tuple(file.model_copy(update={"md5": md5(bodies[file.name]).value}) for file in wanted.files)
    return wanted.model_copy(update={"uri": f"{site.url}/metadata/{name}", "files": files})


@pytest.fixture
def cnn(site: Site) -> DataSet:
    return publish(site, CNN_DAILYMAIL, "llama3.1_8b/datasets", {"cnn_eval.json": EVAL})


@pytest.fixture
def gpt_oss(site: Site) -> DataSet:
    return publish(site, GPT_OSS, "gpt-oss_data", PARQUET)


def _start(asked: str | None) -> int:
    """First byte that was asked for."""
    assert asked is not None
    return int(asked.removeprefix("bytes=").removesuffix("-"))


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_cnn_dailymail_is_fetched_in_two_parts_and_becomes_what_a_run_reads(
    site: Site, cnn: DataSet, tmp_path: Path
) -> None:
    site.failures["/llama3.1_8b/datasets/cnn_eval.json"] = ["cut"]
    folder = fetch_published(cnn, tmp_path, patience=QUICK)
    assert folder == tmp_path / "llama3.1-8b"
    first, second = site.gets("/llama3.1_8b/datasets/cnn_eval.json")
    assert first is None and 0 < _start(second) <= len(EVAL) // 2
    assert _files(folder) == {"cnn_eval.json", "cnn_eval.jsonl", "fetched.json"}
    assert (folder / "cnn_eval.json").read_bytes() == EVAL
    table = Prompts(path=folder / "cnn_eval.jsonl").read(Reading(GenerationLimits(2, 128)))
    assert len(table) == len(ARTICLES) == 300
    assert [table.prompt(sample).tolist() for sample in range(300)] == [a["tok_input"] for a in ARTICLES]
    assert table.references == tuple(article["output"] for article in ARTICLES)
    count = len(site.requests)
    fetch_published(cnn, tmp_path, patience=QUICK)
    fetch_published(cnn, tmp_path, patience=QUICK, rehash=True)
    assert len(site.requests) == count


def test_the_set_for_calibration_lies_below_and_neither_disturbs_the_other(
    site: Site, cnn: DataSet, tmp_path: Path
) -> None:
    few = json.dumps(ARTICLES[:7], indent=4, ensure_ascii=False).encode()
    calibration = publish(
        site, CNN_DAILYMAIL_CALIBRATION, "llama3.1_8b/datasets", {"cnn_dailymail_calibration.json": few}
    )
    below = fetch_published(calibration, tmp_path, patience=QUICK)
    fetch_published(cnn, tmp_path, patience=QUICK)
    assert below == tmp_path / "llama3.1-8b" / "calibration"
    recorded = json.loads((tmp_path / "llama3.1-8b" / "fetched.json").read_text())["files"]
    assert set(recorded) == {"cnn_eval.json", "cnn_eval.jsonl"}
    assert len((below / "cnn_dailymail_calibration.jsonl").read_text().splitlines()) == 7
    (below / "cnn_dailymail_calibration.jsonl").unlink()
    count = len(site.requests)
    fetch_published(cnn, tmp_path, patience=QUICK)
    fetch_published(calibration, tmp_path, patience=QUICK)
    assert (below / "cnn_dailymail_calibration.jsonl").is_file(), "made again"
    assert len(site.requests) == count, "of what is there"


def test_gpt_oss_lands_in_its_folders_and_goes_on_where_it_stopped(
    site: Site, gpt_oss: DataSet, tmp_path: Path
) -> None:
    second = "/gpt-oss_data/acc/acc_eval_ref.parquet"
    site.failures[second] = ["cut", *[(503, {"Retry-After": "0"})] * QUICK.attempts]
    with pytest.raises(HostError, match="the server answers 503"):
        fetch_published(gpt_oss, tmp_path, patience=QUICK)
    assert not (tmp_path / "gpt-oss-120b" / "acc" / "acc_eval_ref.parquet").exists()
    folder = fetch_published(gpt_oss, tmp_path, patience=QUICK)
    assert _files(folder) == {*PARQUET, "fetched.json"}
    assert all((folder / name).read_bytes() == body for name, body in PARQUET.items())
    assert len(site.gets("/gpt-oss_data/perf/perf_eval_ref.parquet")) == 1, "the first was whole"
    assert 0 < _start(site.gets(second)[-1]) <= len(PARQUET["acc/acc_eval_ref.parquet"]) // 2


def test_a_file_put_there_by_hand_needs_no_network(site: Site, cnn: DataSet, tmp_path: Path) -> None:
    folder = tmp_path / "llama3.1-8b"
    folder.mkdir()
    (folder / "cnn_eval.json").write_bytes(EVAL)
    fetch_published(cnn, tmp_path, patience=QUICK)
    assert site.requests == []
    assert len((folder / "cnn_eval.jsonl").read_text().splitlines()) == 300


@pytest.mark.parametrize("name", ["cnn_eval.json", "cnn_eval.jsonl"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_another_file_of_the_right_name_is_refused_and_left(
    cnn: DataSet, tmp_path: Path, name: str, kind: str
) -> None:
    there = tmp_path / "llama3.1-8b" / name
    there.parent.mkdir()
    if kind == "file":
        there.write_bytes(b"mine\n")
    else:
        there.mkdir()
    with pytest.raises(DatasetError, match=rf"{name} (has md5|is no|is not what)") as caught:
        fetch_published(cnn, tmp_path, patience=QUICK)
    assert "\n" not in caught.value.message and caught.value.remedy.startswith("Move it away")
    assert there.is_dir() if kind == "folder" else there.read_bytes() == b"mine\n"
    assert not [*there.parent.glob("*.part"), *there.parent.glob("fetched.json")]


def test_lines_that_were_made_before_the_record_are_kept(cnn: DataSet, tmp_path: Path) -> None:
    folder = fetch_published(cnn, tmp_path, patience=QUICK)
    lines = (folder / "cnn_eval.jsonl").read_bytes()
    (folder / "fetched.json").unlink()
    fetch_published(cnn, tmp_path, patience=QUICK)
    assert (folder / "cnn_eval.jsonl").read_bytes() == lines and (folder / "fetched.json").is_file()


def test_a_folder_of_a_release_that_made_nothing_is_completed(
    site: Site, cnn: DataSet, tmp_path: Path
) -> None:
    folder = fetch_published(cnn.model_copy(update={"converted": ()}), tmp_path, patience=QUICK)
    assert _files(folder) == {"cnn_eval.json", "fetched.json"}
    fetch_published(cnn, tmp_path, patience=QUICK)
    assert _files(folder) == {"cnn_eval.json", "cnn_eval.jsonl", "fetched.json"}
    assert len(site.gets("/llama3.1_8b/datasets/cnn_eval.json")) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "holds no articles"),
        (b'{"tok_input": [1]}', "is not a list of articles"),
        (b'[{"tok_input": ["1"], "output": ""}]', "is not a list of articles"),
        (b'[{"tok_input": [1]}]', "is not a list of articles"),
        (b'[{"tok_input": [1], "output": "\xff"}]', "is not a list of articles"),
        (b"\x80\x04 a pickle", "is not a list of articles"),
        (b"[" * 100_000, "is not a list of articles"),
    ],
)
def test_what_is_no_list_of_articles_is_said_so(
    site: Site, tmp_path: Path, body: bytes, message: str
) -> None:
    wanted = publish(site, CNN_DAILYMAIL, "d", {"cnn_eval.json": body})
    with pytest.raises(DatasetError, match=message) as caught:
        fetch_published(wanted, tmp_path, patience=QUICK)
    assert "\n" not in caught.value.message
    assert not (tmp_path / "llama3.1-8b" / "cnn_eval.jsonl").exists()


@pytest.mark.parametrize("held", [{"repository": "openai/gpt-oss-120b", "revision": "main"}, {"wheel": "w"}])
def test_a_folder_that_holds_something_else_is_refused(
    site: Site, gpt_oss: DataSet, tmp_path: Path, held: dict[str, Any]
) -> None:
    """As where LAB_MODEL and LAB_DATASET are one folder, and a model and a data set have one name."""
    (tmp_path / "gpt-oss-120b").mkdir()
    write_record(tmp_path / "gpt-oss-120b", held)
    before = (tmp_path / "gpt-oss-120b" / "fetched.json").read_bytes()
    named = held.get("repository", "something else")
    with pytest.raises(FolderError, match=f"holds {named}, not the data set gpt-oss"):
        fetch_published(gpt_oss, tmp_path, patience=QUICK)
    assert (tmp_path / "gpt-oss-120b" / "fetched.json").read_bytes() == before
    assert site.requests == []


def test_a_model_does_not_go_where_a_data_set_lies(gpt_oss: DataSet, tmp_path: Path) -> None:
    folder = fetch_published(gpt_oss, tmp_path, patience=QUICK)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(FolderError, match="holds something else, not openai/gpt-oss-120b"):
        fetch_hub_model(HubModel("openai/gpt-oss-120b", "main", "gpt-oss-120b"), tmp_path)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_file_in_the_way_of_a_folder_is_said(gpt_oss: DataSet, tmp_path: Path) -> None:
    (tmp_path / "gpt-oss-120b").mkdir()
    (tmp_path / "gpt-oss-120b" / "perf").write_text("")
    with pytest.raises(FolderError, match="perf cannot be made"):
        fetch_published(gpt_oss, tmp_path, patience=QUICK)


def test_the_command_ends_in_one_line_and_the_right_code(
    site: Site,
    gpt_oss: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    environment = {"LAB_DATASET": str(tmp_path)}
    arguments = ["--dataset", "gpt-oss", "--uri", gpt_oss.uri]
    assert main(arguments, environment) == 3
    error, remedy = capsys.readouterr().err.splitlines()
    assert "publishes perf/perf_eval_ref.parquet with md5" in error and "has changed" in remedy, (
        "the stand-in's files are not the official ones"
    )
    known = gpt_oss.model_copy(update={"uri": "http://127.0.0.1:9/x.uri"})
    monkeypatch.setattr(named, "all_datasets", lambda: {"gpt-oss": known})
    site.files["/gpt-oss_data/perf/perf_eval_ref.parquet"] = b"else"
    assert main(arguments, environment) == 3
    error, remedy = capsys.readouterr().err.splitlines()
    assert "downloaded twice" in error and "not the known one" in remedy
    site.files["/gpt-oss_data/perf/perf_eval_ref.parquet"] = PARQUET["perf/perf_eval_ref.parquet"]
    assert main(arguments, environment) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'gpt-oss-120b'}\n"
    (tmp_path / "gpt-oss-120b" / "acc" / "acc_eval_ref.parquet").write_bytes(b"mine")
    assert main(arguments, environment) == 2
    error, remedy = capsys.readouterr().err.splitlines()
    assert "acc_eval_ref.parquet has md5" in error and "Move it away" in remedy
