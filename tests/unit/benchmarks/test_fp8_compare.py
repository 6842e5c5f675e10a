"""An FP8 checkpoint computed in plain PyTorch, and compared with its source in batches as one by one."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tiny_llama import TinyLlama

torch = pytest.importorskip("torch")
pytest.importorskip("modelopt", reason="nvidia-modelopt is not installed (extra quantize)")

from benchmarks.fp8 import rounded  # noqa: E402
from benchmarks.fp8.compare import compare  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_llama import LAYERS  # noqa: E402
from transformers import DynamicCache, LlamaForCausalLM  # noqa: E402

from harness_llm.datasets.table import SampleTable  # noqa: E402
from harness_llm.errors import ModelError  # noqa: E402

# ModelOpt warns at import of any transformers newer than the one it was tested with.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def model(tiny_llama: TinyLlama) -> Path:
    return tiny_llama.model


@pytest.fixture
def quantized(tiny_llama: TinyLlama) -> Path:
    return tiny_llama.quantized


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
