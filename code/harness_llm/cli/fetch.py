"""`harness-llm fetch`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm import terminal
from harness_llm.cli.options import AsJson  # noqa: TC001 - typer reads the annotations at run time
from harness_llm.cli.output import log_progress, print_json, print_text
from harness_llm.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_EXIT_INTERRUPTED = 3


def fetch_verb(
    model: Annotated[
        str | None,
        typer.Option(
            help="A model: the name of one of models/, e.g. llama3.1-8b, or any OWNER/NAME of the hub. "
            "Without it and --dataset: llama2-70b.",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="A data set, e.g. openorca, cnn_dailymail, gpt-oss, humaneval, or punkt_tab (nltk's, for "
            "ROUGE-Lsum); no model unless --model is given, too.",
            show_default=False,
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit, tag or branch of a hub model, instead of the pinned one.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Another hub. Without it: HF_ENDPOINT or the public one.")
    ] = None,
    uri: Annotated[
        str | None, typer.Option(help="Another .uri file of a data set in MLCommons' storage.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every file that is there already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Get a model, a data set, or both; what is there and right already is left alone.

    Models go to LAB_MODEL, data sets to LAB_DATASET, one folder each (default: /data/inference/model and
    /data/inference/data; in a container /model and /data). HUGGINGFACE_ACCESS_TOKEN holds the access token
    for gated models; without it, the hub's own login is used. Interrupted or failed downloads go on where
    they stopped when the same command is run again. Exit codes: 0 complete and checked; 2 wrong usage, token
    or access; 3 the download broke.
    """
    log_progress()
    folders = []
    try:
        for folder in _fetch(model, dataset, revision, endpoint, uri, verify=verify):
            folders.append(str(folder))
            if not as_json:
                print_text(str(folder))
    except HarnessError as error:  # no run that broke, as the command line says of others
        terminal.say(f"error: {error}")
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt:
        terminal.say("interrupted; the same command continues from here")
        raise typer.Exit(_EXIT_INTERRUPTED) from None
    if as_json:
        print_json({"folders": folders})


def _fetch(
    model: str | None,
    dataset: str | None,
    revision: str | None,
    endpoint: str | None,
    uri: str | None,
    *,
    verify: bool,
) -> Iterator[Path]:
    from harness_llm.fetch import named
    from harness_llm.fetch.hub_errors import TOKEN_VARIABLE
    from harness_llm.fetch.places import dataset_root, model_root

    published = named.dataset_names(with_uri=True)
    if uri is not None and dataset not in published:
        raise UsageError("--uri: no data set is given that has one", f"These have: {', '.join(published)}.")
    if dataset is not None:
        yield named.fetch_dataset(dataset, dataset_root(os.environ), uri=uri, rehash=verify)
    if model is not None or dataset is None:
        yield named.fetch_model(
            named.DEFAULT_MODEL if model is None else model,
            model_root(os.environ),
            revision=revision,
            token=os.environ.get(TOKEN_VARIABLE, "").strip() or None,
            endpoint=endpoint,
            rehash=verify,
        )
