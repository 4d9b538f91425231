"""What is allowed in an export, but worth knowing before anything is computed from it."""

import datetime
import difflib
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from neurostatic.config import DataConfig, Preprocessing
from neurostatic.data.anatomy import layers_of
from neurostatic.data.behavior import map_clock
from neurostatic.data.calibration import MonitorCalibration, closest_calibration
from neurostatic.data.export_files import EXPORT_FILES
from neurostatic.data.frames import picture_hashes
from neurostatic.data.registration import AFFINE_COLUMNS, affine_of
from neurostatic.data.reliability import MIN_ORACLE_REPEATS
from neurostatic.data.responses import depth_count, presentation_duration, sampling_period
from neurostatic.data.scans import contract
from neurostatic.data.scans.contract import FLIPS, Scan
from neurostatic.data.scans.reading import INFO_NUMBERS
from neurostatic.data.scans.tables import one_line
from neurostatic.problems import InputError

PUBLISHED = Preprocessing()
DEFAULT_LAYER = DataConfig().layer
MOST_UNTRACKED = 0.2  # of the samples of the eye camera
MOST_TREADMILL_NAN = 0.01
MOST_STRETCH = 1.5  # of a field in a stack, along an axis: tissue and optics change lengths by a tenth or so
WHOLE_NUMBER = 1e-6  # closer than this, the clock's jitter decides on which side of a whole number D/d lies
SHOWN_TOLERANCE_S = 0.05
SHOWN_NAMES = 3
TABLES = {  # a file's columns in either form
    "units.csv": contract.UNITS,
    "fields.csv": contract.FIELDS,
    "trials.csv": contract.TRIALS_TRACES,
    "images.csv": contract.IMAGES,
    "eye.csv": contract.EYE,
    "treadmill.csv": contract.TREADMILL,
    "behavior.csv": contract.BEHAVIOR,
    "stack_coordinates.csv": contract.STACK_COORDINATES,
    "field_registrations.csv": contract.FIELD_REGISTRATIONS,
    "structure_matches.csv": contract.STRUCTURE_MATCHES,
    "monitor_calibration.csv": contract.MONITOR_CALIBRATION,
}
INFO_KEYS = (*INFO_NUMBERS, "stim_type", "mei_source", "rig", "timestamp")


def find_remarks(scan: Scan) -> list[str]:
    """What a user should know of an export that has no problem: file, what was found, what it means."""
    shown = scan.trials[~scan.trials.excluded]
    n_trials = shown.groupby(["image_class", "image_id"]).size().to_numpy()
    remarks = [
        *_names(scan),
        *_missing_files(scan),
        *_monitor(scan),
        *_layers(scan),
        *_registrations(scan),
        *_timestamp(scan),
        *repeat_remarks(n_trials, "trials.csv, columns image_class, image_id"),
        *_pictures(scan),
        *_upright(scan),
    ]
    if scan.eye is not None and scan.treadmill is not None:  # the traces form
        remarks += [*_presentation(scan), *_filter_length(scan), *_behavior_gaps(scan.eye, scan.treadmill)]
        remarks += _behavior_span(scan, scan.eye, scan.treadmill)
    return remarks + _silent(scan)


def repeat_remarks(n_trials: np.ndarray, where: str) -> list[str]:
    """Remarks on repeats that the oracle cannot use.

    Args:
        n_trials: (image,) trials of each image.
        where: file and columns.
    """
    repeated = n_trials[n_trials > 1]
    few = repeated[repeated < MIN_ORACLE_REPEATS]
    if not len(repeated):
        return [f"{where}: no image is repeated; there will be no oracle, and no unit can be selected"]
    if len(few) == len(repeated):
        return [
            f"{where}: none of the {len(repeated)} repeated images has {MIN_ORACLE_REPEATS} trials (most: "
            f"{repeated.max()}), which the oracle needs; no unit can be selected"
        ]
    if len(few):
        return [
            f"{where}: {len(few)} of {len(repeated)} repeated images have fewer than {MIN_ORACLE_REPEATS} trials "
            f"(fewest: {few.min()}); the oracle leaves them out"
        ]
    return []


def _names(scan: Scan) -> list[str]:
    """Files, columns and keys that nobody reads: perhaps a misspelt name."""
    files = sorted(path.name for path in scan.folder.iterdir() if not path.name.startswith("."))
    remarks = _unread("", "file", files, EXPORT_FILES)
    for name, columns in TABLES.items():
        if name in files:
            options = {"nrows": 0, "index_col": False, "skipinitialspace": True, "encoding": "utf-8-sig"}
            header = pd.read_csv(scan.folder / name, **options).columns
            remarks += _unread(f"{name}, ", "column", [column.strip() for column in header], columns)
    keys = [str(key) for key, value in scan.info.items() if value is not None]  # the reader adds what is not there
    return remarks + _unread("scan.yaml, ", "key", keys, INFO_KEYS)


def _unread(where: str, kind: str, found: Sequence[str], known: Collection[str]) -> list[str]:
    """A line for each unknown name that resembles a known one which is not there, one line for all others."""
    absent = [name for name in known if name not in found]
    remarks, others = [], []
    for name in found:
        if name in known:
            continue
        close = difflib.get_close_matches(name.lower(), absent, 1, cutoff=0.75)
        if close:
            remarks.append(f"{where}{kind} '{name}': is not read; did you mean '{close[0]}'?")
        else:
            others.append(f"'{name}'")
    if others:
        kinds = f"{kind}s" if len(others) > 1 else kind
        remarks.append(f"{where}{kinds} {_shown(others)}: not part of an export, not read")
    return remarks


def _missing_files(scan: Scan) -> list[str]:
    remarks = []
    if scan.stack_coordinates is None and scan.structure_matches is None:
        remarks.append(
            "stack_coordinates.csv: is not there, nor is field_registrations.csv or structure_matches.csv; this scan "
            "cannot be part of a closed loop"
        )
    elif scan.stack_coordinates is None:
        remarks.append(
            "stack_coordinates.csv: is not there, nor is field_registrations.csv; cells of this scan can be matched by "
            "structure only (matching.method)"
        )
    if scan.monitor_calibration is None and scan.info["stim_type"] == "imagenet":
        remarks.append("monitor_calibration.csv: is not there; no stimuli can be made from this scan")
    return remarks


def _monitor(scan: Scan) -> list[str]:
    """Is the measurement nearest to the scan one by which stimuli can be made? Others may be as they are."""
    if scan.monitor_calibration is None or scan.info["stim_type"] != "imagenet":
        return []
    try:
        _, _, rows = closest_calibration(scan.monitor_calibration, scan.info["timestamp"], scan.info["rig"])
        MonitorCalibration.from_table(rows)
    except InputError as error:
        return [f"monitor_calibration.csv: no stimuli can be made from this scan: {one_line(error)}"]
    return []


def _layers(scan: Scan) -> list[str]:
    layers = layers_of(scan.units[scan.units.mask_type == contract.SOMA], scan.fields)
    if (layers == DEFAULT_LAYER).any():
        return []
    how = "column layer" if "layer" in scan.units else "by the depth of its field, which counts downward"
    return [
        f"units.csv: no soma lies in {DEFAULT_LAYER} ({how}; there are {', '.join(sorted(set(layers)))}), of which "
        "models are fitted unless data_config.layer says otherwise"
    ]


def _registrations(scan: Scan) -> list[str]:
    """Registrations that leave units out, or are not of the unit of length they should be."""
    if scan.field_registrations is None or scan.stack_coordinates is None:
        return []
    remarks = []
    absent = scan.units.field[~scan.units.field.isin(scan.field_registrations.field)]
    for field, n_units in absent.value_counts().sort_index().items():
        remarks.append(
            f"field_registrations.csv: field {field} is registered to no stack; none of its units ({n_units}) can be "
            "matched by position"
        )
    unplaced = scan.stack_coordinates[scan.stack_coordinates.x_um.isna()].unit_id.drop_duplicates()
    if len(unplaced):
        count = "1 unit lies" if len(unplaced) == 1 else f"{len(unplaced)} units lie"
        remarks.append(
            f"units.csv, columns px_x, px_y: {count} beyond the center of the outermost pixel of a field (unit_id "
            f"{_shown([str(unit_id) for unit_id in unplaced])}), without a position in any stack"
        )
    for registration in scan.field_registrations.to_dict("records"):
        affine = affine_of(registration)
        scale = float(np.sqrt(max(0.0, np.linalg.det(affine.T @ affine)))) ** 0.5
        if not 1 / MOST_STRETCH <= scale <= MOST_STRETCH:
            remarks.append(
                f"field_registrations.csv, columns {', '.join(AFFINE_COLUMNS)}: field {registration['field']} is "
                f"{scale:.3g} times as large in stack {registration['stack']} as in fields.csv; are they um per um?"
            )
    return remarks


def _timestamp(scan: Scan) -> list[str]:
    try:
        datetime.date.fromisoformat(scan.info["timestamp"])
    except ValueError:  # more than a date
        return []
    return [
        f"scan.yaml, key timestamp: {scan.info['timestamp']} has no time, midnight is taken; the monitor calibration "
        "nearest in time may be another one"
    ]


def _upright(scan: Scan) -> list[str]:
    height, width = scan.images.shape[1:3]
    if height <= width:
        return []
    return [f"images.npy: images are {height} px high and {width} wide; are y and x exchanged? It is (image, y, x)"]


def _pictures(scan: Scan) -> list[str]:
    table = scan.image_table.assign(picture=picture_hashes(scan.images))
    several = table[table.duplicated("picture", keep=False)]
    if several.empty:
        return []
    names = several[several.picture == several.picture.iloc[0]].head(2)
    first, second = (f"({row.image_class}, {row.image_id})" for row in names.itertuples())
    n_pictures = several.picture.nunique()
    return [
        f"images.npy: {'1 picture is' if n_pictures == 1 else f'{n_pictures} pictures are'} there under several names, "
        f"such as {first} and {second}; their tier is the same, their repeats are not pooled"
    ]


def _presentation(scan: Scan) -> list[str]:
    shown_s = presentation_duration(scan.flips_s(), ~scan.trials.excluded.to_numpy())
    where = f"trials.csv, columns {', '.join(FLIPS[1:])}"
    if not abs(shown_s - PUBLISHED.duration_s) > SHOWN_TOLERANCE_S:
        return []
    return [
        f"{where}: images were shown for {shown_s:.3f} s (median), the published response window is "
        f"{PUBLISHED.duration_s:g} s; set preprocessing.duration_s if the window should be as long"
    ]


def _volume_times(scan: Scan) -> tuple[np.ndarray, np.ndarray]:
    """Start of each volume on the stimulus and on the behavior clock, in s."""
    n_depths = depth_count(scan.fields.z_um)
    clocks = (scan.frame_times_stim, scan.frame_times_behavior)
    stim, behavior = (np.asarray(times, dtype=float)[::n_depths] for times in clocks)
    return stim, behavior


def _filter_length(scan: Scan) -> list[str]:
    """Only of the volumes: a window has many samples of eye and treadmill, one of which matters little."""
    period_s = sampling_period(_volume_times(scan)[0])
    ratio = PUBLISHED.duration_s / period_s
    whole = round(ratio)
    if whole < 1 or abs(ratio - whole) > WHOLE_NUMBER:
        return []
    return [
        f"frame_times_stim.npy: the response window of {PUBLISHED.duration_s:g} s is {whole} volumes of {period_s:g} s "
        f"almost exactly; jitter of the clock decides whether the filter has {2 * whole - 1} or {2 * whole + 1} samples"
    ]


def _behavior_gaps(eye: pd.DataFrame, treadmill: pd.DataFrame) -> list[str]:
    remarks = []
    tracked = eye[["radius_px", "center_x_px", "center_y_px"]]
    for file, columns, most in (
        ("eye.csv", tracked, MOST_UNTRACKED),
        ("treadmill.csv", treadmill[["velocity_cm_s"]], MOST_TREADMILL_NAN),
    ):
        share = float(columns.isna().any(axis=1).mean())
        if share > most:
            names = f"column{'s' if columns.shape[1] > 1 else ''} {', '.join(columns)}"
            remarks.append(f"{file}, {names}: {share:.1%} of the samples are NaN; trials close to them are dropped")
    return remarks


def _behavior_span(scan: Scan, eye: pd.DataFrame, treadmill: pd.DataFrame) -> list[str]:
    """Eye and treadmill recorded for a part of the trials only."""
    onset_s = scan.trials.flip_onset_s[~scan.trials.excluded].to_numpy()
    onset_s = map_clock(*_volume_times(scan), onset_s)  # NaN where the scan itself has not recorded
    remarks = []
    for file, table in (("eye.csv", eye), ("treadmill.csv", treadmill)):
        start_s, stop_s = table.time_s.min(), table.time_s.max()
        for outside, found in (
            (onset_s < start_s, f"starts at {start_s:.1f} s, after the first recorded trial"),
            (onset_s > stop_s, f"stops at {stop_s:.1f} s, before the last recorded trial"),
        ):
            if outside.any():
                n = f"{outside.sum()} trial{'s' if outside.sum() > 1 else ''}"
                remarks.append(f"{file}, column time_s: {found} (behavior clock); at least {n} will be dropped")
    return remarks


def _silent(scan: Scan) -> list[str]:
    ids = [str(unit_id) for unit_id in scan.units.unit_id[scan.survey.silent]]
    if not ids:
        return []
    file = "traces.npy" if scan.form == "traces" else "responses.npy"
    count = "1 unit is" if len(ids) == 1 else f"{len(ids)} units are"
    return [f"{file}: {count} silent, constant or all NaN (unit_id {_shown(ids)}); nothing can be learned of them"]


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
