"""Others send to a run's sockets, and secrets that nobody may read."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

import harness_llm
from fault_kinds.fault import Fault, Seen
from harness_llm.transport.keys import Keys, make_keys, secure_client
from harness_llm.transport.wire import PROTOCOL_VERSION, Close, Open, Stage, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_kinds.rig import Rig

_AREA = "Strangers on the sockets of a run"
_SECRETS = "Secrets in a configuration"


def _quick(rig: Rig, *, tcp: bool) -> None:
    """A run that is VALID after a few seconds of the stranger's work."""
    rig.conf = rig.conf.replace("120000", "4000").replace("count = 500", "count = 100")
    if tcp:
        rig.harness["interface"] = "127.0.0.1"
    rig.running()


def _data_endpoint(rig: Rig) -> str:
    listen = str(rig.spec()["listen"])
    if listen.startswith("ipc://"):
        (replica,) = (path for path in rig.temporary.glob("harness-llm-*/*") if path.name.isdigit())
        return f"ipc://{replica}"
    owner = next(process for process in rig.processes("replica.process"))
    (place,) = {
        f"tcp://127.0.0.1:{it.laddr.port}" for it in owner.net_connections("tcp") if it.status == "LISTEN"
    }
    return place


def frames(plane: str, *, tcp: bool = False, name: bytes = b"", keys: str = "none") -> Callable[[Rig], Seen]:
    """A stranger sends messages and nonsense to the control plane or to a replica."""

    def provoke(rig: Rig) -> Seen:
        _quick(rig, tcp=tcp)
        endpoint = str(rig.spec()["control"]) if plane == "control" else _data_endpoint(rig)
        shown: Keys | None = make_keys() if keys == "own" else None
        if keys == "server's":
            own = make_keys()
            shown = Keys(rig.spec()["keys"]["server_public"], own.client_public, own.client_secret)
        with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
            stranger.setsockopt(zmq.LINGER, 0)
            if name:
                stranger.setsockopt(zmq.IDENTITY, name)
            secure_client(stranger, shown)
            stranger.connect(endpoint)
            for frame in (b"", b"x", os.urandom(2000), encode(Stage("forged")), encode(Close())):
                stranger.send(frame)
            stranger.send_multipart([b"two", b"parts"])
            if tcp:
                stranger.send(encode(Open(PROTOCOL_VERSION, "forged")))
            time.sleep(0.5)
        return rig.finish()

    return provoke


def raw_bytes(rig: Rig) -> Seen:
    """Something that is no ZeroMQ at all connects and stays."""
    _quick(rig, tcp=True)
    port = int(str(rig.spec()["control"]).rpartition(":")[2])
    for payload in (b"GET / HTTP/1.0\\r\\n\\r\\n", os.urandom(5000), b""):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(payload)
            time.sleep(0.1)
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    try:
        return rig.finish()
    finally:
        for connection in held:
            connection.close()


def planted(where: str, secret: str, name: str = "SOME_VARIABLE") -> Callable[[Rig], Seen]:
    """A run with a secret, which is then shown, checked and packaged."""

    def provoke(rig: Rig) -> Seen:
        more = ["--test", "accuracy"]
        if where == "engine_env":
            rig.harness["engine_env"] = {name: secret}
        elif where == "--set":
            more += ["--set", f"llm_config.{name}={secret}"]
        else:
            rig.environment[name] = secret
            rig.harness["engine_env"] = {"OTHER": f"${{{name}}}"}
        made = rig.run("Offline", *more)
        rest = [
            rig.verb("show", str(rig.output)),
            rig.verb("check", str(rig.output)),
            rig.verb("package", str(rig.output), "--company", "c", "--system-name", "s", "--division", "open",
                     "--output", str(rig.folder / "tree")),
        ]  # fmt: skip
        assert [*rig.folder.glob("tree/*")], rest[-1].text
        return Seen(made.code, made.text + "".join(seen.text for seen in rest), made.seconds)

    return provoke


def planted_in_the_source(secret: str) -> Callable[[Rig], Seen]:
    """A run from a copy of the code without git, in which a file holds a secret; then it is packaged."""

    def provoke(rig: Rig) -> Seen:
        checkout = rig.folder / "checkout"
        code = Path(next(iter(harness_llm.__path__))).parent
        shutil.copytree(code, checkout / "code", ignore=shutil.ignore_patterns("__pycache__"))
        (checkout / "start.sh").write_text(f"export HF_TOKEN={secret}\n")
        rig.environment["PYTHONPATH"] = os.pathsep.join((str(checkout / "code"), *sys.path))
        made = rig.run("Offline", "--test", "accuracy")
        tree = ["--division", "open", "--output", str(rig.folder / "tree")]
        packaged = rig.verb("package", str(rig.output), "--company", "c", "--system-name", "s", *tree)
        assert [*rig.folder.glob("tree/**/start.sh")], packaged.text
        return Seen(made.code or packaged.code, made.text + packaged.text, made.seconds)

    return provoke


_ignored = functools.partial(Fault, _AREA, code=0, says=("VALID",), within_s=30, state="complete")
_BODY = "AbCdEfGh0123456789" * 2
_WORDS = "-".join(("wrong", "pony", "paperclip"))  # not a text of this file, which goes into the tree


def _secret(what: str, provoke: Callable[[Rig], Seen], hides: str, *, in_ci: bool = False) -> Fault:
    return Fault(_SECRETS, what, provoke, 0, ("VALID",), 30, "complete", hides=(hides,), in_ci=in_ci)


FAULTS = (
    _ignored("nonsense from a nameless socket, control plane, Unix socket", frames("control")),
    _ignored("nonsense from a name that is no UTF-8, control plane", frames("control", name=b"\xff\xfe")),
    _ignored("nonsense from a nameless socket, to a replica, Unix socket", frames("data")),
    _ignored("nonsense from a name that is no UTF-8, to a replica", frames("data", name=b"\xff/ask")),
    _ignored("TCP: a stranger without keys, control plane", frames("control", tcp=True), in_ci=True),
    _ignored(
        "TCP: a stranger without keys, under a replica's name",
        frames("control", tcp=True, name=b"Server/replica-0"),
    ),
    _ignored("TCP: a stranger without keys, to a replica", frames("data", tcp=True)),
    _ignored("TCP: a stranger with keys of its own", frames("control", tcp=True, keys="own")),
    _ignored("TCP: a stranger who knows the server's key", frames("control", tcp=True, keys="server's")),
    _ignored(
        "TCP: a stranger who knows the server's key, to a replica", frames("data", tcp=True, keys="server's")
    ),
    _ignored("TCP: what is no ZeroMQ, and 200 idle connections", raw_bytes),
    _secret("a hub's token in engine_env", planted("engine_env", f"hf_{_BODY}"), _BODY, in_ci=True),
    _secret(
        "a password in engine_env, known by its name",
        planted("engine_env", _WORDS, "DB_PASSWORD"),
        _WORDS,
    ),
    _secret("an API key on --set", planted("--set", f"sk-proj-{_BODY}", "x"), _BODY),
    _secret(
        "a token on --set, known by its name",
        planted("--set", _WORDS, "hf_token"),
        _WORDS,
    ),
    _secret("a token of GitHub in a variable that is named", planted("variable", f"ghp_{_BODY}"), _BODY),
    _secret(
        "a key of AWS in engine_env", planted("engine_env", f"AKIA{_BODY[:16].upper()}"), _BODY[:16].upper()
    ),
    _secret("a URL with user and password", planted("--set", f"https://me:{_WORDS}@host/x", "url"), _WORDS),
    Fault(
        _SECRETS,
        "a hub's token in a script of the source that `package` copies",
        planted_in_the_source(f"hf_{_BODY}"),
        0,
        ("masked in the tree: start.sh",),
        30,
        "complete",
        hides=(_BODY,),
    ),
    _secret("a URL with a token alone", planted("--set", f"https://{_WORDS}@host/x", "url"), _WORDS),
    _secret("a header with Bearer", planted("engine_env", f"Bearer {_BODY}"), _BODY),
    _secret(
        "a secret of the environment that is named in the YAML",
        planted("variable", _WORDS, "MY_API_KEY"),
        _WORDS,
    ),
)
