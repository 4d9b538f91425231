"""Everything on disk is written whole under a temporary name, then renamed, with its provenance."""

import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import DTypeLike
from xarray.backends import BackendArray
from xarray.core import indexing

from neurostatic.problems import InputError, report_problems

PROVENANCE = "provenance"
CHUNK_BYTES = 2**20  # of a chunk, which holds whole rows; chosen by benchmarks/layout.py
BLOCK_BYTES = 64 * 2**20  # of the rows of a large array that are looked at at a time
WRITE_BYTES = 512 * 2**20  # of those that are made at a time: a recording is read once for each such block


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; rename it to `path` if the block succeeds, else remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def checksum(path: str | Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain_column(values: pd.Series | xr.DataArray | np.ndarray) -> np.ndarray:
    """Values (row,) as numbers, or as text of fixed width, which needs no pickle."""
    values = np.asarray(values)
    return values if values.dtype.kind in "iufb" else np.array(values.tolist(), dtype=str)


def rows_on_demand(
    dims: tuple[str, ...], shape: tuple[int, ...], dtype: DTypeLike, read_rows: Callable[[np.ndarray], np.ndarray]
) -> xr.Variable:
    """A variable too large for memory: rows are computed or read when they are asked for, and again the next time.

    Args:
        read_rows: positions (row,) along the first dimension -> the rows (row, ...), as `dtype`.
    """
    return xr.Variable(dims, indexing.LazilyIndexedArray(_RowsOnDemand(shape, np.dtype(dtype), read_rows)))


class _RowsOnDemand(BackendArray):
    """What xarray asks for parts of an array."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, read_rows: Callable[[np.ndarray], np.ndarray]):
        self.shape, self.dtype, self.read_rows = shape, dtype, read_rows

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        rows = np.arange(self.shape[0])[key[0]]
        found = self.read_rows(np.atleast_1d(rows))
        for axis, part in enumerate(key[1:], 1):
            found = found[(slice(None),) * axis + (part,)]
        return found if np.ndim(rows) else found[0]


def row_blocks(variable: xr.DataArray | xr.Variable | np.ndarray, block_bytes: int = BLOCK_BYTES) -> Iterator[slice]:
    """Consecutive slices of the first dimension, each of at most `block_bytes` (but at least one row)."""
    row_bytes = max(1, variable.nbytes // max(1, variable.shape[0]))
    n_rows = max(1, block_bytes // row_bytes)
    for start in range(0, variable.shape[0], n_rows):
        yield slice(start, min(start + n_rows, variable.shape[0]))


def release_pages(array: np.ndarray) -> None:
    """Give the pages of a memory-mapped file that were read back to the system; other arrays stay as they are.

    They would otherwise count as memory of the process until the whole file is in it.
    """
    if isinstance(array, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):  # Linux and macOS
        array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # not in NumPy's types


def write_arrays(arrays: xr.Dataset, path: str | Path, provenance: dict[str, Any]) -> None:
    """Write named arrays as one Zarr zip file; provenance goes into the attributes as JSON.

    A variable above 512 MB is written block by block of its rows, so that one made by `rows_on_demand` is never whole
    in memory. The arrays are first written as a folder and then zipped: a Zarr written straight into a zip file holds
    its metadata several times over. Entries carry no time stamp, so that equal arrays make equal files.
    """
    arrays = arrays.assign_attrs({PROVENANCE: json.dumps(provenance, default=_plain)})
    for name in arrays.variables:
        if arrays[name].dtype.kind == "U":  # Zarr 3 has a settled text type, of variable length only
            arrays[name] = arrays[name].astype(object)
    large = [name for name in arrays.data_vars if arrays[name].nbytes > WRITE_BYTES]
    chunks = {name: {"chunks": _chunks(v)} for name, v in arrays.data_vars.items() if v.ndim > 1 and v.size}
    with written_whole(path) as temporary, _scratch_folder(temporary.parent) as folder:
        encoding = {name: chunks[name] for name in chunks if name not in large}
        arrays.drop_vars(large).to_zarr(folder, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
        for name in large:
            _write_rows(zarr.open_group(folder, mode="r+"), str(name), arrays[name].variable)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(Path(folder).rglob("*")):
                if file.is_file():
                    entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())
                    archive.writestr(entry, file.read_bytes())
                    file.unlink()  # a large store is not twice on the disk


@contextmanager
def _scratch_folder(parent: Path) -> Iterator[str]:
    """A temporary folder that is gone afterwards, even if a chunk has failed while Zarr goes on writing others."""
    folder = tempfile.mkdtemp(dir=parent, prefix=".")
    try:
        yield folder
    except BaseException:
        for _ in range(20):  # for two seconds: chunks on their way make their folders anew
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.1)
        raise
    shutil.rmtree(folder)


def _chunks(variable: xr.DataArray | xr.Variable) -> tuple[int, ...]:
    """Whole rows, as many as make about CHUNK_BYTES: training reads random trials."""
    row_bytes = max(1, variable.nbytes // variable.shape[0])
    return (min(variable.shape[0], max(1, CHUNK_BYTES // row_bytes)), *variable.shape[1:])


def _write_rows(group: zarr.Group, name: str, variable: xr.Variable) -> None:
    chunks = _chunks(variable)
    array = group.create_array(
        name,
        shape=variable.shape,
        chunks=chunks,
        dtype=variable.dtype,
        dimension_names=tuple(map(str, variable.dims)),
        attributes=variable.attrs,
    )
    # Blocks of whole chunks: a chunk is written once.
    n_rows = max(1, WRITE_BYTES // (variable.nbytes // variable.shape[0]) // chunks[0]) * chunks[0]
    for start in range(0, variable.shape[0], n_rows):
        rows = slice(start, start + n_rows)
        array[rows] = variable[rows].values


def open_arrays(path: str | Path) -> xr.Dataset:
    """Open a Zarr zip file; values are read when they are asked for.

    Raises InputError if the file is missing or not a readable store.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return xr.open_zarr(zarr.storage.ZipStore(path, mode="r"), consolidated=False, zarr_format=3, chunks=None)
    except Exception as error:
        raise _unreadable(path, error) from error


def read_arrays(path: str | Path) -> xr.Dataset:
    """Read a Zarr zip file into memory.

    Raises InputError if the file is missing or not a readable store.
    """
    return load_arrays(open_arrays(path), path)


def load_arrays(arrays: xr.Dataset, path: str | Path, but: tuple[str, ...] = ()) -> xr.Dataset:
    """Read what `open_arrays` has opened into memory, all but the named variables; text becomes NumPy text.

    Raises InputError if a part of the file is damaged.
    """
    try:
        arrays = arrays.drop_vars(but).load().assign({name: arrays[name] for name in but})
    except Exception as error:
        raise _unreadable(path, error) from error
    for name in arrays.variables:
        if name not in but and arrays[name].dtype.kind == "T":  # text as NumPy has always had it
            arrays[name] = arrays[name].astype(object).astype(str)
    return arrays


def _unreadable(path: str | Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a readable Zarr zip store ({error}); delete it and run again")


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Provenance of an array store, or of a table (kept beside it as `<table>.json`)."""
    if str(path).endswith(".csv"):
        return json.loads(Path(f"{path}.json").read_text())
    return json.loads(open_arrays(path).attrs[PROVENANCE])


def write_table(table: pd.DataFrame, path: str | Path, provenance: dict[str, Any]) -> None:
    """Write a table as CSV and its provenance beside it as `<table>.json`."""
    write_json(provenance, f"{path}.json")
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False)


NAMES = dict.fromkeys(("scan", "owner_scan", "rig", "stack"), "str")  # columns of names: a scan may be called 101


def read_table(path: str | Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a CSV table and check that the named columns are there.

    Raises InputError for a missing or unreadable file and for missing columns (all of them at once).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        # Only truly empty fields are missing: an area called "NA" is an area.
        table = pd.read_csv(path, keep_default_na=False, na_values=["", "nan", "NaN"], dtype=NAMES)
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable CSV table ({error})") from error
    missing = [column for column in columns if column not in table.columns]
    report_problems(str(path), [f"column '{column}' is missing" for column in missing])
    return table


def write_json(content: dict[str, Any], path: str | Path) -> None:
    """Write a JSON file, indented for reading."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=_plain) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)
