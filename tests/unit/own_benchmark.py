"""A small benchmark of one's own on the simulated engine, configured in a test's folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from harness_llm.config.load import load_config
from harness_llm.run.prepare import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.config.harness import RunConfig
    from harness_llm.run.prepare import Prepared

CONF = """\
mine.*.use_token_latencies = 1
mine.Server.ttft_latency = 900
mine.Server.tpot_latency = 90
mine.Server.target_qps = 7
mine.Server.min_duration = 3000
mine.Offline.target_qps = 50
mine.Offline.min_duration = 2000
"""
OFFICIAL = "gpt-oss-120b.Offline.target_qps = 10\ngpt-oss-120b.Server.target_qps = 10\n"
TEST07 = {"TEST07": {"dataset": {"kind": "synthetic", "shape": "9:4:5"}}}


def synthetic(shape: str = "10:4:4", **keys: Any) -> dict[str, Any]:
    """Made-up samples, as harness_config.dataset says it."""
    return {"kind": "synthetic", "shape": shape, **keys}


class Setup:
    """Its user.conf, configurations and checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "user.conf"
        self.conf.write_text(CONF)

    def write(self, scenario: str, llm: dict[str, Any] | None = None, **harness: Any) -> Path:
        """Write a configuration; keys of harness_config are the usual ones and those given."""
        path = self.folder / f"{scenario}.yaml"
        node = {
            "benchmark": "mine", "scenario": scenario, "engine": "simulated", "dataset": synthetic(),
            "max_tokens": 8, "user_conf": str(self.conf), **harness,
        }  # fmt: skip
        path.write_text(yaml.safe_dump({"llm_config": llm or {}, "harness_config": node}))
        return path

    def config(self, scenario: str, llm: dict[str, Any] | None = None, **harness: Any) -> RunConfig:
        return load_config(self.write(scenario, llm, **harness))

    def prepared(self, **harness: Any) -> Prepared:
        return prepare([self.config("Offline", **harness)], ["performance"])

    def checkpoint(self, context: int = 4096) -> str:
        """The folder of a checkpoint that looks whole from outside."""
        model = self.folder / "model"
        model.mkdir()
        config = {"max_position_embeddings": context, "vocab_size": 32000}
        (model / "config.json").write_text(json.dumps(config))
        (model / "tokenizer.json").write_text("{}")
        (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")  # without a tensor
        return str(model)
