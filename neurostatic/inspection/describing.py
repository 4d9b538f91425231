"""What is in a result, whatever its kind."""

import html
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image

from neurostatic.data.importers import is_sensorium
from neurostatic.inspection.checking import count
from neurostatic.inspection.layout import columns, cut, named
from neurostatic.inspection.origins import origin_lines, short
from neurostatic.inspection.summaries import summarize
from neurostatic.problems import InputError
from neurostatic.store import PROVENANCE, open_arrays, read_provenance, read_table

UNDERSTOOD = "a folder or zip file of a scan, .zarr.zip, .csv, .pt, .json, .html, .png, .npy"
PROVENANCE_KEYS = {"commit", "versions", "inputs"}


def describe(path: str | Path) -> str:
    """What a result holds and where it comes from, as text; a scan gives its counts.

    Raises InputError for a file that is missing, broken or of another kind.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    kind = next((ending for ending in KINDS if path.name.lower().endswith(ending)), None)
    if path.is_dir() or (kind is None and is_sensorium(path)):
        return count(path)
    if kind is None:
        raise InputError(f"{path}: is of no kind that is understood ({UNDERSTOOD})")
    try:
        return "\n".join(KINDS[kind](path))
    except InputError:
        raise
    except Exception as error:  # a damaged file makes readers raise many things
        raise InputError(f"{path}: not a readable {kind} file ({type(error).__name__}: {error})") from error


def _arrays(path: Path) -> list[str]:
    with open_arrays(path) as arrays:
        lines = [f"{path}: arrays", *named([("dimensions", _sizes(arrays))])]
        for title, group in (("variables", arrays.data_vars), ("coordinates", arrays.coords)):
            if group:
                lines += ["", title, *_variables(group)]
        attributes = {name: cut(str(value), 300) for name, value in arrays.attrs.items() if name != PROVENANCE}
        if attributes:
            lines += ["", "attributes", *named(attributes.items())]
        made = arrays.attrs.get(PROVENANCE)
    return [*lines, "", *origin_lines(made and json.loads(made))]


def _variables(group: Mapping[Any, xr.DataArray]) -> list[str]:
    """A row a variable; variables with a long name have it last."""
    header = ["name", "dimensions", "type", "units", "missing", "range", "long name"]
    rows = []
    for name, variable in sorted(group.items(), key=lambda pair: (pair[1].dims, pair[0])):  # a store has no order
        found = summarize(variable)
        dims = ", ".join(map(str, variable.dims)) or "-"
        rows.append([name, dims, found.kind, variable.attrs.get("units", "-"), found.missing, found.range])
        rows[-1].append(variable.attrs.get("long_name", ""))
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    return columns([header, *rows])


def _sizes(arrays: xr.Dataset) -> str:
    return ", ".join(f"{name} {size}" for name, size in sorted(arrays.sizes.items()))


def _table(path: Path) -> list[str]:
    table = read_table(path)
    rows = []
    for name in table:
        values = table[name].to_numpy() if table[name].dtype.kind in "biuf" else table[name].fillna("").to_numpy(object)
        found = summarize(xr.Variable("row", values))
        rows.append([name, found.kind, found.missing, found.range])
    beside = Path(f"{path}.json")
    origin = origin_lines(read_provenance(path) if beside.is_file() else None, f"{beside.name} is not there")
    listed = columns([["column", "type", "missing", "range"], *rows])
    return [f"{path}: table of {len(table)} rows", *listed, "", *origin]


def _model(path: Path) -> list[str]:
    from neurostatic.models.files import read_model_file  # only here: torch takes longer to load than all else

    content = read_model_file(path)
    if "bad" in content:
        made = origin_lines(json.loads(content["provenance"]))
        return [f"{path}: no model, format {content['format']}", f"reason: {content['bad']}", "", *made]
    n_weights = sum(tensor.numel() for tensor in content["weights"].values())
    units = [(scan, f"{len(ids)} units") for scan, ids in content["unit_ids"].items()]
    lines = [f"{path}: model, format {content['format']}", "", "network", *named(content["network"].items())]
    lines += [*named([("weights", f"{n_weights} in {len(content['weights'])} tensors")]), "", "scans", *named(units)]
    return [*lines, "", *origin_lines(json.loads(content["provenance"]))]


def _json(path: Path) -> list[str]:
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise InputError(f"{path}: is neither a verdict nor a provenance: found {cut(repr(content), 40)}")
    if {"counts", "checks_passed", "files"} <= set(content):
        pairs = [(name, content.get(name, "-")) for name in ("scan", "form", "source")]
        files = [(name, short(checksum)) for name, checksum in content["files"].items()]
        lines = [f"{path}: verdict on a scan, {len(content['checks_passed'])} checks passed", *named(pairs)]
        lines += ["", "counts", *named(content["counts"].items()), "", "files (checksums)", *named(files)]
        return [*lines, "", *origin_lines(content.get(PROVENANCE))]
    if set(content) >= PROVENANCE_KEYS:
        return [f"{path}: provenance of the table beside it", *origin_lines(content)]
    return [f"{path}: keys and values", *named((str(name), cut(str(value))) for name, value in content.items())]


def _page(path: Path) -> list[str]:
    text = path.read_text("utf-8")
    titles = [_plain(title) for title in re.findall("<h2[^>]*>(.*?)</h2>", text, re.S)]
    if not titles:
        raise InputError(f"{path}: is no report, it has no section")
    commit = re.search(r"Code: commit ([^.<]*)", text)
    pairs = [
        ("sections", ", ".join(titles)),
        ("figures", text.count("<img")),
        ("size", f"{path.stat().st_size / 1e6:.1f} MB"),
        ("commit", _plain(commit[1]) if commit else "unknown"),
    ]
    return [f"{path}: report", *named(pairs)]


def _plain(markup: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", markup)).strip()


def _picture(path: Path) -> list[str]:
    with Image.open(path) as image:
        image.load()
        low_high = image.getextrema() if image.mode == "L" else None
        pairs = [("size", f"{image.height} x {image.width} px (height x width)"), ("mode", image.mode)]
        if low_high:
            pairs.append(("range", f"{low_high[0]} to {low_high[1]}"))
    return [f"{path}: picture", *named(pairs)]


def _array(path: Path) -> list[str]:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    found = summarize(xr.Variable([f"axis_{axis}" for axis in range(array.ndim)], array))
    shape = " x ".join(map(str, array.shape)) or "one number"
    pairs = [("shape", shape), ("type", found.kind), ("missing", found.missing), ("range", found.range)]
    return [f"{path}: array", *named(pairs)]


KINDS: dict[str, Callable[[Path], list[str]]] = {
    ".zarr.zip": _arrays,
    ".csv": _table,
    ".pt": _model,
    ".json": _json,
    ".html": _page,
    ".png": _picture,
    ".npy": _array,
}
