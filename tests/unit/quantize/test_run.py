"""Real ModelOpt on a made-up Llama of 100,000 parameters."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")
pytest.importorskip("modelopt", reason="nvidia-modelopt is not installed (extra quantize)")

from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from harness_llm.accuracy.checkpoint import weights_digest  # noqa: E402
from harness_llm.datasets.table import SampleTable  # noqa: E402
from harness_llm.errors import FolderError, HostError, ModelError, UsageError  # noqa: E402
from harness_llm.quantize import checkpoint, progress, rounded, run  # noqa: E402
from harness_llm.quantize.compare import compare  # noqa: E402
from harness_llm.quantize.plan import Backend  # noqa: E402

# ModelOpt warns at import of any transformers newer than the one it was tested with.
pytestmark = pytest.mark.filterwarnings("ignore")

SAMPLES = 12
LAYERS = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny-llama"
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=False, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "calibration.jsonl"
    rng = random.Random(3)
    rows = [
        {"token_ids": [rng.randrange(3, 128) for _ in range(rng.randrange(5, 40))]} for _ in range(SAMPLES)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def request_for(model: Path, calibration: Path, output: Path) -> run.Request:
    return run.Request(
        model=model,
        calibration=calibration,
        kind=None,
        output=output,
        backend=Backend.MODELOPT,
        samples=SAMPLES,
        sequence_length=32,
        write_up=None,
        command="quantize it",
    )


@pytest.fixture(scope="module")
def quantized(model: Path, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("quantized") / "fp8"
    run.quantize(request_for(model, calibration, output))
    return output


def test_every_linear_layer_is_fp8_with_three_kinds_of_scales(quantized: Path) -> None:
    contents = checkpoint.inspect(quantized)
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
    request = request_for(model, calibration, quantized)
    run.quantize(dataclasses.replace(request, write_up=tmp_path / "new" / "calibration.md"))
    assert (quantized / "model.safetensors").stat().st_mtime_ns == before
    assert (tmp_path / "new" / "calibration.md").read_text() == (quantized / "calibration.md").read_text()
    assert not quantized.with_name("fp8.partial").exists()


def test_other_settings_do_not_overwrite(model: Path, calibration: Path, quantized: Path) -> None:
    request = dataclasses.replace(request_for(model, calibration, quantized), sequence_length=16)
    with pytest.raises(FolderError, match="another model, calibration set or setting"):
        run.quantize(request)


def test_foreign_folder_is_not_touched(model: Path, calibration: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep")
    with pytest.raises(FolderError, match="not made by this command"):
        run.quantize(request_for(model, calibration, tmp_path / "mine"))
    assert (tmp_path / "mine" / "notes").read_text() == "keep"


def test_interrupted_and_continued_gives_the_same_checkpoint(
    model: Path, calibration: Path, quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_SAVE_EVERY_S", 0.0)
    output = tmp_path / "fp8"
    saved: list[int] = []
    original = progress.CalibrationState.save

    def save_then_stop(
        self: progress.CalibrationState, samples: int, maxima: dict[str, torch.Tensor]
    ) -> None:
        original(self, samples, maxima)
        saved.append(samples)
        if samples == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress.CalibrationState, "save", save_then_stop)
        with pytest.raises(KeyboardInterrupt):
            run.quantize(request_for(model, calibration, output))
    assert saved == [1, 2, 3, 4, 5]
    assert not output.exists()
    assert output.with_name("fp8.partial").exists()
    seen: list[int] = []

    def save_and_note(self: progress.CalibrationState, samples: int, maxima: dict[str, torch.Tensor]) -> None:
        original(self, samples, maxima)
        seen.append(samples)

    monkeypatch.setattr(progress.CalibrationState, "save", save_and_note)
    run.quantize(request_for(model, calibration, output))
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
    with run._workplace(tmp_path / "fp8"), pytest.raises(HostError, match="another quantization"):
        run.quantize(request_for(model, calibration, tmp_path / "fp8"))


def test_too_few_calibration_samples(model: Path, calibration: Path, tmp_path: Path) -> None:
    request = dataclasses.replace(request_for(model, calibration, tmp_path / "fp8"), samples=SAMPLES + 1)
    with pytest.raises(UsageError, match=r"13 samples are wanted, it holds 12"):
        run.quantize(request)


def test_quantized_source_is_refused(quantized: Path, calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="quantized already"):
        run.quantize(request_for(quantized, calibration, tmp_path / "fp8"))


def test_missing_package_is_named(
    model: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise run.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(run.metadata, "version", missing)
    request = dataclasses.replace(request_for(model, calibration, tmp_path / "fp8"), backend=Backend.QUARK)
    with pytest.raises(UsageError, match="amd-quark is not installed"):
        run.quantize(request)


def test_no_disk_space(
    model: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1 << 20}))
    with pytest.raises(HostError, match=r"0\.1 GB are needed, 0\.0 GB are free(.|\n)*--output"):
        run.quantize(request_for(model, calibration, tmp_path / "fp8"))
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
        checkpoint.inspect(tmp_path)


def test_export_computes_nearly_what_its_source_does(model: Path, quantized: Path) -> None:
    source = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    copy = rounded.load_rounded(model, quantized)
    tokens = torch.arange(3, 60)[None]
    scales = rounded.cache_scales(quantized, LAYERS)
    with torch.inference_mode():
        wanted = source(tokens, past_key_values=DynamicCache(), use_cache=True).logits
        found = copy(tokens, past_key_values=rounded.RoundedCache(scales), use_cache=True).logits
    error = (found - wanted).norm() / wanted.norm()
    assert 0 < error < 0.1  # E4M3 keeps three bits: 6 % at worst for one number, less for a sum of many


@pytest.fixture(scope="module")
def table() -> SampleTable:
    """Prompts of many lengths, out of order."""
    rng = random.Random(5)
    prompts = [[rng.randrange(3, 128) for _ in range(length)] for length in (9, 30, 2, 17, 1, 30, 12)]
    return SampleTable.from_prompts("made-up", prompts, max_tokens=[8, 8, 8, 5, 8, 8, 8], min_tokens=2)


def answer_alone(model: Any, prompt: list[int], limit: int, cache: Any) -> tuple[list[int], Any]:
    """One sample's greedy answer and its logits, token by token, with nothing else in the batch."""
    tokens, logits, context = [], [], prompt
    while len(tokens) < limit:
        with torch.inference_mode():
            last = model(torch.tensor([context]), past_key_values=cache, use_cache=True).logits[0, -1]
        tokens.append(int(last.argmax()))
        logits.append(last)
        context = tokens[-1:]
    return tokens, torch.stack(logits)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_compared_in_batches_as_one_by_one(
    model: Path, quantized: Path, table: SampleTable, batch: int
) -> None:
    source = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    copy = rounded.load_rounded(model, quantized)
    scales = rounded.cache_scales(quantized, LAYERS)
    same_answers, same, divergence, positions = 0, 0, 0.0, 0
    for index in range(len(table)):
        prompt, limit = table.prompt(index).tolist(), int(table.max_tokens[index])
        tokens, wanted = answer_alone(source, prompt, limit, DynamicCache())
        assert 1 not in tokens, "token 1 ends an answer: choose another seed"
        same_answers += tokens == answer_alone(copy, prompt, limit, rounded.RoundedCache(scales))[0]
        with torch.inference_mode():
            context = torch.tensor([prompt + tokens[:-1]])
            found = copy(context, past_key_values=rounded.RoundedCache(scales), use_cache=True).logits[0]
        found = found[-len(tokens) :]
        same += int((found.argmax(-1) == wanted.argmax(-1)).sum())
        terms = wanted.softmax(-1) * (wanted.log_softmax(-1) - found.log_softmax(-1))
        divergence += float(terms.sum())
        positions += len(tokens)

    difference = compare(model, quantized, table, batch=batch)
    assert (difference.samples, difference.positions) == (len(table), positions)
    assert difference.same_first_choice == same / positions
    assert difference.same_answers == same_answers / len(table)
    assert 0 < difference.kl_divergence == pytest.approx(divergence / positions, rel=1e-2)
    assert difference.source_rouge == {}, "there is nothing to score against"


def test_answers_that_end_early_are_compared_up_to_their_end(
    model: Path, quantized: Path, table: SampleTable, tmp_path: Path
) -> None:
    source = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    answers = [
        answer_alone(source, table.prompt(index).tolist(), int(table.max_tokens[index]), DynamicCache())[0]
        for index in range(len(table))
    ]
    firsts = {token for answer in answers for token in answer[:2]}  # may not end it: min_tokens is 2
    end = next(token for answer in answers for token in answer[2:-1] if token not in firsts)
    ending = tmp_path / "ending"
    shutil.copytree(model, ending)
    settings = json.loads((ending / "generation_config.json").read_text())
    (ending / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [end]}))
    lengths = []
    for answer in answers:
        later = [place + 1 for place, token in enumerate(answer) if token == end]
        lengths.append(later[0] if later else len(answer))
    assert sum(lengths) < sum(map(len, answers))
    assert compare(ending, quantized, table, batch=3).positions == sum(lengths)


def test_changed_norm_is_noticed(model: Path, quantized: Path, tmp_path: Path) -> None:
    tensors = load_file(quantized / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * 2
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.norm\.weight is not quantized"):
        rounded.load_rounded(model, tmp_path)


def test_rounding_keeps_what_e4m3_can_hold_and_saturates() -> None:
    exact = torch.tensor([0.0, 1.0, 1.125, -448.0, 2.0**-9])
    assert torch.equal(rounded.round_to_fp8(exact, 1.0), exact)
    assert rounded.round_to_fp8(torch.tensor([1e6, -1e6]), 0.5).tolist() == [224.0, -224.0]
    values = torch.linspace(0.02, 448, 5000)
    assert ((rounded.round_to_fp8(values, 1.0) - values).abs() / values).max() <= 1 / 16


def test_state_of_another_plan_and_a_torn_file_are_not_used(tmp_path: Path) -> None:
    state = progress.CalibrationState(tmp_path / "state.safetensors", "mine")
    assert state.load() == (0, {})
    state.save(7, {"a": torch.tensor(2.5)})
    samples, maxima = state.load()
    assert samples == 7
    assert float(maxima["a"]) == 2.5
    assert progress.CalibrationState(state.path, "other").load() == (0, {})
    state.path.write_bytes(state.path.read_bytes()[:20])
    assert state.load() == (0, {})


def test_command_ends_with_2_and_a_remedy(tmp_path: Path) -> None:
    from harness_llm.quantize.__main__ import _APP

    arguments = ["--model", str(tmp_path), "--calibration", str(tmp_path), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(_APP, arguments)
    assert done.exit_code == 2
    assert "config.json is missing" in done.output
    assert "remedy" in done.output
