"""Columns out of a pandas DataFrame pickle, without pandas and without running anything the file names.

A pickle is a program that calls what it names. Here every name that a DataFrame of plain columns needs is
answered by an inert stand-in of ours that only keeps its arguments, and every other name is refused; nothing
of pandas, numpy or the standard library can be reached from the file. Written and tested against pickles of
pandas 1.5 and 2.3, protocols 2 to 5.
"""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness_llm.errors import DatasetError, named
from harness_llm.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import BufferedIOBase
    from pathlib import Path


_PLAIN_NUMBER: Final = re.compile(r"[<>=|]?[biuf][1248]")
_REMEDY = "Take the official file, or save the columns as .jsonl and use kind jsonl."


class _Dtype:
    """Stands in for numpy.dtype: a name, and a byte order that may follow."""

    def __init__(self, name: str, *_flags: object) -> None:
        if not isinstance(name, str):
            raise pickle.UnpicklingError(f"array type {name!r}")
        self.name = name

    def __setstate__(self, state: Sequence[Any]) -> None:
        if state[1] == ">":
            self.name = ">" + self.name

    @property
    def is_object(self) -> bool:
        return self.name.startswith("O")

    def plain(self) -> np.dtype[Any]:
        """The numpy type, if it is a plain number."""
        if _PLAIN_NUMBER.fullmatch(self.name) is None:
            raise pickle.UnpicklingError(f"array type {self.name!r}")
        return np.dtype(self.name)


class _Array:
    """Stands in for numpy.ndarray; `value` is a real array of numbers or of the objects in the file."""

    value: np.ndarray[Any, Any]

    def __setstate__(self, state: Sequence[Any]) -> None:
        _version, shape, dtype, is_fortran, content = state
        if dtype.is_object:
            cells = np.empty(len(content), object)
            for position, cell in enumerate(content):  # one by one: numpy would look into lists
                cells[position] = cell
            self.value = cells.reshape(shape)  # objects are always listed in C order
        else:
            numbers = np.frombuffer(bytes(content), dtype.plain())
            self.value = numbers.reshape(shape, order="F" if is_fortran else "C")


class _Block:
    """Stands in for a pandas block: values of shape (its columns, rows), and which columns they are."""

    def __init__(self, values: object, placement: object, _dimensions: object = 2) -> None:
        self.values = values
        self.placement = placement

    def columns(self) -> Sequence[int]:
        """Positions of its columns in the frame."""
        if isinstance(self.placement, slice):
            return range(self.placement.start or 0, self.placement.stop, self.placement.step or 1)
        assert isinstance(self.placement, _Array)
        return [int(position) for position in self.placement.value]


class _Manager:
    """Stands in for pandas' BlockManager: blocks, and the axes (column names, row labels)."""

    def __init__(self, blocks: Sequence[_Block], axes: Sequence[_Index]) -> None:
        self.blocks = blocks
        self.axes = axes


class _Index:
    """Stands in for every pandas index class."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self.state = state or {}

    def names(self) -> list[str]:
        """The labels, if they are text."""
        labels = self.state["data"]
        assert isinstance(labels, _Array)
        return [str(label) for label in labels.value]


class _Frame:
    """Stands in for pandas.DataFrame; its state is a dictionary with the manager."""

    manager: object = None

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.manager = state.get("_mgr")


def _stand_ins() -> dict[tuple[str, str], object]:
    """Answer for every allowed name; made anew for each file, so that a file cannot change another's."""

    def array(*_arguments: object) -> _Array:
        return _Array()

    def array_from_buffer(buffer: Any, dtype: _Dtype, shape: Any, order: str = "C") -> _Array:
        made = _Array()
        made.__setstate__((1, shape, dtype, order == "F", buffer))
        return made

    def index(_kind: object, state: Mapping[str, Any]) -> _Index:
        return _Index(state)

    def encode(text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes in {encoding!r}")
        return text.encode("latin1")

    names: dict[tuple[str, str], object] = {
        ("pandas.core.frame", "DataFrame"): type("Frame", (_Frame,), {}),
        ("pandas.core.internals.managers", "BlockManager"): type("Manager", (_Manager,), {}),
        ("pandas._libs.internals", "_unpickle_block"): type("Block", (_Block,), {}),
        ("pandas.core.indexes.base", "_new_Index"): index,
        ("numpy", "ndarray"): "ndarray",
        ("numpy", "dtype"): type("Dtype", (_Dtype,), {}),
        ("_codecs", "encode"): encode,
    }
    for module in ("base.Index", "range.RangeIndex", "numeric.Int64Index"):
        folder, name = module.split(".")
        names[f"pandas.core.indexes.{folder}", name] = name
    for root in ("numpy.core", "numpy._core"):
        names[f"{root}.multiarray", "_reconstruct"] = array
        names[f"{root}.numeric", "_frombuffer"] = array_from_buffer
    for builtins in ("builtins", "__builtin__"):
        names[builtins, "slice"] = slice
    return names


class _RestrictedUnpickler(pickle.Unpickler):
    """Knows the stand-ins and nothing else; has no persistent ids and no out-of-band buffers."""

    def __init__(self, file: BufferedIOBase) -> None:
        super().__init__(file)
        self._names = _stand_ins()

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """The stand-in for a name.

        Raises:
            UnpicklingError: The name is none that a DataFrame of plain columns needs.
        """
        try:
            return self._names[module_name, global_name]
        except KeyError:
            refused = f"it names {module_name}.{global_name}, which no data set needs"
            raise pickle.UnpicklingError(refused) from None


def read_columns(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Named columns of the DataFrame in a pickle file, each as a list of its cells in row order.

    Cells are what the pickle holds as plain data: numbers, text, lists, or numpy arrays of numbers. Optional
    columns are left out where the frame lacks them.

    Raises:
        DatasetError: The file cannot be read, names anything beyond a DataFrame of plain columns (nothing
            that it names is ever run), is damaged, or lacks a required column.
    """
    frame = _load(path)
    try:
        names, blocks = _parts(frame)
        found = {
            names[position]: _cells(row)
            for block in blocks
            for position, row in zip(block.columns(), block.values.value, strict=True)
            if names[position] in {*required, *optional}
        }
    except (AssertionError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: not laid out as pandas 1.5 or 2 do it: {named(error)}", _REMEDY
        ) from error
    if len({len(column) for column in found.values()}) > 1:
        raise DatasetError(f"{path}: its columns differ in length", _REMEDY)
    lacking = [name for name in required if name not in found]
    if lacking:
        raise DatasetError(f"{path}: lacks the column {lacking[0]}; found {', '.join(names)}", _REMEDY)
    return found


def _load(path: Path) -> object:
    try:
        with open_regular(path) as file:
            return _RestrictedUnpickler(file).load()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error}", "Check dataset_path.") from error
    except pickle.UnpicklingError as error:
        remedy = _REMEDY
        if "pyarrow" in str(error) or "pandas." in str(error):
            remedy = f"If pandas other than 1.5 or 2 saved it, save it with one of these. {_REMEDY}"
        raise DatasetError(f"{path}: refused as a data set: {error}", remedy) from error
    except Exception as error:  # noqa: BLE001  a damaged pickle may raise anything from our inert stand-ins
        raise DatasetError(f"{path}: not a readable pickle: {named(error)}", _REMEDY) from error


def _parts(frame: object) -> tuple[list[str], list[Any]]:
    assert isinstance(frame, _Frame), f"the file holds a {type(frame).__name__}"
    assert isinstance(frame.manager, _Manager), "no block manager"
    return frame.manager.axes[0].names(), list(frame.manager.blocks)


def _cells(row: np.ndarray[Any, Any]) -> list[Any]:
    return [cell.value if isinstance(cell, _Array) else cell for cell in row.tolist()]
