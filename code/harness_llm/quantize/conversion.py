"""Quantize one checkpoint from start to end: plan, calibrate, export, check, write up, move into place."""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from harness_llm.checkpoint import STARTING_CHECKPOINT, Checkpoint, weights_digest
from harness_llm.errors import FolderError, HostError, ModelError, UsageError
from harness_llm.fetch.disk import require_space, share_files
from harness_llm.files import locked, read_text
from harness_llm.quantize.calibration import CalibrationSet, CalibrationState, load_calibration
from harness_llm.quantize.exported import copy_tokenizer, inspect, is_complete
from harness_llm.quantize.recipe import Backend, CalibrationKind, Recipe
from harness_llm.quantize.writeup import Execution, render

_LOG = logging.getLogger(__name__)
_MARKER = "quantization.json"
_WRITE_UP = "calibration.md"


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Attributes:
        model: Folder of the source checkpoint, Hugging Face layout, bf16 or fp16.
        calibration: File or folder of the calibration set.
        kind: Its kind; None goes by its name.
        output: Folder of the quantized checkpoint; must not exist, or hold this very quantization.
        backend: What calibrates and exports; None goes by the GPU.
        samples: Calibration samples.
        sequence_length: Calibration samples are cut to this many tokens.
        write_up: Where calibration.md goes besides the output folder; None only there.
        command: The command as given, for the write-up.
    """

    model: Path
    calibration: Path
    kind: CalibrationKind | None
    output: Path
    backend: Backend | None
    samples: int
    sequence_length: int
    write_up: Path | None
    command: str


def choose_backend() -> Backend:
    """AMD's package on a ROCm GPU, NVIDIA's everywhere else, the CPU included."""
    import torch

    return Backend.QUARK if torch.version.hip is not None and torch.cuda.is_available() else Backend.MODELOPT


def quantize(options: Options) -> Recipe:
    """Quantize a checkpoint, or return at once if it was already done.

    Interrupted and called again, it continues after the last calibration sample that was saved. The
    output folder appears complete or not at all.

    Raises:
        UsageError: The model, the calibration set or the output folder cannot be used, or a package is
            missing.
        HostError: No disk space, another quantization is running in the folder, or the export is unusable.
    """
    backend = options.backend or choose_backend()
    source = Checkpoint(options.model)
    digest = source.quick_digest()
    if source.is_quantized:
        raise ModelError(
            f"{options.model}: is already quantized", "Give the bf16 or fp16 checkpoint as --model."
        )
    version = _version_of(backend)
    samples = load_calibration(
        options.calibration,
        options.kind,
        model=options.model,
        samples=options.samples,
        sequence_length=options.sequence_length,
    )
    recipe = Recipe(
        model=options.model.resolve().name,
        model_digest=digest,
        calibration=samples.name,
        calibration_digest=samples.digest,
        calibration_source=samples.source or str(options.calibration),
        samples=len(samples.prompts),
        tokens=samples.tokens,
        sequence_length=options.sequence_length,
        backend=backend,
        backend_version=version,
        model_type=source.model_type,
    )
    if options.output.exists():
        _refuse_unless_same(options.output, recipe)
        _LOG.info("%s: already done", options.output)
    else:
        with _workplace(options.output) as work:
            # FP8 takes half of bf16, plus embeddings; asked before an hour of calibration, not after.
            needed = int(_size(options.model) * 0.6) + (64 << 20)
            require_space(work, needed, "Free some space, or name another --output.")
            _make(options, recipe, samples, work)
    if options.write_up is not None:
        options.write_up.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.output / _WRITE_UP, options.write_up)
    return recipe


def _make(options: Options, recipe: Recipe, samples: CalibrationSet, work: Path) -> None:
    began = time.monotonic()
    state = CalibrationState(work / "calibration.safetensors", recipe.fingerprint)
    resumed_after, _ = state.load()
    backend = importlib.import_module(f"harness_llm.quantize.{recipe.backend}")
    _LOG.info("loading %s", options.model)
    model = _load(options.model)
    devices = _device_names(model)
    _LOG.info(
        "calibrating on %d samples, %d tokens, with %s", recipe.samples, recipe.tokens, recipe.backend.package
    )
    model = backend.calibrate(model, samples, state)
    folder = work / "checkpoint"
    shutil.rmtree(folder, ignore_errors=True)
    _LOG.info("exporting")
    backend.export(model, folder)
    copy_tokenizer(options.model, folder)
    starting = {"model_digest": weights_digest(options.model)}
    (folder / STARTING_CHECKPOINT).write_text(json.dumps(starting) + "\n", encoding="utf-8")
    contents = inspect(folder)
    execution = Execution(
        finished_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=time.monotonic() - began,
        resumed_after=resumed_after,
        devices=devices,
        packages={name: metadata.version(name) for name in ("torch", "transformers")},
        command=options.command,
        source_bytes=_size(options.model),
    )
    (folder / _WRITE_UP).write_text(render(recipe, contents, execution), encoding="utf-8")
    facts = asdict(recipe) | {"fingerprint": recipe.fingerprint}
    (folder / _MARKER).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    share_files(folder, like=folder / _MARKER)
    folder.rename(options.output)


def _load(folder: Path) -> Any:
    """The checkpoint in its own precision, over all GPUs that there are, or on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM

    placement = "auto" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", device_map=placement, local_files_only=True
    )
    return model.eval()


def _device_names(model: Any) -> tuple[str, ...]:
    import torch

    kinds = [parameter.device for parameter in model.parameters()]
    unique = sorted({str(device) for device in kinds})
    return tuple(
        f"{name} ({torch.cuda.get_device_name(name)})" if name.startswith("cuda") else name for name in unique
    )


def _version_of(backend: Backend) -> str:
    try:
        return metadata.version(backend.package)
    except metadata.PackageNotFoundError as error:
        raise UsageError(
            f"{backend.package} is not installed; --backend {backend} needs it",
            f"Install it into this environment: python -m pip install {backend.package}",
        ) from error


def _refuse_unless_same(output: Path, recipe: Recipe) -> None:
    try:
        found = json.loads(read_text(output / _MARKER))["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found is None:
        raise FolderError(
            f"{output}: exists and was not made by this command", "Remove it, or name another --output."
        )
    if found != recipe.fingerprint:
        raise FolderError(
            f"{output}: was made from another model, calibration set or setting (see {_MARKER})",
            "Remove it, or name another --output.",
        )
    if not is_complete(output):
        raise FolderError(f"{output}: weight files are missing", "Remove the folder and run this again.")


@contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    """A folder beside the output, held by one process at a time; removed once the output is in place."""
    work = output.with_name(output.name + ".partial")

    def refuse() -> None:
        raise HostError(f"{work}: another quantization is running here", "Wait for it to end.")

    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(
            f"{work}: cannot be written: {error.strerror}", "Check its owner and the free disk space."
        ) from error
    with locked(work / "lock", refuse):
        yield work
        shutil.rmtree(work)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
