"""Real ModelOpt on a made-up Llama of 100,000 parameters."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import math
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tiny_llama import TinyLlama

torch = pytest.importorskip("torch")
pytest.importorskip("modelopt", reason="nvidia-modelopt is not installed (extra quantize)")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_llama import LAYERS, SAMPLES, options_for  # noqa: E402

from harness_llm.checkpoint import weights_digest  # noqa: E402
from harness_llm.errors import FolderError, HostError, ModelError, UsageError  # noqa: E402
from harness_llm.quantize import calibration as calibration_module  # noqa: E402
from harness_llm.quantize import conversion, exported  # noqa: E402
from harness_llm.quantize.recipe import Backend  # noqa: E402

# ModelOpt warns at import of any transformers newer than the one it was tested with.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def model(tiny_llama: TinyLlama) -> Path:
    return tiny_llama.model


@pytest.fixture
def calibration(tiny_llama: TinyLlama) -> Path:
    return tiny_llama.calibration


@pytest.fixture
def quantized(tiny_llama: TinyLlama) -> Path:
    return tiny_llama.quantized


def test_every_linear_layer_is_fp8_with_three_kinds_of_scales(quantized: Path) -> None:
    contents = exported.inspect(quantized)
    assert contents.fp8_weights == LAYERS * 7
    for low, high in (contents.weight_scales, contents.input_scales, contents.kv_scales):
        assert 0 < low <= high < math.inf
    tensors = load_file(quantized / "model.safetensors")
    assert tensors["lm_head.weight"].dtype == torch.bfloat16
    assert (
        json.loads((quantized / "hf_quant_config.json").read_text())["quantization"]["kv_cache_quant_algo"]
        == "FP8"
    )
    assert (quantized / "tokenizer.json").exists()
    assert {path.stat().st_mode for path in quantized.iterdir()} == {
        (quantized / "quantization.json").stat().st_mode
    }


def test_weight_scale_is_the_largest_magnitude_over_448(model: Path, quantized: Path) -> None:
    name = "model.layers.0.mlp.up_proj"
    weight = load_file(model / "model.safetensors")[f"{name}.weight"].float()
    scale = load_file(quantized / "model.safetensors")[f"{name}.weight_scale"]
    # gate and up, and q, k and v, share one scale: engines fuse them into one product.
    gate = load_file(model / "model.safetensors")["model.layers.0.mlp.gate_proj.weight"].float()
    largest = max(weight.abs().max(), gate.abs().max())
    assert float(scale) in (
        pytest.approx(float(weight.abs().max()) / 448, rel=1e-3),
        pytest.approx(float(largest) / 448, rel=1e-3),
    )


def test_write_up_says_what_was_done(quantized: Path, model: Path) -> None:
    text = (quantized / "calibration.md").read_text()
    for phrase in ("12 samples", "lm_head", "nvidia-modelopt 0.", "quantize it", model.name, "32 tokens"):
        assert phrase in text


def test_it_is_judged_by_the_reference_of_its_source(model: Path, quantized: Path) -> None:
    assert weights_digest(quantized) == weights_digest(model)
    (own := quantized.with_name("own")).mkdir()
    (own / "model.safetensors").symlink_to(quantized / "model.safetensors")
    assert weights_digest(own) != weights_digest(model)


def test_done_already_is_left_alone(model: Path, calibration: Path, quantized: Path, tmp_path: Path) -> None:
    before = (quantized / "model.safetensors").stat().st_mtime_ns
    options = options_for(model, calibration, quantized)
    conversion.quantize(dataclasses.replace(options, write_up=tmp_path / "new" / "calibration.md"))
    assert (quantized / "model.safetensors").stat().st_mtime_ns == before
    assert (tmp_path / "new" / "calibration.md").read_text() == (quantized / "calibration.md").read_text()
    assert not quantized.with_name("fp8.partial").exists()


def test_other_settings_do_not_overwrite(model: Path, calibration: Path, quantized: Path) -> None:
    options = dataclasses.replace(options_for(model, calibration, quantized), sequence_length=16)
    with pytest.raises(FolderError, match="another model, calibration set or setting"):
        conversion.quantize(options)


def test_foreign_folder_is_not_touched(model: Path, calibration: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep")
    with pytest.raises(FolderError, match="not made by this command"):
        conversion.quantize(options_for(model, calibration, tmp_path / "mine"))
    assert (tmp_path / "mine" / "notes").read_text() == "keep"


def test_interrupted_and_continued_gives_the_same_checkpoint(
    model: Path, calibration: Path, quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_module, "SAVE_EVERY_S", 0.0)
    output = tmp_path / "fp8"
    saved: list[int] = []
    original = calibration_module.CalibrationState.save

    def save_then_stop(
        self: calibration_module.CalibrationState, samples: int, maxima: dict[str, torch.Tensor]
    ) -> None:
        original(self, samples, maxima)
        saved.append(samples)
        if samples == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(calibration_module.CalibrationState, "save", save_then_stop)
        with pytest.raises(KeyboardInterrupt):
            conversion.quantize(options_for(model, calibration, output))
    assert saved == [1, 2, 3, 4, 5]
    assert not output.exists()
    assert output.with_name("fp8.partial").exists()
    seen: list[int] = []

    def save_and_note(
        self: calibration_module.CalibrationState, samples: int, maxima: dict[str, torch.Tensor]
    ) -> None:
        original(self, samples, maxima)
        seen.append(samples)

    monkeypatch.setattr(calibration_module.CalibrationState, "save", save_and_note)
    conversion.quantize(options_for(model, calibration, output))
    assert seen[0] == 6
    assert "interruption at sample 5" in (output / "calibration.md").read_text()
    first, second = (load_file(folder / "model.safetensors") for folder in (quantized, output))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor.float(), second[name].float()), name
    assert not output.with_name("fp8.partial").exists()


def test_second_quantization_of_the_same_folder_is_refused(
    model: Path, calibration: Path, tmp_path: Path
) -> None:
    (tmp_path / "fp8.partial").mkdir()
    with (tmp_path / "fp8.partial/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(HostError, match="another quantization"):
            conversion.quantize(options_for(model, calibration, tmp_path / "fp8"))


def test_too_few_calibration_samples(model: Path, calibration: Path, tmp_path: Path) -> None:
    options = dataclasses.replace(options_for(model, calibration, tmp_path / "fp8"), samples=SAMPLES + 1)
    with pytest.raises(UsageError, match=r"has 12 samples; 13 are needed"):
        conversion.quantize(options)


def test_quantized_source_is_refused(quantized: Path, calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="already quantized"):
        conversion.quantize(options_for(quantized, calibration, tmp_path / "fp8"))


def test_missing_package_is_named(
    model: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise conversion.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(conversion.metadata, "version", missing)
    options = dataclasses.replace(options_for(model, calibration, tmp_path / "fp8"), backend=Backend.QUARK)
    with pytest.raises(UsageError, match="amd-quark is not installed"):
        conversion.quantize(options)


def test_no_disk_space(
    model: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1 << 20}))
    with pytest.raises(HostError, match=r"0\.1 GB are needed, 0\.0 GB are free(.|\n)*--output"):
        conversion.quantize(options_for(model, calibration, tmp_path / "fp8"))
    assert not (tmp_path / "fp8").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.layers.0.mlp.up_proj.weight": torch.bfloat16}, "not float8_e4m3fn"),
        ({"model.layers.1.self_attn.k_proj.input_scale": 0.0}, "not one positive scale"),
        ({"model.layers.1.self_attn.k_proj.input_scale": math.inf}, "not one positive scale"),
        ({"model.layers.1.self_attn.k_proj.k_scale": None}, "3 kv scales for 4"),
        ({"model.layers.1.mlp.down_proj.weight_scale": None}, "13 weight scales for 14"),
        ({"lm_head.weight": torch.float8_e4m3fn}, "lm_head is FP8"),
    ],
)
def test_faulty_export_is_refused(
    quantized: Path, tmp_path: Path, change: dict[str, torch.dtype | float | None], message: str
) -> None:
    tensors = load_file(quantized / "model.safetensors")
    for name, value in change.items():
        if value is None:
            del tensors[name]
        elif isinstance(value, float):
            tensors[name] = torch.full_like(tensors[name].float(), value)
        else:
            tensors[name] = tensors[name].float().to(value)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(HostError, match=message):
        exported.inspect(tmp_path)


def test_state_of_another_recipe_and_a_torn_file_are_not_used(tmp_path: Path) -> None:
    state = calibration_module.CalibrationState(tmp_path / "state.safetensors", "mine")
    assert state.load() == (0, {})
    state.save(7, {"a": torch.tensor(2.5)})
    samples, maxima = state.load()
    assert samples == 7
    assert float(maxima["a"]) == 2.5
    assert calibration_module.CalibrationState(state.path, "other").load() == (0, {})
    state.path.write_bytes(state.path.read_bytes()[:20])
    assert state.load() == (0, {})
