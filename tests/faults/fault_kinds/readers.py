"""What users write or name is damaged, hostile or no file."""

from __future__ import annotations

import functools
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fault_kinds.fault import Fault, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_kinds.rig import Rig

_AREA = "What is written or named is damaged, hostile or no file"
_PREPARE = ("--test", "performance")


def _prepare(rig: Rig, config: Path, *more: str) -> Seen:
    return rig.verb("prepare", "--config", str(config), *_PREPARE, *more)


def yaml_text(text: str | bytes, *, below: bool = True) -> Callable[[Rig], Seen]:
    """A harness YAML file with a text below llm_config, or whole."""

    def provoke(rig: Rig) -> Seen:
        path = rig.config("Offline")
        given = text.encode() if isinstance(text, str) else text
        sound = path.read_bytes()
        if below:
            inner = b"\n".join(b"  " + line for line in given.splitlines())
            given = sound.replace(b"llm_config: {}", b"llm_config:\n" + inner)
        path.write_bytes(given)
        return _prepare(rig, path)

    return provoke


def harness(**keys: Any) -> Callable[[Rig], Seen]:
    """Keys of harness_config."""

    def provoke(rig: Rig) -> Seen:
        rig.harness |= keys
        return _prepare(rig, rig.config("Offline"))

    return provoke


def override(text: str) -> Callable[[Rig], Seen]:
    return lambda rig: _prepare(rig, rig.config("Offline"), "--set", text)


def conf(old: str, new: str) -> Callable[[Rig], Seen]:
    """user.conf with a part exchanged."""

    def provoke(rig: Rig) -> Seen:
        assert old in rig.conf
        rig.conf = rig.conf.replace(old, new)
        return _prepare(rig, rig.config("Offline"))

    return provoke


def no_file(what: str, kind: str) -> Callable[[Rig], Seen]:
    """A named pipe, a device, a socket or a folder where a file is named."""

    def provoke(rig: Rig) -> Seen:
        path = rig.folder / "odd"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            place = rig.temporary / "other"  # whose sockets are nothing that a run left
            place.mkdir()
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(place / "s"))
            path.symlink_to(place / "s")
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero")
        if what == "dataset":
            rig.harness["dataset"] = {"kind": "jsonl", "path": str(path)}
        elif what == "user_conf":
            rig.harness["user_conf"] = str(path)
        elif what == "extends":
            config = rig.config("Offline")
            config.write_text(f"extends: {path}\n{config.read_text()}")
            return _prepare(rig, config)
        elif what == "run.json":
            rig.output.mkdir()
            path.rename(rig.output / "run.json")
            return rig.verb("show", str(rig.output))
        return _prepare(rig, path if what == "config" else rig.config("Offline"))

    return provoke


def jsonl(line: bytes) -> Callable[[Rig], Seen]:
    def provoke(rig: Rig) -> Seen:
        (rig.folder / "own.jsonl").write_bytes(b'{"token_ids": [5, 6]}\n' + line + b"\n")
        rig.harness["dataset"] = {"kind": "jsonl", "path": str(rig.folder / "own.jsonl")}
        return _prepare(rig, rig.config("Offline"))

    return provoke


def record(old: str, new: str, verb: str = "show") -> Callable[[Rig], Seen]:
    """run.json of a finished run with a part exchanged."""

    def provoke(rig: Rig) -> Seen:
        assert rig.run().code == 0
        path = rig.output / "run.json"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return rig.verb(verb, str(rig.output))

    return provoke


_bomb = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x]"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
)
_refused = functools.partial(Fault, _AREA, code=2)

FAULTS = (
    _refused(
        "YAML: aliases of aliases (billion laughs)",
        yaml_text(_bomb),
        says=("more than 10,000 values",),
        in_ci=True,
    ),
    _refused("YAML: a node within itself", yaml_text("a: &a [*a]"), says=("recursive",)),
    _refused(
        "YAML: nested 5,000 deep", yaml_text("a: " + "[" * 5000 + "]" * 5000), says=("nested more than",)
    ),
    _refused(
        "YAML: 1,000,000 keys",
        yaml_text("\n".join(f"k{n}: v" for n in range(1_000_000))),
        says=("larger than",),
    ),
    _refused("YAML: 20 MB of comments", yaml_text("# x\n" * 5_000_000, below=False), says=("larger than",)),
    _refused(
        "YAML: a tag of Python", yaml_text("x: !!python/object/apply:os.system ['true']"), says=("tag",)
    ),
    _refused(
        "YAML: a date that there is not", yaml_text("x: 2026-99-99"), says=("Offline.yaml", "llm_config.x")
    ),
    _refused("YAML: a number of 5,000 digits", yaml_text("x: " + "9" * 5000), says=("llm_config.x",)),
    _refused("YAML: not UTF-8", yaml_text("x: caf\xe9".encode("latin-1")), says=("Offline.yaml", "utf-8")),
    _refused(
        "YAML: a key with terminal escapes",
        yaml_text('"\\e[2J\\e]0;x\\a": [', below=False),
        says=("Offline.yaml",),
    ),
    _refused(
        "YAML: an unknown key with terminal escapes",
        harness(**{"\x1b[2Jkey": 1}),
        says=("\\x1b[2Jkey",),
        in_ci=True,
    ),
    _refused(
        "`--set` with terminal escapes",
        override("harness_config.scenario=\x1b[2JOffline"),
        says=("\\x1b[2J",),
    ),
    _refused("`--set` without a value", override("harness_config.max_tokens"), says=("expected key=value",)),
    _refused(
        "an argument with terminal escapes", lambda rig: rig.verb("show", "\x1b[2J"), says=("\\x1b[2J",)
    ),
    _refused(
        "a verb that there is not, with terminal escapes",
        lambda rig: rig.verb("\x1b[2Jshow"),
        says=("No such command",),
    ),
    _refused("user.conf: a line without =", conf("target_qps = 300", "target_qps 300"), says=("user.conf",)),
    _refused("user.conf: NUL", conf("300", "3\x0000"), says=("user.conf",)),
    _refused(
        "user.conf: a bare carriage return",
        conf("sim.Offline.target_qps = 300", "# old\rsim.Offline.target_qps = 300"),
        says=("user.conf",),
    ),
    _refused(
        "user.conf: a number of 5,000 digits",
        conf("min_duration = 1000", "min_duration = " + "9" * 5000),
        says=("user.conf",),
    ),
    Fault(
        _AREA,
        "user.conf: a key with terminal escapes",
        conf("sim.Offline.min", "sim.Offline.\x1b[2Jmin"),
        0,
        ("LoadGen knows no key `\\x1b[2Jmin",),
    ),
    _refused(
        "a named pipe as configuration",
        no_file("config", "pipe"),
        says=("is a named pipe, not a regular file",),
        in_ci=True,
    ),
    _refused(
        "/dev/zero as configuration", no_file("config", "device"), says=("is a device, not a regular file",)
    ),
    _refused("a folder as configuration", no_file("config", "folder"), says=("is a folder",)),
    _refused("a configuration that extends a named pipe", no_file("extends", "pipe"), says=("no such file",)),
    _refused("a named pipe as user.conf", no_file("user_conf", "pipe"), says=("is a named pipe",)),
    _refused("/dev/zero as user.conf", no_file("user_conf", "device"), says=("is a device",)),
    _refused("a named pipe as data set", no_file("dataset", "pipe"), says=("is a named pipe",)),
    _refused("/dev/zero as data set", no_file("dataset", "device"), says=("is a device",)),
    _refused("a socket as data set", no_file("dataset", "socket"), says=("is a socket",)),
    _refused(
        "a named pipe as run.json", no_file("run.json", "pipe"), says=("run.json", "not a regular file")
    ),
    _refused("JSONL: a line that is no JSON", jsonl(b"{"), says=("line 2", "not JSON")),
    _refused("JSONL: 100,000 brackets", jsonl(b"[" * 100_000), says=("line 2",)),
    _refused("JSONL: terminal escapes", jsonl(b'{"\\u001b[2J": 1}'), says=("line 2",)),
    _refused(
        "JSONL: a token id of 5,000 digits", jsonl(b'{"token_ids": [' + b"9" * 5000 + b"]}"), says=("line 2",)
    ),
    _refused(
        "synthetic samples without end",
        harness(dataset={"kind": "synthetic", "shape": "9999999999:9999:9"}),
        says=("more than",),
    ),
    _refused("100,000,000 replicas", harness(replicas=100_000_000), says=("harness_config.replicas",)),
    _refused(
        "a number of 65 bits",
        yaml_text("x: 18446744073709551616"),
        says=("llm_config.x", "more than 64 bits"),
    ),
    _refused(
        "variables in a text that make 100,000 characters of it",
        yaml_text("x: '" + ("${NOTHING:-" + "x" * 1000 + "}") * 101 + "'"),
        says=("llm_config.x", "longer than 100,000 characters"),
    ),
    _refused(
        "a data set whose path has 5,000 characters",
        harness(dataset={"kind": "jsonl", "path": "x" * 5000}),
        says=("File name too long", "shorter path"),
    ),
    _refused(
        "a run folder whose path has 5,000 characters: `show`",
        lambda rig: rig.verb("show", "x" * 5000),
        says=("File name too long", "shorter path"),
    ),
    _refused("a text with NUL", yaml_text('x: "a\\0b"'), says=("llm_config.x", "NUL")),
    _refused("half a character", yaml_text('x: "\\ud800"'), says=("llm_config.x", "half a character")),
    _refused(
        "a variable that no process can have",
        harness(engine_env={"A=B": "x"}),
        says=("engine_env.A=B", "is not the name of a variable"),
    ),
    _refused("a wait of 1e300 s", harness(stall_timeout_s=1e300), says=("harness_config.stall_timeout_s",)),
    _refused("a port without an interface", harness(port=5000), says=("TCP needs the interface",)),
    _refused("every interface", harness(interface="0.0.0.0"), says=("is not one interface",)),
    _refused("run.json: cut", record('"benchmark"', '"bench'), says=("run.json",)),
    Fault(
        _AREA,
        "run.json: terminal escapes in the benchmark's name",
        record('"sim"', '"s\\u001b[2Jim"'),
        0,
        ("s\\x1b[2Jim",),
        within_s=30,
        state="complete",
    ),
    Fault(
        _AREA,
        "run.json: markup of a table in the benchmark's name",
        record('"sim"', '"[/oops][link=x]"'),
        0,
        ("[/oops][link=x]",),
        within_s=30,
        state="complete",
    ),
)
