"""Joining a Ray cluster, without Ray: what it may write, and what is said where it is not there."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace

import pytest

from harness_llm.errors import ConfigError
from harness_llm.launch.ray_cluster import ray_launcher
from harness_llm.views.live import make_view


@pytest.mark.parametrize("style", ["plain", "rich"])
@pytest.mark.parametrize("is_for_json", [True, False])
def test_what_ray_prints_of_a_lost_host_leaves_stdout_to_json_and_to_the_view(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], style: str, is_for_json: bool
) -> None:
    host = {"Alive": True, "Resources": {"CPU": 1.0}}
    ray = SimpleNamespace(
        init=lambda **_: None, nodes=lambda: [host], shutdown=lambda: None,
        exceptions=SimpleNamespace(RayError=OSError),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", ray)
    view = make_view("", quiet=is_for_json, style=style)
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        with ray_launcher(address, "replica", {"CPU": 1}):
            sys.stdout.write("(raylet) The node with node id 7 has been marked dead\n")
            view.say("the replica was lost")
    view.close()
    sys.stdout.write("{}\n")
    written = capsys.readouterr()
    assert "(raylet)" in written.out + written.err
    assert ("the replica was lost" in written.out) != is_for_json
    assert not is_for_json or written.out == "{}\n"


def test_ray_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match="Ray is not installed"),
        ray_launcher("127.0.0.1:1", "replica", {"CPU": 1}),
    ):
        pass
