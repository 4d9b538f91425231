"""Tables and arrays of an export, read with a problem noted for everything that is not as it should be."""

import csv
import datetime
import io
import reprlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostatic.data.scans.contract import Column
from neurostatic.data.scans.survey import LARGEST

SHOWN_ROWS = 3
SHOWN_NAMES = 15
LARGEST_INT = 2**53  # beyond, a float does not hold every whole number
TRUE, FALSE = ("true", "1"), ("false", "0")
TIME_WORDS = "ISO 8601 such as 2019-03-11T14:00:00"
QUOTE = reprlib.Repr()
QUOTE.maxstring = QUOTE.maxother = 60  # letters of a value in a message


def read_columns(path: Path, columns: dict[str, Column], problems: list[str]) -> pd.DataFrame | None:
    """Read the named columns of a CSV file as the types they should have.

    Args:
        columns: what each column holds; other columns of the file are left out.
        problems: gets one line for each missing column and each column with wrong values.

    Returns:
        All rows of the right width, so that more can be found out of the table: NaN, None or False stand for what is
        wrong or missing. The index is the line in the file, and `attrs['n_rows']` counts all rows. None if the file is
        not there, cannot be read, names no column, or has no such row.
    """
    rows = _read_rows(path, problems) if path.is_file() else None
    if rows is None:
        return None
    header_line = next(iter(rows))
    names = [name.strip() for name in rows.pop(header_line)]
    wanted = {name: column for name, column in columns.items() if column.needed or name in names}
    if not any(name in names for name in wanted):
        found = _listed(names) + (" (columns are separated by commas)" if len(names) == 1 else "")
        problems.append(f"{path.name}, row {header_line}: names none of the columns {', '.join(wanted)}; found {found}")
        return None
    problems += [
        f"{path.name}, row {header_line}: column '{name}' is there {names.count(name)} times, allowed is once"
        for name in wanted
        if names.count(name) > 1
    ]
    n_rows = len(rows)
    ragged = {line: fields for line, fields in rows.items() if len(fields) != len(names)}
    if ragged:
        width = len(next(iter(ragged.values())))
        problems.append(
            f"{path.name}, {show_rows(ragged)}: found {width} fields, allowed are {len(names)} as in row {header_line}"
        )
        rows = {line: fields for line, fields in rows.items() if line not in ragged}
    if not n_rows:
        problems.append(f"{path.name}: has no rows, at least one is needed")
    table = pd.DataFrame(index=list(rows))
    for name, column in wanted.items():
        if name not in names:
            problems.append(f"{path.name}: column '{name}' is missing; found {_listed(names)}")
            values = pd.Series("", index=table.index, dtype=str)
        else:
            place = names.index(name)
            values = pd.Series([fields[place].strip() for fields in rows.values()], index=table.index, dtype=str)
        table[name], wrong, allowed = _convert(values, column)
        if wrong.any() and name in names:
            found = values[wrong].iloc[0]
            point = " with a decimal point" if column.kind == "float" and "," in found else ""
            problems.append(
                f"{path.name}, column {name}, {show_rows(table.index[wrong])}: "
                f"found {QUOTE.repr(found)}, allowed is {allowed}{point}"
            )
    table.attrs["n_rows"] = n_rows
    return table if len(table) else None


def _read_rows(path: Path, problems: list[str]) -> dict[int, list[str]] | None:
    """The fields of each line that is not blank, by the number of the line; None if the file cannot be read."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, found = content.count(b"\n", 0, error.start) + 1, content[error.start]
        problems.append(f"{path.name}, row {line}: found byte 0x{found:02x}, allowed is text in UTF-8")
        return None
    except OSError as error:
        problems.append(f"{path.name}: cannot be read ({error.strerror})")
        return None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        problems.append(f"{path.name}, row {line}: found byte 0x00, allowed is text in UTF-8")
        return None
    reader = csv.reader(io.StringIO(text, newline=None), skipinitialspace=True, strict=True)
    rows, line = {}, 0
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                rows[line + 1] = fields
            line = reader.line_num
    except csv.Error as error:
        problems.append(f"{path.name}, row {line + 1}: quotes do not match ({error})")
        return None
    if not rows:
        problems.append(f"{path.name}: is empty, row 1 must name the columns")
        return None
    return rows


def _convert(values: pd.Series, column: Column) -> tuple[np.ndarray, np.ndarray, str]:
    """Values as the column's type (NaN, None or False where wrong), which are wrong, and what is allowed instead."""
    nothing: Any  # NaN, False or None
    lower = values.str.lower()
    is_empty = lower.isin(("", "nan")).to_numpy()
    if column.kind in ("int", "float"):
        converted = pd.to_numeric(values, errors="coerce").to_numpy(float)
        wrong = np.isnan(converted) & ~is_empty
        wrong |= np.abs(converted) > (LARGEST_INT if column.kind == "int" else LARGEST)
        wrong |= (converted < column.low) | (converted > column.high)
        if column.kind == "int":
            wrong |= ~np.isnan(converted) & (np.trunc(converted) != converted)
        nothing, allowed = np.nan, _number_words(column)
    elif column.kind == "bool":
        wrong = ~lower.isin(TRUE + FALSE).to_numpy() & ~is_empty
        converted, nothing, allowed = lower.isin(TRUE).to_numpy(), False, "true or false (1 or 0)"
    else:
        values = values.str.split().str.join(" ")
        wrong, allowed = ~values.map(str.isprintable).to_numpy(bool), "some text"
        if column.kind == "time":
            wrong, allowed = ~values.map(is_time).to_numpy(bool) & ~is_empty, TIME_WORDS
        elif column.choices:
            wrong = ~values.isin(column.choices).to_numpy() & ~is_empty
            allowed = "one of " + ", ".join(column.choices)
        converted, nothing = values.where(~is_empty, "").to_numpy(dtype=object), None
    if not column.empty:
        wrong |= is_empty
    converted = np.where(wrong, nothing, converted)
    if column.kind == "int" and not wrong.any() and not is_empty.any():
        converted = converted.astype(np.int64)
    return converted, wrong, allowed


def is_time(text: Any) -> bool:
    """Is this a text by ISO 8601?"""
    try:
        datetime.datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return False
    return True


def _number_words(column: Column) -> str:
    words = "a whole number" if column.kind == "int" else "a number"
    if np.isfinite(column.high):
        words += f" from {column.low:g} to {column.high:g}"
    elif np.isfinite(column.low):
        words += " above 0" if 0 < column.low < 1 else f", at least {column.low:g}"
    return words + (" or nothing" if column.empty else "")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(QUOTE.repr(name) for name in names[:SHOWN_NAMES]) + more


def show_rows(lines: Iterable[int]) -> str:
    """'row 5' or 'rows 5, 9, 12 and 4 more': lines of a file, the header being line 1."""
    lines = [int(line) for line in lines]
    shown = ", ".join(map(str, lines[:SHOWN_ROWS]))
    more = f" and {len(lines) - SHOWN_ROWS} more" if len(lines) > SHOWN_ROWS else ""
    return f"row{'s' if len(lines) > 1 else ''} {shown}{more}"


def known_rows(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """These columns where all are known. A wrong value hides no other one, but its column was read as floats."""
    known = table[columns].dropna()
    whole = [name for name in columns if known[name].dtype.kind == "f" and (known[name] % 1 == 0).all()]
    return known.astype(dict.fromkeys(whole, "int64"))


def find_duplicates(table: pd.DataFrame | None, file: str, columns: list[str]) -> list[str]:
    """A line for rows whose values in these columns another row has already; none without a table."""
    known = None if table is None else known_rows(table, columns)
    if known is None or not known.duplicated().any():
        return []
    repeated = known.index[known.duplicated()]
    value = known.loc[repeated[0]]
    first = known.index[(known == value).all(axis=1)][0]
    shown = ", ".join(map(str, value)) if len(columns) == 1 else f"({', '.join(map(str, value))})"
    return [
        f"{file}, column{'s' if len(columns) > 1 else ''} {', '.join(columns)}, {show_rows(repeated)}: "
        f"{shown} is there already (row {first}), allowed is once"
    ]


def find_unknown(table: pd.DataFrame, file: str, column: str, known: pd.Series, where: str) -> list[str]:
    """A line for values of a column, such as unit_id, that `known` has not; `where` says which these are."""
    values = known_rows(table, [column])[column]
    unknown = values[~values.isin(known)]
    if not len(unknown):
        return []
    what = column.removesuffix("_id")
    return [f"{file}, column {column}, {show_rows(unknown.index)}: {what} {unknown.iloc[0]} is not in {where}"]


def read_array(path: Path, layouts: Sequence[tuple[str, ...]], kind: str, problems: list[str]) -> np.ndarray | None:
    """Memory-map an .npy file.

    Args:
        layouts: names of the dimensions it should have, one tuple for each number of dimensions that is allowed.
        kind: 'uint8' or 'float' (32 or 64 bit).
        problems: gets a line if the file is not such an array.

    Returns:
        The array, also if it is of another kind of number; None if it is not there or not such an array.
    """
    if not path.is_file():
        return None
    try:
        with without_header_warning():
            array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a damaged file makes numpy raise many things
        n_bytes = path.stat().st_size
        problems.append(f"{path.name}: not a readable .npy array of numbers, {n_bytes} bytes ({one_line(error)})")
        return None
    wanted = "uint8" if kind == "uint8" else "float32 or float64"
    if str(array.dtype.newbyteorder("=")) not in wanted.split(" or "):
        problems.append(f"{path.name}: dtype is {array.dtype}, allowed is {wanted}")
    surplus = path.stat().st_size - array.offset - array.nbytes
    n_dims = {len(dims) for dims in layouts}
    vector = 1 in n_dims and array.ndim == 2 and 1 in array.shape  # of MATLAB, which knows only rows and columns
    if not (array.ndim in n_dims or vector) or 0 in array.shape:
        needed = " or ".join(show_dims(dims) for dims in layouts)
        problems.append(f"{path.name}: shape is {array.shape}, needed is {needed} without zeros")
        return None
    if surplus:
        problems.append(f"{path.name}: has {surplus} bytes more than its shape {array.shape} needs")
    if array.dtype.kind not in "iuf":
        return None
    return array.reshape(-1) if vector else array


@contextmanager
def without_header_warning() -> Iterator[None]:
    """Numpy and Python warn of headers that Python 2 wrote, or are damaged; what matters is whether they are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def show_dims(dims: Sequence[str]) -> str:
    """'(unit, volume)', and '(slice,)' for a single dimension as in the shape of an array."""
    return f"({', '.join(dims)}{',' if len(dims) == 1 else ''})"


def one_line(error: Exception) -> str:
    """The message of an error as one line: a problem is one line of a report."""
    return " ".join(str(error).split())
