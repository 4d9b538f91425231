"""Everything on disk is written whole under a temporary name, then renamed, with its provenance."""

import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import zarr

PROVENANCE = "provenance"


class InputError(Exception):
    """Something a user gave is wrong; the message says what, where, and what is allowed."""


def report_problems(what: str, problems: list[str]) -> None:
    """Raise one InputError that lists every problem found in `what`; do nothing if there is none."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError(f"{what}: {count}\n" + "\n".join(f"  - {problem}" for problem in problems))


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


def write_arrays(arrays: xr.Dataset, path: str | Path, provenance: dict) -> None:
    """Write named arrays as one Zarr zip file; provenance goes into the attributes as JSON.

    The arrays are first written as a folder and then zipped: a Zarr written straight into a zip file holds its
    metadata several times over. Entries carry no time stamp, so that equal arrays make equal files.
    """
    arrays = arrays.assign_attrs({PROVENANCE: json.dumps(provenance, default=_plain)})
    for name in arrays.variables:
        if arrays[name].dtype.kind == "U":  # Zarr 3 has a settled text type, of variable length only
            arrays[name] = arrays[name].astype(object)
    with written_whole(path) as temporary, tempfile.TemporaryDirectory(dir=temporary.parent, prefix=".") as folder:
        arrays.to_zarr(folder, mode="w", zarr_format=3, consolidated=False)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(Path(folder).rglob("*")):
                if file.is_file():
                    entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())
                    archive.writestr(entry, file.read_bytes())


def read_arrays(path: str | Path) -> xr.Dataset:
    """Read a Zarr zip file into memory.

    Raises InputError if the file is missing or not a readable store.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with zarr.storage.ZipStore(path, mode="r") as store:
            arrays = xr.open_zarr(store, consolidated=False, zarr_format=3).load()
    except Exception as error:
        raise InputError(f"{path}: not a readable Zarr zip store ({error}); delete it and run again") from error
    for name in arrays.variables:
        if arrays[name].dtype.kind == "T":  # text as NumPy has always had it
            arrays[name] = arrays[name].astype(object).astype(str)
    return arrays


def read_provenance(path: str | Path) -> dict:
    """Provenance of an array store, or of a table (kept beside it as `<table>.json`)."""
    if str(path).endswith(".csv"):
        return json.loads(Path(f"{path}.json").read_text())
    return json.loads(read_arrays(path).attrs[PROVENANCE])


def write_table(table: pd.DataFrame, path: str | Path, provenance: dict) -> None:
    """Write a table as CSV and its provenance beside it as `<table>.json`."""
    write_json(provenance, f"{path}.json")
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False)


def read_table(path: str | Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a CSV table and check that the named columns are there.

    Raises InputError for a missing or unreadable file and for missing columns (all of them at once).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        # Only truly empty fields are missing: an area called "NA" is an area.
        table = pd.read_csv(path, keep_default_na=False, na_values=["", "nan", "NaN"])
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable CSV table ({error})") from error
    missing = [column for column in columns if column not in table.columns]
    report_problems(str(path), [f"column '{column}' is missing" for column in missing])
    return table


def write_json(content: dict, path: str | Path) -> None:
    """Write a JSON file, indented for reading."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=_plain) + "\n")


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)
