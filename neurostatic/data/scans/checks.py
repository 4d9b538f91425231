"""Does an export hold together? What one file says of another."""

from datetime import datetime

import numpy as np
import pandas as pd

from neurostatic.data.scans.clocks import find_timing_problems
from neurostatic.data.scans.contract import APERTURE, SOMA, Scan
from neurostatic.data.scans.stacks import find_stack_problems
from neurostatic.data.scans.survey import LARGEST
from neurostatic.data.scans.tables import find_duplicates, find_unknown, is_time, known_rows, show_dims, show_rows
from neurostatic.store import row_blocks

CHANNELS = (2, 3)  # of images in color
CHECKS = (  # what a scan that was read has passed, for the verdict
    "every needed file is there and readable, in one form",
    "columns, types and ranges of every table; as many fields in every row as in the first",
    "shapes, dtypes and sizes of every array; no infinite values, NaN only where allowed",
    "unit_id, field, trial_idx, (image_class, image_id), (stack, unit_id), (stack, field) and (timestamp, pixel_value) "
    "are unique",
    "every unit lies in a field of fields.csv and within its pixels; at least one is a soma",
    "every unit has a brain area, or every field an area mask of its size",
    "every trial's image is in images.npy; one condition_hash is one image; pixels are gray levels",
    "something was recorded of at least one unit",
    "positions in stacks come from one file; every unit of a stack and every registered field is known",
    "times are in s and delays in ms; frame times increase and agree on both clocks and with the traces, to one volume",
    "flips of a trial are in order, trials do not overlap and are numbered in time; onsets lie within the recording",
    "eye and treadmill times do not decrease and overlap the recording",
)


def find_problems(scan: Scan) -> list[str]:
    """Every contradiction in an export of which the unreadable parts are None or empty; tables are indexed by line."""
    return [
        *_units(scan),
        *_areas(scan),
        *_images(scan),
        *_trials(scan),
        *(_traces(scan) if scan.form == "traces" else _responses(scan)),
        *_recorded(scan),
        *find_stack_problems(
            scan.folder,
            scan.stack_coordinates,
            scan.field_registrations,
            scan.structure_matches,
            scan.units,
            scan.fields,
        ),
        *_calibrations(scan),
    ]


def _units(scan: Scan) -> list[str]:
    units, fields = scan.units, scan.fields
    problems = [*find_duplicates(units, "units.csv", ["unit_id"]), *find_duplicates(fields, "fields.csv", ["field"])]
    if units is None:
        return problems
    mask_types = units.mask_type.dropna()
    if len(mask_types) and SOMA not in set(mask_types):
        found = ", ".join(sorted(set(mask_types)))
        problems.append(f"units.csv, column mask_type: no unit is '{SOMA}', at least one is needed; found {found}")
    if fields is None:
        return problems
    known_fields = known_rows(fields, ["field"]).field
    listed = f"fields.csv ({', '.join(map(str, known_fields))})"
    problems += find_unknown(units, "units.csv", "field", known_fields, listed)
    sizes = fields.dropna(subset="field").drop_duplicates("field").set_index("field")
    for position, size in (("px_x", "px_width"), ("px_y", "px_height")):
        limit = units.field.map(sizes[size])
        outside = (units[position] < -0.5) | (units[position] >= limit - 0.5)
        if outside.any():
            problems.append(
                f"units.csv, column {position}, {show_rows(units.index[outside])}: "
                f"found {units[position][outside].iloc[0]:g}, allowed is 0 to {int(limit[outside].iloc[0]) - 1} "
                f"({size} of its field less 1: the first pixel is 0)"
            )
    return problems


def _areas(scan: Scan) -> list[str]:
    if scan.units is None or scan.fields is None:
        return []
    if "brain_area" not in scan.units and not scan.area_names:
        if (scan.folder / "area_masks.npz").is_file():
            return []  # the reader has said what is wrong with it
        return ["units.csv: column 'brain_area' is missing, and so is area_masks.npz; one of them is needed"]
    problems = []
    for field in scan.fields.dropna(subset=["field", "px_height", "px_width"]).itertuples():
        label, size = scan.area_labels[field.field], (int(field.px_height), int(field.px_width))
        if label is not None and label.shape != size:
            problems.append(
                f"area_masks.npz, field_{int(field.field)}: shape is {label.shape}, "
                f"needed is {size} (px_height, px_width of fields.csv)"
            )
    return problems


def _images(scan: Scan) -> list[str]:
    problems = find_duplicates(scan.image_table, "images.csv", ["image_class", "image_id"])
    if scan.image_table is not None:
        given = [name for name in APERTURE if name in scan.image_table]
        if given and len(given) < len(APERTURE):
            problems.append(
                f"images.csv: has the columns {', '.join(given)} of an aperture; "
                f"all of {', '.join(APERTURE)} are needed"
            )
        elif given:
            incomplete = scan.image_table[given].isna().sum(axis=1).between(1, len(given) - 1)
            if incomplete.any():
                problems.append(
                    f"images.csv, columns {', '.join(given)}, {show_rows(scan.image_table.index[incomplete])}: an "
                    "aperture has all of them, an image without one has none"
                )
    images = scan.images
    if not images.size:
        return problems
    dims = ("image", "y", "x", "channel")[: images.ndim]
    if scan.image_table is not None:
        problems += _one_for_each_row("images.npy", images, dims, 0, "images.csv", scan.image_table)
    if images.ndim == 4 and images.shape[3] not in CHANNELS:
        problems.append(
            f"images.npy: shape is {images.shape}, needed is {show_dims(dims)} with 2 or 3 channels "
            "(gray images have no channel dimension)"
        )
    if images.dtype == np.uint8 and all(images[rows].max() <= 1 for rows in row_blocks(images)):
        problems.append(
            f"images.npy: found no pixel above {images.max()}, needed are gray levels from 0 to 255 "
            "(were they scaled to 0 to 1?)"
        )
    return problems


def _one_for_each_row(
    file: str, array: np.ndarray, dims: tuple[str, ...], axis: int, table_file: str, table: pd.DataFrame
) -> list[str]:
    """An array of another length than its table."""
    n_rows = table.attrs["n_rows"]
    if array.shape[axis] == n_rows:
        return []
    needed = [*dims[:axis], str(n_rows), *dims[axis + 1 :]]
    turned = " (is it transposed?)" if len(dims) == 2 and array.shape[1 - axis] == n_rows else ""
    return [
        f"{file}: shape is {array.shape}, needed is {show_dims(needed)}, one {dims[axis]} for each row of {table_file}"
        f"{turned}"
    ]


def _trials(scan: Scan) -> list[str]:
    trials = scan.trials
    problems = find_duplicates(trials, "trials.csv", ["trial_idx"])
    if trials is None:
        return problems
    identity = ["image_class", "image_id"]
    if scan.image_table is not None:
        shown = known_rows(trials, identity)
        known = pd.MultiIndex.from_frame(known_rows(scan.image_table, identity))
        absent = shown[~pd.MultiIndex.from_frame(shown).isin(known)]
        if len(absent):
            problems.append(
                f"trials.csv, columns image_class, image_id, {show_rows(absent.index)}: "
                f"image ({absent.image_class.iloc[0]}, {absent.image_id.iloc[0]}) is not in images.csv"
            )
    hashes = known_rows(trials, ["condition_hash", *identity])
    images_per_hash = hashes.drop_duplicates().condition_hash.value_counts()
    mixed = hashes[hashes.condition_hash.isin(images_per_hash.index[images_per_hash > 1])]
    if len(mixed):
        problems.append(
            f"trials.csv, column condition_hash, {show_rows(mixed.index)}: "
            f"{mixed.condition_hash.iloc[0]!r} stands for several images, allowed is one"
        )
    if trials.excluded.all():
        problems.append("trials.csv, column excluded: every trial is excluded, at least one must be false")
    return problems


def _traces(scan: Scan) -> list[str]:
    problems = []
    if scan.traces is not None and scan.units is not None:
        problems += _one_for_each_row("traces.npy", scan.traces, ("unit", "volume"), 0, "units.csv", scan.units)
    return problems + find_timing_problems(scan)


def _responses(scan: Scan) -> list[str]:
    problems = []
    trials, responses = scan.trials, scan.responses
    if responses is not None:
        dims = ("trial", "unit")
        if scan.units is not None:
            problems += _one_for_each_row("responses.npy", responses, dims, 1, "units.csv", scan.units)
        if trials is not None:
            problems += _one_for_each_row("responses.npy", responses, dims, 0, "trials.csv", trials)
        problems += _partly_missing(scan, responses)
    if scan.behavior is not None and trials is not None:
        found, needed = scan.behavior.attrs["n_rows"], trials.attrs["n_rows"]
        if found != needed:
            problems.append(f"behavior.csv: has {found} rows, needed are {needed}, one for each row of trials.csv")
    return problems


def _partly_missing(scan: Scan, responses: np.ndarray) -> list[str]:
    """Trials in which some somata have no response; excluded ones may be as they are."""
    n_missing, trials = scan.survey.n_missing, scan.trials
    somata = np.ones(responses.shape[1], dtype=bool)
    if scan.units is not None and len(scan.units) == len(somata):
        somata = (scan.units.mask_type == SOMA).to_numpy()
    partly = (n_missing > 0) & (n_missing < somata.sum())
    if trials is not None and len(trials) == len(partly):
        partly &= ~trials.excluded.to_numpy()
    if not partly.any():
        return []
    trial = int(np.flatnonzero(partly)[0])
    unit = int(np.flatnonzero(np.isnan(responses[trial]) & somata)[0])
    return [
        f"responses.npy, entry ({trial}, {unit}) (from 0): found NaN in {n_missing[partly].sum()} entries of somata; "
        "allowed is a trial that is NaN for every soma (it is dropped)"
    ]


def _recorded(scan: Scan) -> list[str]:
    """Values of traces or responses."""
    file, recorded = ("traces.npy", scan.traces) if scan.form == "traces" else ("responses.npy", scan.responses)
    if recorded is None:
        return []
    problems = []
    if scan.survey.infinite is not None:
        problems.append(
            f"{file}, entry {scan.survey.infinite} (from 0): found {recorded[scan.survey.infinite]}, "
            f"allowed is a number up to {LARGEST:g} or NaN"
        )
    if scan.survey.silent.all():
        problems.append(f"{file}: every unit is constant or NaN, at least one that varies is needed")
    return problems


def _calibrations(scan: Scan) -> list[str]:
    table = scan.monitor_calibration
    if table is None:
        return []
    of_a_monitor = ["rig"] if "rig" in table else []
    problems = find_duplicates(table, "monitor_calibration.csv", ["timestamp", *of_a_monitor, "pixel_value"])
    rig = scan.info.get("rig", "")  # "": scan.yaml cannot be read
    if rig is None or (rig and isinstance(rig, str)):
        problems += rig_problems(table, rig)
    times = filter(is_time, [*table.timestamp, scan.info.get("timestamp")])
    if len({datetime.fromisoformat(time).tzinfo is None for time in times}) > 1:
        problems.append(
            "monitor_calibration.csv, column timestamp: found times with and without a time zone, "
            "allowed is a time zone in all rows and in scan.yaml, or in none"
        )
    return problems


def rig_problems(table: pd.DataFrame, rig: str | None) -> list[str]:
    """A line if monitor_calibration.csv is of named rigs, and the scan of none of them."""
    rigs = sorted(set(table["rig"].dropna().astype(str))) if "rig" in table else []
    if not rigs or rig in rigs:
        return []
    found = "is missing" if rig is None else f"found {rig!r}"
    return [f"scan.yaml, key rig: {found}, allowed is one of monitor_calibration.csv: {', '.join(rigs)}"]
