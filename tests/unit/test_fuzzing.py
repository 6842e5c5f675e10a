"""Every reader of what others wrote, fed with damage: an answer or one of our errors, soon.

`--hypothesis-profile=long` looks a hundred times longer.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import yaml
from golden.recorded import unpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from own_benchmark import CONF

from harness_llm.accuracy.reference import Reference
from harness_llm.checkpoint import Checkpoint
from harness_llm.checkpoint_files import check_tokenizer, check_weights
from harness_llm.config.convert import convert
from harness_llm.config.load import load_config
from harness_llm.config.recorded import load_recorded
from harness_llm.config.user_conf import UserConf
from harness_llm.core import EventStatus, GenerationLimits, Request
from harness_llm.datasets import kinds
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.kinds import dataset_of
from harness_llm.datasets.pandas_pickle import read_columns
from harness_llm.datasets.rowfile import read_rows
from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.textfile import read_objects
from harness_llm.errors import HarnessError, ProtocolError
from harness_llm.logs.accuracy_log import AccuracyLog, read_answers
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.summary import SummaryLog
from harness_llm.results.events import EVENT_DTYPE, sound_events
from harness_llm.results.live_file import read_live
from harness_llm.results.live_records import LIVE_VERSION, LiveRecord
from harness_llm.results.reading import read_record
from harness_llm.results.records import AccuracyRecord, EngineRecord, RunRecord, TestRecord
from harness_llm.results.study_folder import StudyRecord
from harness_llm.system.description import read_system_file
from harness_llm.transport.spec import LoadgenSpec, ReplicaSpec, read_spec
from harness_llm.transport.wire import (
    Done,
    Events,
    Failed,
    Heartbeat,
    Open,
    Progress,
    Ready,
    Stage,
    Submit,
    Welcome,
    decode_control,
    decode_data,
    encode,
)
from harness_llm.views.run_summary import summarize

if TYPE_CHECKING:
    from collections.abc import Callable

FUZZ = settings(deadline=20_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
_NASTY = [
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\x85", b"\xe2\x80\xa8", b"\x1b[2J", b"9" * 5000, b"-1",
    b"1e400", b"nan", b"NaN", b"Infinity", b"null", b"[]", b"{}", b"[" * 2000, b'{"a":' * 2000, b"&a [*a]",
    b"<<: {a: 1}", b"!!python/object:os.system x", b"!!int abc", b"2026-13-45", b"1:2:3", b"0x10",
    b"99999999999999999999:9:9", b"\\ud800", b'"', b"'", b": ", b"- ",
    b"\t", b" = ", b"#", b"%", b"${X}", b"${", b"../../x",
    b"/dev/zero", b"true", b"'\n", b"? ", b"| ",
    b">-\n", b"*.*.", b"18446744073709551616", b"\xed\xa0\x80", b"1_000",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """A sound text after some edits: cut, doubled, overwritten, with what parsers stumble over."""
    text = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 1, 2, 5, 20, 200]))
        edit = draw(st.sampled_from(["replace", "delete", "double", "cut", "bits"]))
        if edit == "replace":
            text[start : start + length] = draw(st.sampled_from(_NASTY) | st.binary(max_size=8))
        elif edit == "delete":
            del text[start : start + length]
        elif edit == "double":
            text[start:start] = text[start : start + length] * 3
        elif edit == "cut":
            del text[start:]
        elif start < len(text):
            text[start] ^= 1 << draw(st.integers(0, 7))
    return bytes(text)


def _config(folder: Path) -> dict[str, Any]:
    (folder / "user.conf").write_text(CONF)
    return {
        "llm_config": {"model": "/m", "dtype": "auto", "deep": {"a": [1, 2.5, None, True]}},
        "harness_config": {
            "benchmark": "mine", "scenario": "Offline", "engine": {"kind": "simulated", "first_token_ms": 5},
            "dataset": {"kind": "synthetic", "shape": "10:4:4"}, "max_tokens": 8, "min_tokens": 2,
            "user_conf": str(folder / "user.conf"), "replicas": 2, "interface": "lo", "port": 5000,
            "engine_env": {"A": "b"}, "tests": {"TEST07": {"dataset": "synthetic"}},
        },
    }  # fmt: skip


def _read_jsonl(path: Path) -> object:
    reading = Reading(GenerationLimits(2, 8), vocab_size=100, official=False)
    return kinds.load(dataset_of({"kind": "jsonl", "path": str(path)}), reading)


def _write_run(path: Path) -> object:
    """A run folder is known by its run.json."""
    return summarize(path.parent)


_JSONL = b'{"prompt_ids": [5, 6, 7], "max_tokens": 4, "reference": "x"}\n' * 3
_RUN = msgspec.json.encode(RunRecord.blank())
_TEST = msgspec.json.encode(TestRecord.blank())
_MODEL = json.dumps({"model_type": "llama", "vocab_size": 100, "eos_token_id": [1, 2]}).encode()
_REFERENCE = (
    b'{"benchmark": "mine", "metric": "rouge", "samples": 3, "dataset_digest": "a", "model_digest": "b",'
    b' "tokens_per_sample": 3.5, "scores": {"rouge1": 20.5}, "made_by": "x", "date": "2026-01-01"}'
)
_SPEC = (
    b'{"name": "r", "control": "ipc:///a", "listen": "ipc:///b", "engine": "x", "engine_arguments": {"a": 1}}'
)
_SYSTEM = b"system:\n  cooling: air\nmeasurements:\n  retraining: 'No'\n"


def _read_facts(path: Path) -> object:
    return read_record(path, EngineRecord).as_facts()


def _read_table(path: Path) -> object:
    return list(read_rows(path, lambda columns: columns))


def _model(path: Path) -> object:
    found = Checkpoint(path.parent)
    return found.end_tokens, found.vocabulary_size, found.max_positions, found.model_type, found.is_quantized


_THEIRS = yaml.safe_dump({
    "benchmark_name": "llama2-70b", "scenario": "server", "test_mode": "performance",
    "vllm_env_config": {"VLLM_LOGGING_LEVEL": "ERROR"},
    "vllm_engine_config": {"model": "/m", "tensor_parallel_size": 1, "max_model_len": 2048},
    "vllm_sampling_config": {"temperature": 0.0, "min_tokens": 1, "max_tokens": 1024},
    "harness_config": {"dataset_path": "/d.pkl", "user_conf_path": "/u.conf", "device_count": 8},
}).encode()  # fmt: skip
_LIVE = b"".join(
    msgspec.json.encode(LiveRecord(version=LIVE_VERSION, at_s=float(at), began_at_s=0.0, stage="x")) + b"\n"
    for at in range(3)
)
_STUDY = (
    b'{"format": 1, "kind": "x", "seed": 1, "points": [{"label": "a", "settings": {"b": 1.5}}],'
    b' "state": "running", "started_utc": "2026-01-01T00:00:00Z", "versions": {"a": "1"}}'
)
_HEADER = b'{"__metadata__":{},"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
_WEIGHTS = len(_HEADER).to_bytes(8, "little") + _HEADER + bytes(8)
_INDEX = b'{"metadata": {"total_size": 8}, "weight_map": {"a": "model.safetensors", "b": "b.safetensors"}}'
_PICKLE = pickle.dumps({"input": ["a", "b"], "tok_input": [[1, 2], [3]], "output": ["x", None]}, 4)
_CSV = b'prompt,reference\na,b\n"c, d",e\n'


READERS: dict[str, tuple[str, bytes | None, Callable[[Path], object]]] = {
    "harness YAML": ("run.yaml", None, load_config),
    "recorded YAML": ("Offline.yaml", None, load_recorded),
    "user.conf": ("user.conf", CONF.encode(), UserConf.read),
    "JSONL": ("samples.jsonl", _JSONL, _read_jsonl),
    "run.json": ("run.json", _RUN, lambda path: read_record(path, RunRecord)),
    "run.json, shown": ("run.json", _RUN, _write_run),
    "test.json": ("test.json", _TEST, lambda path: read_record(path, TestRecord)),
    "accuracy.json": (
        "accuracy.json", msgspec.json.encode(AccuracyRecord.blank()),
        lambda path: read_record(path, AccuracyRecord),
    ),
    "config.json": ("config.json", _MODEL, _model),
    "generation_config.json": ("generation_config.json", _MODEL, _model),
    "reference.json": ("reference.json", _REFERENCE, Reference.load),
    "replica's spec": ("spec.json", _SPEC, lambda path: read_spec(ReplicaSpec, path)),
    "loadgen's spec": ("spec.json", _SPEC, lambda path: read_spec(LoadgenSpec, path)),
    "live.jsonl": ("live.jsonl", _LIVE, lambda path: read_live(path.parent)),
    "study.json": ("study.json", _STUDY, lambda path: read_record(path, StudyRecord)),
    "facts.json": ("facts.json", b'{"name": "x", "resolved": {"a": 1}}', _read_facts),
    "AMD's YAML": ("theirs.yaml", _THEIRS, convert),
    "weights": ("model.safetensors", _WEIGHTS, lambda path: check_weights(path.parent)),
    "weights' index": (
        "model.safetensors.index.json", _INDEX, lambda path: check_weights(path.parent)
    ),
    "tokenizer": (
        "tokenizer.json", b'{"version": "1.0", "model": {"vocab": {"a": 1}}}',
        lambda path: check_tokenizer(path.parent, must_have=True),
    ),
    "pickled data": ("samples.pkl", _PICKLE, lambda path: read_columns(path, ["tok_input"], ["output"])),
    "CSV": ("samples.csv", _CSV, _read_table),
    "JSON list": ("samples.json", b'[{"prompt": "a"}, {"prompt": "b", "x": null}]', _read_table),
    "system YAML": ("system.yaml", _SYSTEM, read_system_file),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@FUZZ
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    file, sound, read = READERS[name]
    if sound is None:
        sound = yaml.safe_dump(_config(tmp_path)).encode()
    path = tmp_path / file
    path.write_bytes(data.draw(damaged(sound)))
    try:
        read(path)
    except HarnessError as error:
        assert str(path) in str(error) or str(path.parent) in str(error), "it names the file"


_KEYS = (
    "llm_config", "llm_config.x", "harness_config.max_tokens", "harness_config.dataset.shape",
    "harness_config.engine", "harness_config.engine_env",
)  # fmt: skip


@FUZZ
@given(data=st.data())
def test_a_damaged_override_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(_config(tmp_path)))
    key = data.draw(st.sampled_from(_KEYS))
    text = data.draw(damaged(f"{key}={{a: [1, 2], b: text}}".encode())).decode(errors="surrogateescape")
    try:
        load_config(path, [text])
    except HarnessError as error:
        assert str(error)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Recorded logs, shortened to what differs from line to line."""
    folder = unpack("rehearsal-server", tmp_path_factory.mktemp("logs"))
    lines = (folder / "mlperf_log_detail.txt").read_bytes().splitlines(keepends=True)
    return {
        "detail": b"".join(lines[:40] + lines[-80:]),
        "summary": (folder / "mlperf_log_summary.txt").read_bytes(),
        "accuracy": b'[\n{ "seq_id" : 0, "qsl_idx" : 5, "data" : "0100000002000000", "token_count" : 2 },\n'
        b'{ "seq_id" : 1, "qsl_idx" : 6, "data" : "0100000002000000", "token_count" : 2 }\n]\n',
    }


@pytest.mark.parametrize("kind", ["detail", "summary", "accuracy"])
@FUZZ
@given(data=st.data())
def test_a_damaged_log_is_data(
    tmp_path: Path, logs: dict[str, bytes], kind: str, data: st.DataObject
) -> None:
    path = tmp_path / "log"
    path.write_bytes(data.draw(damaged(logs[kind])))
    if kind == "detail":
        log = DetailLog.read(path)
        _ = (log.is_valid, log.tokens_per_second, log.samples_per_second, log.ttft_p99_ns, log.tpot_p99_ns)
    elif kind == "summary":
        _ = SummaryLog.read(path).reasons
    else:
        _ = AccuracyLog.read(path).tokens_per_sample
        try:
            list(read_answers(path))
        except (HarnessError, ValueError) as error:
            assert str(error)


_FRAMES = [
    Open(2, "s"), Submit(0, [Request(1, b"1234", 2, 4, True)]), Welcome(2, "s", 8),
    Events(0, 1, [1], [2], [3], [b"1234"], [(1, "x")]), Stage("x"),
    Ready(2, "ipc:///x", {"a": [1, None]}), Heartbeat(1, 2, 3, 4), Progress(1, 2, 3, b"1234", b"1234"),
    Failed("EngineError", "m", "r"), Done({"a": 1}),
]  # fmt: skip


@given(
    frame=st.sampled_from(_FRAMES).flatmap(lambda message: damaged(encode(message))) | st.binary(max_size=60)
)
def test_a_damaged_frame_is_a_message_or_a_protocol_error(frame: bytes) -> None:
    for decode in (decode_data, decode_control):
        try:
            decode(frame)
        except ProtocolError as error:
            assert "malformed" in str(error)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("arrays")
    events = np.zeros(3, EVENT_DTYPE)
    events["status"] = EventStatus.FINISHED
    np.save(folder / "events.npy", events)
    limits = GenerationLimits(2, 8)
    reading = Reading(limits, vocab_size=100, official=False)
    kinds.load(dataset_of({"kind": "synthetic", "shape": "3:4:4"}), reading).save(folder / "samples.npz")
    return {name: (folder / name).read_bytes() for name in ("events.npy", "samples.npz")}


@FUZZ
@given(data=st.data())
def test_damaged_arrays_are_refused(tmp_path: Path, arrays: dict[str, bytes], data: st.DataObject) -> None:
    path = tmp_path / "events.npy"
    path.write_bytes(data.draw(damaged(arrays["events.npy"])))
    rows, problem = sound_events(path)
    assert rows is not None or problem is not None
    path = tmp_path / "samples.npz"
    path.write_bytes(data.draw(damaged(arrays["samples.npz"])))
    try:
        SampleTable.load(path)
    except HarnessError as error:
        assert str(path) in str(error)


def test_half_a_character_in_a_prompt_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text('{"prompt": "\\u00e9"}\n{"prompt": "a\\ud800"}\n')
    with pytest.raises(HarnessError, match="line 2: .*surrogates not allowed"):
        list(read_objects(path))
