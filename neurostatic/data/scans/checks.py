"""Does an export hold together? What one file says of another, clocks, and order in time."""

import numpy as np
import pandas as pd

from neurostatic.data.responses import depth_count
from neurostatic.data.scans.contract import APERTURE, FLIPS, SOMA, Scan
from neurostatic.data.scans.survey import Survey
from neurostatic.data.scans.tables import show_rows

CHANNELS = (2, 3)  # of images in color
CHECKS = (  # what a scan that was read has passed, for the verdict
    "every needed file is there and readable, in one form",
    "columns, types and ranges of every table",
    "shapes and dtypes of every array; no infinite values, NaN only where allowed",
    "unit_id, field, trial_idx, (image_class, image_id) and (stack, unit_id) are unique",
    "every unit lies in a field of fields.csv and within its pixels; at least one is a soma",
    "every unit has a brain area, or every field an area mask of its size",
    "every trial's image is in images.npy; one condition_hash is one image",
    "flips of a trial are in order and within the recording",
    "frame times increase on both clocks; traces, frame times and behavior clock agree to one volume",
    "eye and treadmill times do not decrease and overlap the recording",
)


def find_problems(scan: Scan) -> list[str]:
    """Every contradiction in an export of which the unreadable parts are None; tables are indexed by line."""
    return [
        *_units(scan),
        *_areas(scan),
        *_images(scan),
        *_trials(scan),
        *(_traces(scan) if scan.form == "traces" else _responses(scan)),
        *_stacks(scan),
    ]


def _duplicates(table: pd.DataFrame | None, file: str, columns: list[str]) -> list[str]:
    if table is None:
        return []
    repeated = table.duplicated(columns)
    if not repeated.any():
        return []
    first = table.loc[repeated, columns].iloc[0].astype(str)
    value = ", ".join(first) if len(columns) == 1 else f"({', '.join(first)})"
    return [
        f"{file}, column{'s' if len(columns) > 1 else ''} {', '.join(columns)}, {show_rows(table.index[repeated])}: "
        f"{value} is there already, allowed is once"
    ]


def _units(scan: Scan) -> list[str]:
    units, fields = scan.units, scan.fields
    problems = [*_duplicates(units, "units.csv", ["unit_id"]), *_duplicates(fields, "fields.csv", ["field"])]
    if units is None:
        return problems
    if not (units.mask_type == SOMA).any():
        problems.append(f"units.csv, column mask_type: no unit is '{SOMA}', at least one is needed")
    if fields is None:
        return problems
    unknown = ~units.field.isin(fields.field)
    if unknown.any():
        problems.append(
            f"units.csv, column field, {show_rows(units.index[unknown])}: field {units.field[unknown].iloc[0]} "
            f"is not in fields.csv ({', '.join(map(str, fields.field))})"
        )
    sizes = fields.drop_duplicates("field").set_index("field")
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
    for field in scan.fields.itertuples():
        label, size = scan.area_labels.get(field.field), (field.px_height, field.px_width)
        if label is not None and label.shape != size:
            problems.append(
                f"area_masks.npz, field_{field.field}: shape is {label.shape}, "
                f"needed is {size} (px_height, px_width of fields.csv)"
            )
    return problems


def _images(scan: Scan) -> list[str]:
    problems = _duplicates(scan.image_table, "images.csv", ["image_class", "image_id"])
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
    if scan.images is not None and scan.image_table is not None:
        problems += _lengths("images.npy", len(scan.images), "images.csv", scan.image_table)
    if scan.images is not None and scan.images.ndim == 4 and scan.images.shape[3] not in CHANNELS:
        problems.append(
            f"images.npy: has {scan.images.shape[3]} channels, allowed are 2 or 3 "
            "(gray images have no channel dimension)"
        )
    return problems


def _lengths(file: str, length: int, table_file: str, table: pd.DataFrame) -> list[str]:
    n_rows = table.attrs["n_rows"]
    return [] if length == n_rows else [f"{file}: holds {length}, but {table_file} has {n_rows} rows"]


def _trials(scan: Scan) -> list[str]:
    trials = scan.trials
    problems = _duplicates(trials, "trials.csv", ["trial_idx"])
    if trials is None:
        return problems
    identity = ["image_class", "image_id"]
    if scan.image_table is not None:
        known = pd.MultiIndex.from_frame(scan.image_table[identity])
        absent = ~pd.MultiIndex.from_frame(trials[identity]).isin(known)
        if absent.any():
            first = trials.loc[absent, identity].iloc[0]
            problems.append(
                f"trials.csv, columns image_class, image_id, {show_rows(trials.index[absent])}: "
                f"image ({first.image_class}, {first.image_id}) is not in images.csv"
            )
    images_per_hash = trials[["condition_hash", *identity]].drop_duplicates().condition_hash.value_counts()
    mixed = trials.condition_hash.isin(images_per_hash.index[images_per_hash > 1])
    if mixed.any():
        problems.append(
            f"trials.csv, column condition_hash, {show_rows(trials.index[mixed])}: "
            f"{trials.condition_hash[mixed].iloc[0]!r} stands for several images, allowed is one"
        )
    if trials.excluded.all() and len(trials):
        problems.append("trials.csv, column excluded: every trial is excluded")
    return problems


def _traces(scan: Scan) -> list[str]:
    problems = []
    clocks = {
        name: np.asarray(times, dtype=float)
        for name, times in (
            ("frame_times_stim.npy", scan.frame_times_stim),
            ("frame_times_behavior.npy", scan.frame_times_behavior),
        )
        if times is not None
    }
    for name, times in clocks.items():
        problems += _increasing(name, times)
    if scan.traces is not None:
        if scan.units is not None:
            problems += _lengths("traces.npy", len(scan.traces), "units.csv", scan.units)
        problems += _infinite("traces.npy", scan.survey)
    if scan.fields is not None:
        problems += _volumes(scan, clocks)
    stim, behavior = clocks.get("frame_times_stim.npy"), clocks.get("frame_times_behavior.npy")
    problems += _flips(scan.trials, stim)
    for file, table in (("eye.csv", scan.eye), ("treadmill.csv", scan.treadmill)):
        problems += _behavior_times(file, table, behavior)
    return problems


def _increasing(name: str, times: np.ndarray) -> list[str]:
    if not np.isfinite(times).all():
        first = int(np.flatnonzero(~np.isfinite(times))[0])
        return [f"{name}, entry {first} (from 0): found {times[first]}, allowed is a finite time"]
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        first = int(back[0]) + 1
        return [
            f"{name}, entry {first} (from 0): time is not increasing, "
            f"found {times[first]:.6f} s after {times[first - 1]:.6f} s"
        ]
    return []


def _infinite(name: str, found: Survey) -> list[str]:
    if found.infinite is None:
        return []
    return [f"{name}, entry {found.infinite} (from 0): is infinite, allowed is a number or NaN"]


def _volumes(scan: Scan, clocks: dict[str, np.ndarray]) -> list[str]:
    """Numbers of volumes by traces and both clocks, and delays within a volume."""
    n_depths = depth_count(scan.fields.z_um)
    counts = {name: len(times[::n_depths]) for name, times in clocks.items()}
    if scan.traces is not None:
        counts["traces.npy"] = scan.traces.shape[1]
    problems = []
    reference = counts.get("frame_times_stim.npy")
    if reference is not None and any(abs(count - reference) > 1 for count in counts.values()):
        found = ", ".join(f"{count} in {name}" for name, count in counts.items())
        problems.append(f"volumes: {found} ({n_depths} depths in fields.csv); at most 1 may be missing")
    if counts and min(counts.values()) < 2:
        problems.append(f"volumes: found {min(counts.values())}, at least 2 are needed")
    stim = clocks.get("frame_times_stim.npy")
    if scan.units is not None and stim is not None and len(stim[::n_depths]) > 1:
        volume_ms = 1000 * float(np.median(np.diff(stim[::n_depths])))
        late = scan.units.ms_delay > volume_ms
        if late.any():
            problems.append(
                f"units.csv, column ms_delay, {show_rows(scan.units.index[late])}: "
                f"found {scan.units.ms_delay[late].iloc[0]:g}, allowed is 0 to {volume_ms:.1f} ms (one volume)"
            )
    return problems


def _flips(trials: pd.DataFrame | None, frame_times_s: np.ndarray | None) -> list[str]:
    if trials is None:
        return []
    problems = []
    blank_s, onset_s, end_s = (trials[name] for name in FLIPS)
    for early, late, names in (
        (blank_s, onset_s, FLIPS[:2]),
        (onset_s, end_s, FLIPS[1:]),
        (blank_s, end_s, FLIPS[::2]),
    ):
        wrong = late <= early  # a dropped flip (NaN) is never out of order
        if wrong.any():
            problems.append(
                f"trials.csv, columns {', '.join(names)}, {show_rows(trials.index[wrong])}: flips out of order, "
                f"found {early[wrong].iloc[0]:g} s and {late[wrong].iloc[0]:g} s"
            )
    if onset_s.isna().all() or blank_s.isna().all():
        problems.append(f"trials.csv, columns {FLIPS[0]}, {FLIPS[1]}: no trial has both flips")
    elif frame_times_s is not None:
        inside = (onset_s >= np.nanmin(frame_times_s)) & (onset_s <= np.nanmax(frame_times_s))
        if not inside.any():
            problems.append(
                f"trials.csv, column {FLIPS[1]}: no onset lies within the recording, "
                f"{np.nanmin(frame_times_s):g} to {np.nanmax(frame_times_s):g} s of frame_times_stim.npy"
            )
    return problems


def _behavior_times(file: str, table: pd.DataFrame | None, frame_times_s: np.ndarray | None) -> list[str]:
    if table is None:
        return []
    times = table.time_s.dropna()
    if len(times) < 2:
        return [f"{file}, column time_s: has {len(times)} times, at least 2 are needed"]
    problems = []
    back = times.diff() < 0
    if back.any():
        line = times.index[back][0]
        problems.append(
            f"{file}, column time_s, {show_rows(times.index[back])}: time is decreasing, found {times[line]:g} s "
            f"after {times.shift()[line]:g} s"
        )
    elif np.nanmedian(np.diff(table.time_s)) <= 0:
        problems.append(f"{file}, column time_s: most times are equal, they must increase")
    if frame_times_s is not None and not (
        times.min() < np.nanmax(frame_times_s) and times.max() > np.nanmin(frame_times_s)
    ):
        problems.append(
            f"{file}, column time_s: found {times.min():g} to {times.max():g} s, outside the recording, "
            f"{np.nanmin(frame_times_s):g} to {np.nanmax(frame_times_s):g} s of frame_times_behavior.npy"
        )
    return problems


def _responses(scan: Scan) -> list[str]:
    problems = []
    trials, responses = scan.trials, scan.responses
    if responses is not None:
        problems += _infinite("responses.npy", scan.survey)
        if scan.units is not None and responses.shape[1] != scan.units.attrs["n_rows"]:
            problems.append(
                f"responses.npy: holds {responses.shape[1]} units, but units.csv has {scan.units.attrs['n_rows']} rows"
            )
        if trials is not None:
            problems += _lengths("responses.npy", len(responses), "trials.csv", trials)
        n_missing = scan.survey.n_missing
        partly = np.flatnonzero((n_missing > 0) & (n_missing < responses.shape[1]))
        if len(partly):
            unit = int(np.flatnonzero(np.isnan(responses[partly[0]]))[0])
            problems.append(
                f"responses.npy, entry ({partly[0]}, {unit}) (from 0): found NaN in {n_missing[partly].sum()} entries; "
                "allowed is a trial that is NaN for every unit (it is dropped)"
            )
    if scan.behavior is not None and trials is not None:
        problems += _lengths("behavior.csv", scan.behavior.attrs["n_rows"], "trials.csv", trials)
    return problems


def _stacks(scan: Scan) -> list[str]:
    stacks = scan.stack_coordinates
    problems = _duplicates(stacks, "stack_coordinates.csv", ["stack", "unit_id"])
    if stacks is not None and scan.units is not None:
        unknown = ~stacks.unit_id.isin(scan.units.unit_id)
        if unknown.any():
            problems.append(
                f"stack_coordinates.csv, column unit_id, {show_rows(stacks.index[unknown])}: "
                f"unit {stacks.unit_id[unknown].iloc[0]} is not in units.csv"
            )
    return problems
