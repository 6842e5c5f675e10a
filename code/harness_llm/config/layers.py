"""One tree from a file, the files that it extends and the `--set` overrides, each key in its full form."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness_llm.config.foreign import refuse_foreign
from harness_llm.config.nodes import Mistake, Node, UnreadableError, parse
from harness_llm.errors import ConfigError
from harness_llm.files import read_text

EXTENDS = "extends"
"""Key, beside the two nodes, that names the file of which a file writes the differences."""

_HARNESS = "harness_config"
_NODES = ("llm_config", _HARNESS)
_DEEPEST = 8
_LARGEST_BYTES = 1_000_000
_LONGEST_TEXT = 100_000  # characters, once ${NAME} is replaced in it
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_CHOICES = ("dataset", "engine")
"""Keys whose value is a `kind` with keys of its own; the name of the kind alone is a short form."""
_SHORT = {"dataset_path": "path"}
"""Keys beside `dataset` that stay valid as a short form of a key in it."""
_MOVED = {
    "dataset_shape": "dataset.shape",
    "dataset_samples": "dataset.samples",
    "dataset_seed": "dataset.seed",
    "chat_template": "dataset.chat_template",
    "devices_per_replica": "engine.devices_per_replica",
    "simulated": "engine, as in engine: {kind: simulated, first_token_ms: 5}",
}


def read_layers(
    path: Path, overrides: Sequence[str], environment: Mapping[str, str] = os.environ
) -> tuple[Node, list[Mistake]]:
    """Read a configuration file, what it extends, and the overrides, the last of which wins.

    Args:
        path: The YAML file.
        overrides: Each `dotted.key=value`; the value is read as YAML.
        environment: Where `${NAME}` is looked up.

    Returns:
        The tree of both nodes, and every mistake met in it; what is mistaken is left out of the tree.

    Raises:
        ConfigError: A file cannot be read, is no YAML or has no nodes; an override is not of its form.
    """
    mistakes: list[Mistake] = []
    root = _read(path, (), mistakes)
    # What kind it is comes first, for the keys of one kind mean nothing to another.
    for override in sorted(overrides, key=lambda text: _dotted(text)[-1] not in _CHOICES):
        root = _with_override(root, override, mistakes)
    return _expand(root, environment, mistakes), mistakes


def _read(path: Path, above: tuple[Path, ...], mistakes: list[Mistake]) -> Node:
    """One file merged over those that it extends; `above` are the files that led to it."""
    try:
        text = read_text(path, _LARGEST_BYTES)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such configuration file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        root, found = parse(text, str(path))
    except UnreadableError as error:
        raise ConfigError(str(error)) from error
    mistakes += found
    if not isinstance(root.value, dict):
        kind = type(root.value).__name__
        raise ConfigError(f"{path}: expected the nodes llm_config and harness_config, found {kind}")
    refuse_foreign(path, root.value)
    extends = root.value.pop(EXTENDS, None)
    root = _full_form(root, mistakes)
    if extends is None:
        return root
    return _merge(_read(_extended(path, extends, above), (*above, path.resolve()), mistakes), root)


def _extended(path: Path, node: Node, above: tuple[Path, ...]) -> Path:
    """The file that a file extends, relative to it."""
    if not isinstance(node.value, str) or not node.value:
        raise ConfigError(f"{node.place}: {EXTENDS} names one file, e.g. {EXTENDS}: base.yaml")
    found = path.parent / node.value
    chain = (*above, path.resolve())
    if found.resolve() in chain:
        names = " -> ".join(item.name for item in (*chain, found))
        raise ConfigError(f"{node.place}: {EXTENDS} goes in a circle: {names}")
    if len(chain) >= _DEEPEST:
        raise ConfigError(f"{node.place}: more than {_DEEPEST} files extend one another")
    if not found.is_file():
        raise ConfigError(f"{node.place}: {EXTENDS}: {found}: no such file; it is relative to this one")
    return found


def _merge(lower: Node, upper: Node, name: str = "") -> Node:
    """Both, where `upper` wins; of two kinds of data set or engine only the keys of the upper are left."""
    if not isinstance(lower.value, dict) or not isinstance(upper.value, dict):
        return upper
    if name in _CHOICES and _kind(upper) not in (None, _kind(lower)):
        return upper
    merged = dict(lower.value)
    for key, node in upper.value.items():
        merged[key] = _merge(merged[key], node, key) if key in merged else node
    return replace(upper, value=merged)


def _kind(node: Node) -> object:
    kind = node.child("kind")
    return None if kind is None else kind.value


# ---------------------------------------------------------------------- short forms


def _full_form(root: Node, mistakes: list[Mistake]) -> Node:
    """The tree with `engine: vllm` as `engine: {kind: vllm}`, and `dataset` with `dataset_path` likewise."""
    harness = root.child(_HARNESS)
    if harness is None or not isinstance(harness.value, dict):
        return root
    keys = _long_keys(harness, mistakes)
    tests = keys.get("tests")
    if tests is not None and isinstance(tests.value, dict):
        full = {
            name: replace(test, value=_long_keys(test, mistakes)) if isinstance(test.value, dict) else test
            for name, test in tests.value.items()
        }
        keys["tests"] = replace(tests, value=full)
    return replace(root, value={**root.value, _HARNESS: replace(harness, value=keys)})


def _long_keys(node: Node, mistakes: list[Mistake]) -> dict[str, Node]:
    """The keys of harness_config, or of one entry of its tests, in full form."""
    keys: dict[str, Node] = {}
    for name, child in node.value.items():
        if name in _MOVED:
            mistakes.append(Mistake(child.place, f"{child.key} is now {node.key}.{_MOVED[name]}"))
        elif name in _CHOICES and isinstance(child.value, str):
            keys[name] = replace(child, value={"kind": child})
        else:
            keys[name] = child
    for name, long in _SHORT.items():
        child = keys.pop(name, None)
        if child is None or child.value is None:
            continue
        choice = keys.setdefault("dataset", replace(child, key=f"{node.key}.dataset", value={}))
        if not isinstance(choice.value, dict):
            continue  # then the data set itself is wrong, and is said to be
        if long in choice.value:
            mistakes.append(Mistake(child.place, f"{child.key} and {choice.key}.{long} are one; keep one"))
            continue
        keys["dataset"] = replace(choice, value={**choice.value, long: child})
    return keys


# ---------------------------------------------------------------------- overrides


def _dotted(override: str) -> list[str]:
    return override.partition("=")[0].strip().split(".")


def _with_override(root: Node, override: str, mistakes: list[Mistake]) -> Node:
    source = f"--set {override}"
    parts, (_, separator, text) = _dotted(override), override.partition("=")
    if not separator or not all(parts):
        raise ConfigError(f"{source}: expected key=value", "For example --set llm_config.max_num_seqs=64")
    if parts[0] not in _NODES:
        raise ConfigError(
            f"{source}: unknown key {parts[0]!r}",
            "Keys start with llm_config. or harness_config., e.g. --set harness_config.replicas=2",
        )
    try:
        node, found = parse(text, source, ".".join(parts))
    except UnreadableError as error:
        raise ConfigError(str(error)) from error
    mistakes += found
    if parts[:-1] == [_HARNESS, "engine_env"] and isinstance(node.value, bool):
        node = replace(node, value=text.strip())  # on a command line, `X=on` gives a variable the text `on`
    if parts[0] == _HARNESS and parts[-1] in _SHORT:
        parts[-1:] = ["dataset", _SHORT[parts[-1]]]
    return _full_form(_put(root, parts, node, source), mistakes)


def _put(node: Node, parts: Sequence[str], value: Node, source: str) -> Node:
    """`node` with `value` under the keys `parts`; null takes a key of a kind away."""
    if node.value is not None and not isinstance(node.value, dict):
        raise ConfigError(f"{source}: {node.key.rpartition('.')[2]!r} holds a value, not keys")
    keys = dict(node.value or {})
    name, rest = parts[0], parts[1:]
    key = f"{node.key}.{name}" if node.key else name
    if rest:
        keys[name] = _put(keys.get(name, Node(key, value.place, None)), rest, value, source)
    elif name in _CHOICES and isinstance(value.value, str):
        chosen = replace(value, value={"kind": value})
        keys[name] = _merge(keys[name], chosen, name) if name in keys else chosen
    elif value.value is None and node.key.rpartition(".")[2] in _CHOICES:
        keys.pop(name, None)
    else:
        keys[name] = value
    return replace(node, value=keys)


# ---------------------------------------------------------------------- ${NAME}


def _expand(node: Node, environment: Mapping[str, str], mistakes: list[Mistake]) -> Node:
    """The tree with `${NAME}` and `${NAME:-default}` in texts replaced from the environment."""
    if isinstance(node.value, dict):
        return replace(
            node, value={key: _expand(child, environment, mistakes) for key, child in node.value.items()}
        )
    if isinstance(node.value, list):
        return replace(node, value=[_expand(child, environment, mistakes) for child in node.value])
    if not isinstance(node.value, str):
        return node
    used = [environment.get(name) or default for name, default in _VARIABLE.findall(node.value)]
    if sum(map(len, used)) > _LONGEST_TEXT:
        said = f"longer than {_LONGEST_TEXT:,} characters with the variables in it; write a shorter text"
        mistakes.append(Mistake(node.place, f"{node.key}: {said}"))
        return node

    def found(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        value = environment.get(name) or default
        if value is None:
            mistakes.append(
                Mistake(
                    node.place,
                    f"{node.key}: {node.value!r} names the environment variable {name}, which is not set; "
                    f"export {name}=…, or write ${{{name}:-default}}",
                )
            )
            return match.group()
        return value

    return replace(node, value=_VARIABLE.sub(found, node.value))
