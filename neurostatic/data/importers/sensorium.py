"""The second door: the file tree of the public Sensorium 2022 recordings, a folder or a zip file."""

import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.config import Preprocessing
from neurostatic.data.datasets import PUBLISHED, Signals, assemble, valid_trials
from neurostatic.data.frames import area_resize, picture_hashes
from neurostatic.data.importers.tree import Faults, Files, load, open_tree, tree_checksum
from neurostatic.data.scans.remarks import repeat_remarks
from neurostatic.data.scans.survey import LARGEST
from neurostatic.data.scans.tables import LARGEST_INT, one_line
from neurostatic.data.tiers import leaking_trials
from neurostatic.problems import InputError, report_problems
from neurostatic.store import checksum

ROOT_MARK = "meta/trials/tiers.npy"
ANY_SIZE = replace(PUBLISHED, height_px=1, width_px=1)  # to count only
TREE_REMARKS = (
    "meta: a tree has no stack coordinates and no monitor calibration; no stimuli and no closed loop from this scan",
    "meta/neurons: a tree has no places of units in their fields; units at the edge of a field cannot be left out",
)
TIERS = ("train", "validation", "test", "test_mei", "final_test")
TRIAL_META = {"tiers": "U", "trial_idx": "iufU", "frame_image_id": "iufU", "frame_image_class": "U"}
UNIT_META = {"unit_ids": "iuf", "area": "U", "layer": "U", "cell_motor_coordinates": "iuf"}


def is_sensorium(path: str | Path) -> bool:
    """Is this a zip file, or a folder with the Sensorium tree in it or one level below?"""
    path = Path(path)
    if path.is_dir():
        return any(path.glob(ROOT_MARK)) or any(path.glob(f"*/{ROOT_MARK}"))
    return path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path))


def read_sensorium(path: str | Path, options: Preprocessing = PUBLISHED) -> xr.Dataset:
    """Read a Sensorium 2022 tree as a data set of the same layout as `build_dataset`.

    Read are data/{images,responses,behavior,pupil_center}/{i}.npy, meta/trials/{tiers,trial_idx,frame_image_id,
    frame_image_class}.npy, condition_hash.npy if it is there, and meta/neurons/{unit_ids,area,layer,
    cell_motor_coordinates}.npy. A zip file is not unpacked, and responses are read when they are asked for. Tiers are
    as in the tree; a picture of a higher tier (train < validation < test) is dropped from the lower ones and counted.
    In the trees of the competition trial_idx is a hash, in whose place the number of the file stands, and the responses
    of the test tiers are withheld (all zero): such trials are dropped and counted.
    Positions in the field are not part of the tree: field is 0 and px_*, um_height and um_width are NaN.

    Args:
        options: of which the size and rounding of images and the dtype of responses have a meaning here.

    Raises InputError that lists every problem.
    """
    where = f"Sensorium tree {path}"
    problems: list[str] = []
    if options.luminance:
        problems.append("preprocessing.luminance needs a monitor calibration, which such a tree does not have")
    with open_tree(Path(path), ROOT_MARK) as files:
        trials = _read_trials(files, problems)
        units = _read_units(files, problems)
        if trials.empty or units.empty:
            report_problems(where, problems)
        order = np.argsort(trials.trial_idx.to_numpy(), kind="stable")
        unit_order = np.argsort(units.unit_id.to_numpy(), kind="stable")
        signals = _read_signals(Path(path), files, order, unit_order, problems)
        images, image_table = _read_images(files, trials, options, problems)
    report_problems(where, problems)

    trials, units = trials.iloc[order].reset_index(drop=True), units.iloc[unit_order]
    withheld = signals.attributes.pop("withheld")
    withheld &= ~np.isin(trials.tier, trials.tier[~withheld])  # silent trials of a tier with responses are data
    leaking = leaking_trials(trials.tier.to_numpy(), image_table.picture.to_numpy()[trials.image_index.to_numpy()])
    kept, dropped = valid_trials(signals, leaking | withheld, where)
    dropped["dropped_leaking"] = dropped.pop("dropped_excluded") - int(withheld.sum())
    dropped["dropped_withheld"] = int(withheld.sum())
    trials = trials.iloc[kept].reset_index(drop=True)
    shown, trials["image_index"] = np.unique(trials.image_index, return_inverse=True)
    attributes = _scan_key(Path(path)) | {"stim_type": "imagenet", "dropped_excluded": 0} | dropped
    attributes |= {name: getattr(options, name) for name in ("height_px", "width_px", "response_dtype")}
    attributes["round_px"] = int(options.round_px)
    return assemble(
        trials, units, image_table.iloc[shown], images[shown], signals, kept, attributes, options.response_dtype
    )


def sensorium_verdict(path: str | Path) -> dict[str, Any]:
    """Counts of a Sensorium tree and its checksum, of the zip file or over every file of the folder."""
    path = Path(path)
    dataset = read_sensorium(path, ANY_SIZE)
    repeats = np.bincount(dataset.image_index.values)
    tiers, per_tier = np.unique(dataset.tier.values, return_counts=True)
    return {
        "scan": path.name,
        "form": "sensorium",
        "info": _scan_key(path),
        "counts": {
            "trials": dataset.sizes["trial"],
            **{f"trials_{tier}": int(count) for tier, count in zip(tiers, per_tier, strict=True)},
            **{name: count for name, count in dataset.attrs.items() if name.startswith("dropped_")},
            "units": dataset.sizes["unit"],
            "images": dataset.sizes["image"],
            "images_repeated": int((repeats > 1).sum()),
            "most_repeats": int(repeats.max()),
        },
        "checks_passed": ["every file of the tree is there, with the shape and type it should have"],
        "files": {path.name: tree_checksum(path) if path.is_dir() else checksum(path)},
        "remarks": tree_remarks(dataset),
    }


def tree_remarks(dataset: xr.Dataset) -> list[str]:
    """What is allowed in a tree and will be missed, a line each, of the data set that was read from it."""
    held_out = ~np.isin(dataset.tier.values, ("train", "validation"))
    n_trials = np.bincount(dataset.image_index.values[held_out])
    return [*repeat_remarks(n_trials, "meta/trials/tiers.npy, test images"), *TREE_REMARKS]


def _read_meta(files: Files, folder: str, kinds: dict[str, str], problems: list[str]) -> dict[str, np.ndarray] | None:
    """The arrays of meta/{folder}, of one length; None if one is missing or not as it should be."""
    arrays = {}
    for name, kind in kinds.items():
        where = f"meta/{folder}/{name}.npy"
        try:
            array = load(files, where)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        wide = name == "cell_motor_coordinates"
        if array.ndim != 1 + wide or not array.size or (wide and array.shape[1] != 3):
            problems.append(f"{where}: shape is {array.shape}, needed is {'(unit, 3)' if wide else '(n,)'}")
        elif array.dtype.kind not in kind:
            problems.append(f"{where}: dtype is {array.dtype}, allowed is {'text' if kind == 'U' else 'a number'}")
        elif wide and not np.isfinite(array).all():
            problems.append(f"{where}: holds NaN or infinite values")
        elif not wide and array.dtype.kind != "U" and not _are_whole(array).all():
            problems.append(f"{where}: found {array[~_are_whole(array)][0]}, allowed are whole numbers")
        else:
            arrays[name] = array if wide or array.dtype.kind == "U" else array.astype(np.int64)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        problems.append(f"meta/{folder}: lengths differ: {lengths}")
        return None
    return arrays if len(arrays) == len(kinds) else None


def _are_whole(array: np.ndarray) -> np.ndarray:
    """(n,) bool: whole numbers, small enough for a float to hold each of them."""
    largest = np.float64(LARGEST_INT)  # of half floats too, which do not hold it
    return (array >= -largest) & (array <= largest) & (np.trunc(array) == array)


def _read_trials(files: Files, problems: list[str]) -> pd.DataFrame:
    """Empty if it cannot be read."""
    kinds = dict(TRIAL_META)
    if "meta/trials/condition_hash.npy" in files:
        kinds["condition_hash"] = "U"
    meta = _read_meta(files, "trials", kinds, problems)
    if meta is None:
        return pd.DataFrame()
    is_hash = meta["trial_idx"].dtype.kind == "U"
    trials = pd.DataFrame(
        {
            "trial_idx": np.arange(len(meta["tiers"])) if is_hash else meta["trial_idx"],
            "tier": meta["tiers"],
            "image_class": meta["frame_image_class"],
            "image_id": meta["frame_image_id"],
            "stimulus_type": "stimulus.Frame",
        }
    )
    identity = [f"{a}-{b}" for a, b in zip(trials.image_class, trials.image_id, strict=True)]
    trials["condition_hash"] = meta.get("condition_hash", identity)
    unknown = sorted(set(trials.tier) - set(TIERS))
    if unknown:
        problems.append(f"meta/trials/tiers.npy: found {', '.join(unknown)}, allowed are {', '.join(TIERS)}")
    if trials.trial_idx.duplicated().any():
        problems.append(
            f"meta/trials/trial_idx.npy: {trials.trial_idx[trials.trial_idx.duplicated()].iloc[0]} is there twice"
        )
    return trials


def _read_units(files: Files, problems: list[str]) -> pd.DataFrame:
    """Empty if it cannot be read."""
    meta = _read_meta(files, "neurons", UNIT_META, problems)
    if meta is None:
        return pd.DataFrame()
    units = pd.DataFrame({"unit_id": meta["unit_ids"], "brain_area": meta["area"], "layer": meta["layer"], "field": 0})
    units[["um_x", "um_y", "um_z"]] = meta["cell_motor_coordinates"]
    units[["px_x", "px_y", "px_height", "px_width", "um_height", "um_width"]] = np.nan
    if units.unit_id.duplicated().any():
        problems.append(
            f"meta/neurons/unit_ids.npy: {units.unit_id[units.unit_id.duplicated()].iloc[0]} is there twice"
        )
    return units


def _read_signals(path: Path, files: Files, order: np.ndarray, unit_order: np.ndarray, problems: list[str]) -> Signals:
    """Check the files of every trial; behavior and pupil center are kept, responses are read again when needed.

    Args:
        order, unit_order: number of the file of each trial, and column of each unit, in the order that is wanted.
    """
    n_trials, n_units = len(order), len(unit_order)
    lengths = {"responses": n_units, "behavior": 3, "pupil_center": 2}
    tables = {name: np.full((n_trials, length), np.nan) for name, length in lengths.items() if name != "responses"}
    has_responses, withheld = np.zeros((2, n_trials), dtype=bool)
    low, high = np.full(n_units, np.nan), np.full(n_units, np.nan)
    faults = Faults()
    for name, length in lengths.items():
        for file in _surplus(files, name, n_trials):
            faults.add(name, file, f"belongs to none of the {n_trials} trials of meta/trials")
        for trial in range(n_trials):
            file = f"{trial}.npy"
            try:
                values = load(files, f"data/{name}/{file}")
            except ValueError as error:
                faults.add(name, file, str(error))
                continue
            if values.shape != (length,) or values.dtype.kind not in "iuf":
                faults.add(name, file, f"has shape {values.shape} and dtype {values.dtype}, "
                           f"needed are {length} numbers")  # fmt: skip
            elif (np.abs(values) > LARGEST).any():
                faults.add(name, file, f"has an infinite value or one beyond {LARGEST:g}")
            elif name == "responses":
                has_responses[trial], withheld[trial] = not np.isnan(values).any(), not values.any()
                low, high = np.fmin(low, values), np.fmax(high, values)
            else:
                tables[name][trial] = values
    problems += faults.lines()

    def read_responses(trials: np.ndarray) -> np.ndarray:
        try:
            with open_tree(path, ROOT_MARK) as again:
                rows = [load(again, f"data/responses/{order[trial]}.npy")[unit_order] for trial in trials]
            return np.array(rows, dtype=np.float32).reshape(len(trials), n_units)
        except (ValueError, IndexError) as error:
            raise InputError(f"Sensorium tree {path}: changed while it was read ({one_line(error)})") from error

    return Signals(
        read_responses,
        has_responses[order],
        ~(high > low)[unit_order],
        tables["behavior"][order],
        tables["pupil_center"][order],
        {"withheld": withheld[order]},
    )


def _read_images(
    files: Files, trials: pd.DataFrame, options: Preprocessing, problems: list[str]
) -> tuple[np.ndarray, pd.DataFrame]:
    """Each image once, at the resolution of the models; sets trials['image_index']."""
    faults = Faults()
    for file in _surplus(files, "images", len(trials)):
        faults.add("images", file, f"belongs to none of the {len(trials)} trials of meta/trials")
    index: dict[tuple[str, int], int] = {}
    images: list[np.ndarray] = []
    hashes: list[str] = []
    image_index = np.zeros(len(trials), dtype=np.int64)
    for trial, identity in enumerate(zip(trials.image_class, trials.image_id, strict=True)):
        file = f"{trial}.npy"
        try:
            image = load(files, f"data/images/{file}")
        except ValueError as error:
            faults.add("images", file, str(error))
            continue
        image = image[0] if image.ndim == 3 and len(image) == 1 else image
        if image.ndim != 2 or image.dtype.kind not in "iuf":
            faults.add("images", file, f"has shape {image.shape} and dtype {image.dtype}, "
                       "needed are numbers (y, x) or (1, y, x)")  # fmt: skip
            continue
        if not (image.min(initial=0) >= 0 and image.max(initial=0) <= 255):
            faults.add("images", file, "has pixels that are NaN or outside 0 to 255")
            continue
        (digest,) = picture_hashes(image[None])
        image_index[trial] = index.setdefault(identity, len(index))
        if image_index[trial] < len(images):
            if digest != hashes[image_index[trial]]:
                faults.add("images", file, "differs from another image of its class and id")
            continue
        hashes.append(digest)
        try:
            images.append(area_resize(image[None], options.height_px, options.width_px, rounded=options.round_px)[0])
        except InputError as error:
            faults.add("images", file, f"is too small: {error}")
            images.append(np.zeros((options.height_px, options.width_px), np.float32))
    problems += faults.lines()
    trials["image_index"] = image_index
    table = pd.DataFrame(list(index), columns=["image_class", "image_id"]).assign(picture=hashes)
    return np.array(images, dtype=np.float32), table


def _surplus(files: Files, folder: str, n_trials: int) -> list[str]:
    """Files of trials that meta/trials does not have: its rows may be those of other files."""
    names = [name.removeprefix(f"data/{folder}/") for name in files if name.startswith(f"data/{folder}/")]
    return [name for name in names if name.removesuffix(".npy").isdecimal() and int(name[:-4]) >= n_trials]


def _scan_key(path: Path) -> dict[str, int]:
    """animal_id, session and scan_idx from a name such as static21067-10-18-...; nothing from another name."""
    match = re.match(r"(?:static)?(\d+)-(\d+)-(\d+)", path.name)
    return dict(zip(("animal_id", "session", "scan_idx"), map(int, match.groups()), strict=True)) if match else {}
