"""Tables and arrays of an export, read with a problem noted for everything that is not as it should be."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neurostatic.data.scans.contract import Column

HEADER_LINES = 1
SHOWN_ROWS = 3
LARGEST_INT = 2**53  # beyond, a float does not hold every whole number
TRUE, FALSE = ("true", "1"), ("false", "0")


def read_columns(path: Path, columns: dict[str, Column], problems: list[str]) -> pd.DataFrame | None:
    """Read the named columns of a CSV file as the types they should have.

    Args:
        columns: what each column holds; other columns of the file are left out.
        problems: gets one line for each missing column and each column with wrong values.

    Returns:
        The rows without a problem; the index is the line in the file, and `attrs['n_rows']` counts all rows. None
        if the file is not there, cannot be read, lacks a column, or has no such row.
    """
    if not path.is_file():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            content = path.read_text(encoding="utf-8-sig")
            text = pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        problems.append(f"{path.name}: not a readable CSV table ({' '.join(str(error).split())})")
        return None
    text.columns = text.columns.str.strip()
    text.index = _line_numbers(content, len(text))
    wanted = {name: column for name, column in columns.items() if column.needed or name in text.columns}
    missing = [name for name in wanted if name not in text.columns]
    problems += [f"{path.name}: column '{name}' is missing" for name in missing]
    table = pd.DataFrame(index=text.index)
    good = np.ones(len(text), dtype=bool)
    for name, column in wanted.items():
        if name in missing:  # the others are looked at all the same
            continue
        values = text[name].str.strip()
        table[name], faults = _convert(values, column)
        for fault, allowed in faults:
            good &= ~fault
            problems.append(
                f"{path.name}, column {name}, {show_rows(table.index[fault])}: "
                f"found {values[fault].iloc[0]!r}, allowed is {allowed}"
            )
    table.attrs["n_rows"] = len(table)
    if not len(table):
        problems.append(f"{path.name}: has no rows, at least one is needed")
        return None
    if missing or not good.any():
        return None
    return table[good].astype({name: "int64" for name, column in wanted.items() if column.kind == "int"})


def _line_numbers(content: str, n_rows: int) -> list[int]:
    """The line of the file on which each row stands; blank lines are lines, not rows."""
    lines = [number for number, line in enumerate(content.split("\n"), 1) if line.strip()][HEADER_LINES:]
    return lines if len(lines) == n_rows else list(range(HEADER_LINES + 1, HEADER_LINES + 1 + n_rows))


def _convert(values: pd.Series, column: Column) -> tuple[np.ndarray, list[tuple[np.ndarray, str]]]:
    """Values as the column's type, and for each kind of fault the faulty rows and what is allowed instead."""
    if column.kind in ("int", "float"):
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
        is_empty = values.str.lower().isin(("", "nan")).to_numpy()
        wrong = (np.isnan(numbers) & ~is_empty) | np.isinf(numbers)
        if column.kind == "int":
            wrong |= ~np.isnan(numbers) & ((np.trunc(numbers) != numbers) | (np.abs(numbers) > LARGEST_INT))
        wrong |= (numbers < column.low) | (numbers > column.high)
        converted, allowed = numbers, _number_words(column)
    elif column.kind == "bool":
        lower = values.str.lower()
        is_empty = (lower == "").to_numpy()
        wrong = ~lower.isin(TRUE + FALSE).to_numpy() & ~is_empty
        converted, allowed = lower.isin(TRUE).to_numpy(), "true or false (1 or 0)"
    else:
        is_empty = values.str.lower().isin(("", "nan")).to_numpy()
        converted = values.where(~is_empty, "").to_numpy(dtype=object)
        wrong = np.zeros(len(values), dtype=bool)
        allowed = "some text"
        if column.choices:
            wrong = ~values.isin(column.choices).to_numpy() & ~is_empty
            allowed = "one of " + ", ".join(column.choices)
    if not column.empty:
        wrong |= is_empty
    return converted, [(wrong, allowed)] if wrong.any() else []


def _number_words(column: Column) -> str:
    words = "a whole number" if column.kind == "int" else "a number"
    if np.isfinite(column.high):
        words += f" from {column.low:g} to {column.high:g}"
    elif np.isfinite(column.low):
        words += " above 0" if 0 < column.low < 1 else f", at least {column.low:g}"
    return words + (" or nothing" if column.empty else "")


def show_rows(lines) -> str:
    """'row 5' or 'rows 5, 9, 12 and 4 more': lines of a file, the header being line 1."""
    lines = [int(line) for line in lines]
    shown = ", ".join(map(str, lines[:SHOWN_ROWS]))
    more = f" and {len(lines) - SHOWN_ROWS} more" if len(lines) > SHOWN_ROWS else ""
    return f"row{'s' if len(lines) > 1 else ''} {shown}{more}"


def read_array(path: Path, layouts: Sequence[tuple[str, ...]], kind: str, problems: list[str]) -> np.ndarray | None:
    """Memory-map an .npy file.

    Args:
        layouts: names of the dimensions it should have, one tuple for each number of dimensions that is allowed.
        kind: 'uint8' or 'float' (32 or 64 bit).
        problems: gets a line if the file is not such an array.

    Returns:
        The array; None if it is not there or not as it should be.
    """
    if not path.is_file():
        return None
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged file makes numpy raise many things
        problems.append(f"{path.name}: not a readable .npy array ({error})")
        return None
    if not isinstance(array, np.ndarray):
        problems.append(f"{path.name}: is an archive of arrays, one .npy array is needed")
        return None
    wanted = "uint8" if kind == "uint8" else "float32 or float64"
    if str(array.dtype.newbyteorder("=")) not in wanted.split(" or "):
        problems.append(f"{path.name}: dtype is {array.dtype}, allowed is {wanted}")
        return None
    if array.ndim not in map(len, layouts) or 0 in array.shape:
        needed = " or ".join(f"({', '.join(dims)})" for dims in layouts)
        problems.append(f"{path.name}: shape is {array.shape}, needed is {needed} without zeros")
        return None
    return array
