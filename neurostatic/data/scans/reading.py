"""Read a raw scan export whole, and refuse it with every problem it has."""

import dataclasses
import datetime
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from neurostatic.data.export_files import (
    COMMON_FILES,
    EXPORT_FILES,
    RESPONSES_FORM,
    RESPONSES_ONLY,
    TRACES_FORM,
    TRACES_ONLY,
)
from neurostatic.data.registration import register_units
from neurostatic.data.scans import contract
from neurostatic.data.scans.checks import find_problems
from neurostatic.data.scans.contract import Scan
from neurostatic.data.scans.survey import Survey, survey
from neurostatic.data.scans.tables import (
    QUOTE,
    TIME_WORDS,
    is_time,
    one_line,
    read_array,
    read_columns,
    without_header_warning,
)
from neurostatic.problems import InputError, report_problems

TABLES = ("units", "fields", "trials", "image_table", "eye", "treadmill", "behavior")
OPTIONAL_TABLES = ("field_registrations", "stack_coordinates", "structure_matches", "monitor_calibration")
INFO_NUMBERS = {"animal_id": True, "session": True, "scan_idx": True, "loop_group": False, "day": False}


def read_scan(folder: str | Path) -> Scan:
    """Read a raw scan export and check every file of it (StaticScan).

    `area_masks.npz` holds one label map per field, named `field_1`, `field_2`, ..., and `area_names`. Positions in
    stacks are those of `stack_coordinates.csv`, or computed from `field_registrations.csv` (StackCoordinates).

    Raises InputError that lists every problem: file, column, line of the file, what was found, what is allowed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, the folder of an export is needed" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise InputError(f"{folder}: no permission to read this folder")
    problems: list[str] = []
    form = _form(folder, problems)
    traces_form = form == "traces"

    def table(name: str, columns: dict[str, contract.Column]) -> pd.DataFrame | None:
        return read_columns(folder / name, columns, problems)

    def array(name: str, dims: tuple[str, ...]) -> np.ndarray | None:
        return read_array(folder / name, [dims], "float", problems)

    units = table("units.csv", contract.UNITS)
    fields = table("fields.csv", contract.FIELDS)
    area_labels, area_names = _read_area_masks(folder / "area_masks.npz", fields, problems)
    traces = array("traces.npy", ("unit", "volume")) if traces_form else None
    responses = None if traces_form else array("responses.npy", ("trial", "unit"))
    found = Survey(None, np.zeros(0), np.zeros(0, dtype=bool))  # of nothing
    if traces is not None:
        found = survey(traces, 0)
    elif responses is not None:
        counted: np.ndarray | slice = slice(None)
        if units is not None and len(units) == responses.shape[1]:
            counted = (units.mask_type == contract.SOMA).to_numpy()
        found = survey(responses, 1, counted)
    info = _read_info(folder / "scan.yaml", problems)
    trials = table("trials.csv", contract.TRIALS_TRACES if traces_form else contract.TRIALS)
    images = read_array(folder / "images.npy", contract.IMAGE_DIMS, "uint8", problems)
    scan = Scan(
        name=folder.resolve().name,
        folder=folder,
        info=info,
        form=form,
        units=units,
        fields=fields,
        trials=trials,
        images=np.zeros((0, 0, 0), np.uint8) if images is None else images,
        image_table=table("images.csv", contract.IMAGES),
        area_labels=area_labels,
        area_names=area_names,
        traces=traces,
        frame_times_stim=array("frame_times_stim.npy", ("slice",)) if traces_form else None,
        frame_times_behavior=array("frame_times_behavior.npy", ("slice",)) if traces_form else None,
        eye=table("eye.csv", contract.EYE) if traces_form else None,
        treadmill=table("treadmill.csv", contract.TREADMILL) if traces_form else None,
        responses=responses,
        behavior=None if traces_form else table("behavior.csv", contract.BEHAVIOR),
        field_registrations=table("field_registrations.csv", contract.FIELD_REGISTRATIONS),
        stack_coordinates=table("stack_coordinates.csv", contract.STACK_COORDINATES),
        structure_matches=table("structure_matches.csv", contract.STRUCTURE_MATCHES),
        monitor_calibration=table("monitor_calibration.csv", contract.MONITOR_CALIBRATION),
        survey=found,
    )
    problems += find_problems(scan)
    report_problems(f"scan export {folder}", problems)
    tables = {name: getattr(scan, name) for name in (*TABLES, *OPTIONAL_TABLES)}
    tables = {name: table.reset_index(drop=True) for name, table in tables.items() if table is not None}
    if "field_registrations" in tables:
        tables["stack_coordinates"] = register_units(units, fields, tables["field_registrations"])
    return dataclasses.replace(scan, **tables)


def _form(folder: Path, problems: list[str]) -> str:
    """'traces' or 'responses', by the files that are there; a mix and missing files are problems."""
    traces = [name for name in TRACES_ONLY if (folder / name).is_file()]
    responses = [name for name in RESPONSES_ONLY if (folder / name).is_file()]
    form = "traces" if traces and ("traces.npy" in traces or "responses.npy" not in responses) else "responses"
    if traces and responses:
        problems.append(
            f"mix of two forms: found {', '.join(traces)} of the traces form and {', '.join(responses)} of the "
            "responses form, allowed are files of one form"
        )
    if not traces and not responses:
        problems.append(
            f"neither the traces form ({', '.join(TRACES_ONLY)}) nor the responses form "
            f"({', '.join(RESPONSES_ONLY)}) is there"
        )
        needed: tuple[str, ...] = COMMON_FILES
    else:
        needed = TRACES_FORM if form == "traces" else RESPONSES_FORM
    problems += [f"{name}: is a folder, a file is needed" for name in EXPORT_FILES if (folder / name).is_dir()]
    problems += [_missing(folder, name) for name in needed if not (folder / name).exists()]
    return form


def _missing(folder: Path, name: str) -> str:
    alike = [
        f"; found {path.name}, allowed is {name}" for path in folder.iterdir() if path.name.lower() == name.lower()
    ]
    return f"{name}: file is missing" + "".join(alike)


def _read_info(path: Path, problems: list[str]) -> dict[str, Any]:
    """scan.yaml with every key of the contract; what is wrong is noted and None."""
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except Exception as error:  # a damaged file makes yaml raise many things
        problems.append(f"{path.name}: not a readable YAML file ({one_line(error)})")
        return {}
    if not isinstance(content, dict):
        problems.append(f"{path.name}: found {QUOTE.repr(content)}, allowed are keys and values such as 'session: 1'")
        return {}
    info = dict(content)
    for key, needed in INFO_NUMBERS.items():
        value = info.setdefault(key, None)
        is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if not is_number and (needed or value is not None):
            found = QUOTE.repr(value)
            problems.append(f"{path.name}, key {key}: found {found}, allowed is a whole number, at least 0")
    source = info.setdefault("mei_source", None)
    if source not in (None, 0, 1):
        problems.append(f"{path.name}, key mei_source: found {QUOTE.repr(source)}, allowed is 0 or 1")
    if info.setdefault("stim_type", None) not in contract.STIM_TYPES:
        problems.append(
            f"{path.name}, key stim_type: found {QUOTE.repr(info['stim_type'])}, "
            f"allowed is one of {', '.join(contract.STIM_TYPES)}"
        )
    rig = info.setdefault("rig", None)
    if isinstance(rig, int) and not isinstance(rig, bool):  # YAML reads a rig called 4 as a number
        info["rig"] = str(rig)
    elif rig is not None and not (isinstance(rig, str) and rig):
        problems.append(f"{path.name}, key rig: found {QUOTE.repr(rig)}, allowed is some text")
    timestamp = info.setdefault("timestamp", None)
    if isinstance(timestamp, datetime.date):  # YAML reads an unquoted date as one; a datetime is a date too
        info["timestamp"] = timestamp.isoformat()
    elif not is_time(timestamp):
        problems.append(f"{path.name}, key timestamp: found {QUOTE.repr(timestamp)}, allowed is {TIME_WORDS}")
    return info


def _read_area_masks(
    path: Path, fields: pd.DataFrame | None, problems: list[str]
) -> tuple[dict[int, np.ndarray | None], tuple[str, ...]]:
    """Label map of each field and the names of the labels; no maps where the file is not there."""
    numbers = [] if fields is None else [int(field) for field in fields.field.dropna()]
    labels: dict[int, np.ndarray | None] = dict.fromkeys(numbers)
    if not path.is_file():
        return labels, ()
    try:
        with path.open("rb") as file, without_header_warning(), np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged file makes numpy raise many things
        problems.append(f"{path.name}: not a readable .npz archive ({one_line(error)})")
        return labels, ()
    names = arrays.get("area_names", np.array([]))
    if names.ndim != 1 or names.dtype.kind != "U" or not len(names):
        found = f"found {names.dtype} of shape {names.shape}" if "area_names" in arrays else "is missing"
        problems.append(f"{path.name}, area_names: {found}, needed is a list of texts, one for each label")
        names = np.array([])
    for field in numbers:
        label = arrays.get(f"field_{field}")
        if label is None:
            problems.append(f"{path.name}: label map 'field_{field}' is missing")
            continue
        labels[field] = label
        if label.dtype.kind not in "iu":
            problems.append(
                f"{path.name}, field_{field}: dtype is {label.dtype}, allowed is a whole number such as uint8"
            )
        elif len(names) and (label.min(initial=0) < 0 or label.max(initial=0) > len(names)):
            problems.append(
                f"{path.name}, field_{field}: found labels from {label.min()} to {label.max()}, "
                f"allowed are 0 (no area) to {len(names)} (area_names has {len(names)})"
            )
    return labels, tuple(str(name) for name in names)
