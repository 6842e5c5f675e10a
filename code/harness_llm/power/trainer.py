"""The training process: a plain PyTorch loop through the start gate; each step is a line of train.jsonl.

Started as `python -m harness_llm.power.trainer SPEC`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import zmq

import harness_llm
from harness_llm.checkpoint import Checkpoint
from harness_llm.core import NANOSECONDS_PER_SECOND
from harness_llm.engines.forward_shapes import SHAPES, shape_of
from harness_llm.errors import ConfigError
from harness_llm.launch.role import Role
from harness_llm.transport.control import ControlClient, die_with_parent
from harness_llm.transport.keys import Keys
from harness_llm.transport.spec import read_spec
from harness_llm.transport.wire import Armed, Done, Finish, Go, Heartbeat, PartMeasured, Stage

ROLE = Role("trainer", "harness_llm.power.trainer", started="word", first_word_s=180.0, silence_s=60.0)
TRAIN_JSONL = "train.jsonl"
_SIMULATED_STEP_S = 0.04
TINY = "tiny"
"""A model of two layers over bytes with random weights: the loop at a glance, without a checkpoint."""


class TrainerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training.

    Attributes:
        name: Its name on the control plane.
        control: Where the supervisor listens.
        folder: Where train.jsonl goes.
        model: Checkpoint folder, a name of `forward_shapes.SHAPES` for made-up weights, or `tiny`.
        text: File whose text is learned; None takes one of the package.
        steps: Steps that are measured; the same at each setting, so that energies compare.
        warm_up: Steps before them.
        batch: Sequences in a step.
        sequence: Tokens of a sequence, packed, without padding.
        learning_rate: AdamW's.
        seed: Of weights and of the order of sequences.
        speed_file: Of a simulated card: each step takes as long as at its speed, and at full speed at
            least 40 ms, so that a busy host is not taken for a slow card.
        keys: What it shows the supervisor; None on Unix sockets.
    """

    name: str
    control: str
    folder: str
    model: str = TINY
    text: str | None = None
    steps: int = 20
    warm_up: int = 2
    batch: int = 4
    sequence: int = 64
    learning_rate: float = 5e-5
    seed: int = 0
    speed_file: str | None = None
    keys: Keys | None = None


class Training:
    """A model, its optimizer and its sequences."""

    def __init__(self, spec: TrainerSpec) -> None:
        import torch

        torch.manual_seed(spec.seed)
        self._torch, self._spec = torch, spec
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model, tokens = _tiny(spec) if spec.model == TINY else _checkpoint(spec)
        self._model = self._model.to(self._device).train()
        whole = len(tokens) // spec.sequence * spec.sequence
        _require_one_sequence(whole, spec.sequence)
        self._packed = torch.tensor(tokens[:whole], device=self._device).reshape(-1, spec.sequence)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=spec.learning_rate)
        self._random = torch.Generator().manual_seed(spec.seed)

    def step(self) -> float:
        """One step; its loss."""
        torch, spec = self._torch, self._spec
        chosen = torch.randint(len(self._packed), (spec.batch,), generator=self._random)
        batch = self._packed[chosen.to(self._device)]
        with torch.autocast(self._device, torch.bfloat16, enabled=self._device == "cuda"):
            logits = self._model(batch)[:, :-1]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(loss.detach())  # waits for the device


def _tiny(spec: TrainerSpec) -> tuple[Any, list[int]]:
    """Two layers over bytes; torch alone, for transformers takes seconds to import."""
    from torch import nn, set_num_threads

    set_num_threads(1)  # more would wait for one another in layers of this size

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(256, 64), nn.Linear(64, 256)
            layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, tokens: Any) -> Any:
            mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], device=tokens.device)
            return self.head(self.layers(self.embedding(tokens), mask=mask, is_causal=True))

    return Tiny(), list(_text(spec.text).encode())


def _checkpoint(spec: TrainerSpec) -> tuple[Any, list[int]]:
    """A model of transformers, and its tokens of the text; made-up weights learn bytes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    shape = None if Path(spec.model).is_dir() else shape_of(spec.model)
    tokens: list[int]
    if shape is not None:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):  # drawn there, it takes no time
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape), dtype=torch.float32)
        tokens = list(_text(spec.text).encode())
    else:
        model = AutoModelForCausalLM.from_pretrained(spec.model, dtype=torch.float32)
        tokens = AutoTokenizer.from_pretrained(spec.model)(_text(spec.text))["input_ids"]
    model.forward = _logits_of(model.forward)
    return model, tokens


def _logits_of(forward: Any) -> Any:
    return lambda tokens: forward(input_ids=tokens).logits


def _text(file: str | Path | None) -> str:
    if file is not None:
        return Path(file).read_text(encoding="utf-8")
    return (files(harness_llm) / "rules" / "table.yaml").read_text(encoding="utf-8")


def _require_one_sequence(tokens: int, sequence: int) -> None:
    if tokens < sequence:
        raise ConfigError(
            f"training.text: shorter than one sequence of {sequence} tokens",
            "Name a longer text, or set a smaller training.sequence.",
        )


def check_training(model: str, text: Path | None, sequence: int) -> None:
    """Refuse a training that could not start, before anything is loaded.

    Raises:
        ConfigError: The model is neither a folder nor a known size; the text cannot be read, or is too short.
        ModelError: The folder is not a complete checkpoint.
    """
    sizes = [name for name, it in SHAPES.items() if "ForMaskedLM" not in it["architectures"][0]]
    if model != TINY and Path(model).is_dir():
        Checkpoint(Path(model)).require(weights=True, tokenizer=True)
    elif model != TINY and shape_of(model) not in [SHAPES[name] for name in sizes]:
        raise ConfigError(
            f"training.model: {model}: neither a folder nor a known size",
            f"Name a checkpoint folder, `{TINY}`, or one of {', '.join(sizes)}.",
        )
    try:
        length = len(_text(text).encode())  # a token is a byte or more
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"training.text: {text}: cannot be read: {error}") from error
    _require_one_sequence(length, sequence)


def train(
    spec: TrainerSpec, control: ControlClient, go: threading.Event, finish: threading.Event
) -> dict[str, Any]:
    """Warm up, wait for Go, train, wait for Finish; what is known of it."""
    control.send(Stage("loading the model to train"))
    training = Training(spec)
    control.send(Stage("warming up"))
    for _ in range(spec.warm_up):
        training.step()
    control.send(Armed())
    go.wait()
    control.send(Stage("training"))
    tokens = spec.batch * spec.sequence
    with (Path(spec.folder) / TRAIN_JSONL).open("w", encoding="utf-8") as file:
        begin_ns = time.monotonic_ns()
        for number in range(1, spec.steps + 1):
            start_ns, loss = time.monotonic_ns(), training.step()
            if spec.speed_file is not None:
                speed = float(Path(spec.speed_file).read_text(encoding="ascii"))
                worked_s = (time.monotonic_ns() - start_ns) / NANOSECONDS_PER_SECOND
                time.sleep(max(worked_s, _SIMULATED_STEP_S) / speed - worked_s)
            row = {"step": number, "start_ns": start_ns, "end_ns": time.monotonic_ns(), "loss": loss}
            file.write(json.dumps({**row, "tokens": tokens}) + "\n")
        end_ns = time.monotonic_ns()
    control.send(PartMeasured())
    finish.wait()
    return {"start_ns": begin_ns, "end_ns": end_ns, "seconds": (end_ns - begin_ns) / NANOSECONDS_PER_SECOND,
            "tokens": tokens * spec.steps, "steps": spec.steps}  # fmt: skip


def main() -> None:
    """Train what the spec file, the only argument, says."""
    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    spec = read_spec(TrainerSpec, Path(sys.argv[1]))
    go, finish = threading.Event(), threading.Event()

    def hear(message: Go | Finish) -> None:
        if isinstance(message, Go):
            time.sleep(max(0.0, (message.at_ns - time.monotonic_ns()) / NANOSECONDS_PER_SECOND))
        (go if isinstance(message, Go) else finish).set()

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with ControlClient(
        context,
        spec.control,
        spec.name,
        Heartbeat,
        lambda: os._exit(3),
        keys=spec.keys,
        on_gate=hear,
        read_s=0.02,
    ) as control:
        try:
            control.send(Done(train(spec, control, go, finish)))
        except BaseException as error:
            control.fail(error)
            raise
    context.term()


if __name__ == "__main__":
    main()
