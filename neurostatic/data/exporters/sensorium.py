"""The door out: a data set as a file tree of the public Sensorium 2022 layout, which other people's tools read."""

import json
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xarray as xr

from neurostatic.data.exporters.statistics import column_statistics, pixel_statistics
from neurostatic.data.exporters.tree import Put, npy, written_tree
from neurostatic.problems import InputError, report_problems
from neurostatic.store import BLOCK_BYTES, plain_column, row_blocks

LAYOUT = {
    "images": ("image", "y", "x"),
    "responses": ("trial", "unit"),
    "behavior": ("trial", "behavior_channel"),
    "pupil_center": ("trial", "eye_axis"),
}
TRIAL_META = {
    "tiers": "tier",
    "trial_idx": "trial_idx",
    "frame_image_id": "image_id",
    "frame_image_class": "image_class",
    "condition_hash": "condition_hash",
}
UNIT_META = {"unit_ids": "unit_id", "area": "brain_area", "layer": "layer"}
PLACES = ("um_x", "um_y", "um_z")
SCAN_META = {"animal_id": "animal_ids", "session": "sessions", "scan_idx": "scan_idx"}  # of trials, of neurons
# All trials are of one type, so both are equal. The dot of the type is an underscore in the public trees.
STATISTICS = ("all", "stimulus_Frame")
FRAME = "stimulus.Frame"
NORM_TIER = "train"
PIXELS = (0.0, 255.0)


def write_sensorium(dataset: xr.Dataset, path: str | Path, block_bytes: int = BLOCK_BYTES) -> None:
    """Write a data set as a public Sensorium 2022 tree (Willeke et al., arXiv:2206.08666): whole, or not at all.

    The i-th trial is data/{images,responses,behavior,pupil_center}/{i}.npy of shapes (1, y, x) px, (unit,), (3,)
    pupil size, its derivative, running, and (2,) px, float32. Beside them are meta/trials, meta/neurons,
    meta/statistics (of the trials of tier train, each presentation counted; std with ddof 1) and config.json, which
    keeps the attributes. `read_sensorium` reads it again, and takes the scan from a name such as
    static{animal_id}-{session}-{scan_idx}; so does the FileTreeDataset of neuralpredictors, from the files.

    Args:
        dataset: as from `build_dataset` or `read_sensorium`, gray images, stimulus.Frame only. `images` and
            `responses` may be larger than memory: they are read in blocks, in order of their rows.
        path: a folder, or a zip file if it ends in .zip (the tree is then below the file's name in it); must not
            exist.
        block_bytes: of a block. Responses of the train tier are kept in a nameless file beside `path` until their
            medians are known.

    Raises InputError for an existing path and for a data set that the layout cannot hold.
    """
    path = Path(path)
    where = f"Sensorium tree {path}"
    if os.path.lexists(path):
        raise InputError(f"{path}: exists already; delete it or choose another name")
    _check(dataset, where)
    train = dataset.tier.values == NORM_TIER
    with written_tree(path) as put:
        _put_meta(put, dataset)
        _put_images(put, dataset.images, dataset.image_index.values, where, block_bytes)
        repeats = np.bincount(dataset.image_index.values[train], minlength=dataset.sizes["image"])
        statistics = {"images": pixel_statistics(dataset.images, repeats, block_bytes)}
        for name in ("responses", "behavior", "pupil_center"):
            with tempfile.TemporaryFile(dir=path.parent) as spool:
                heights = _put_signal(put, dataset[name], train, spool, where, block_bytes)
                statistics[name] = column_statistics(spool, heights, dataset[name].shape[1], block_bytes)
        for name, values in statistics.items():
            for folder in STATISTICS:
                for statistic, value in values.items():
                    put(f"meta/statistics/{name}/{folder}/{statistic}.npy", npy(value.astype(np.float32)))


def _check(dataset: xr.Dataset, where: str) -> None:
    problems = [f"{name} is missing" for name in LAYOUT if name not in dataset.data_vars]
    problems += [
        f"{name} has dimensions {dataset[name].dims}, needed are {dims}"
        for name, dims in LAYOUT.items()
        if name in dataset.data_vars and dataset[name].dims != dims
    ]
    coordinates = (*TRIAL_META.values(), "image_index", *UNIT_META.values(), *PLACES)
    problems += [f"coordinate {name} is missing" for name in coordinates if name not in dataset.coords]
    report_problems(where, problems)
    for name, length in (("behavior_channel", 3), ("eye_axis", 2)):
        if dataset.sizes[name] != length:
            problems.append(f"{name} has length {dataset.sizes[name]}, needed is {length}")
    n_train = int((dataset.tier.values == NORM_TIER).sum())
    if n_train < 2:
        problems.append(f"{n_train} trials of tier {NORM_TIER}, at least 2 are needed for the statistics")
    if "stimulus_type" in dataset.coords:
        others = sorted(set(dataset.stimulus_type.values) - {FRAME})
        problems += [f"holds trials of {name}, the layout knows {FRAME} only; leave them out" for name in others]
    if dataset.images.attrs.get("units", "px") != "px":
        problems.append(f"images are in {dataset.images.attrs['units']}, needed is px")
    if not np.isfinite([dataset[name].values for name in PLACES]).all():
        problems.append(f"{', '.join(PLACES)} hold NaN or infinite values")
    report_problems(where, problems)


def _checked(values: np.ndarray, name: str, where: str, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """The values as float32; other tools would not look for NaN."""
    if not np.isfinite(values).all():
        raise InputError(f"{where}: {name} hold NaN or infinite values")
    if not ((values >= low) & (values <= high)).all():
        raise InputError(f"{where}: {name} hold values outside {low:g} to {high:g}")
    return np.ascontiguousarray(values, dtype=np.float32)


def _put_meta(put: Put, dataset: xr.Dataset) -> None:
    meta = {f"trials/{name}": plain_column(dataset[source]) for name, source in TRIAL_META.items()}
    meta |= {f"neurons/{name}": plain_column(dataset[source]) for name, source in UNIT_META.items()}
    meta["neurons/cell_motor_coordinates"] = np.column_stack([dataset[name].values for name in PLACES])
    for name, plural in SCAN_META.items():
        if name in dataset.attrs:
            meta[f"trials/{name}"] = np.full(dataset.sizes["trial"], dataset.attrs[name])
            meta[f"neurons/{plural}"] = np.full(dataset.sizes["unit"], dataset.attrs[name])
    for name, values in meta.items():
        put(f"meta/{name}.npy", npy(values))
    # The public loader would add the file with its links, and so change the tree, if it were not there.
    config = {"links": {}, "attributes": dataset.attrs}
    put("config.json", json.dumps(config, indent=1, default=lambda value: value.tolist()).encode())


def _put_images(put: Put, images: xr.DataArray, image_index: np.ndarray, where: str, block_bytes: int) -> None:
    n_trials = max(1, block_bytes // images[0].nbytes)
    for start in range(0, len(image_index), n_trials):
        shown, places = np.unique(image_index[start : start + n_trials], return_inverse=True)
        pixels = _checked(images[shown].values, "images", where, *PIXELS)
        for trial, place in enumerate(places, start):
            put(f"data/images/{trial}.npy", npy(pixels[place][None]))


def _put_signal(
    put: Put, signal: xr.DataArray, train: np.ndarray, spool: BinaryIO, where: str, block_bytes: int
) -> list[int]:
    """One file a trial; the trials of `train` also into `spool`.

    Returns:
        how many trials went into `spool` with each block: as (column, trial) float32, so that some columns of all
        trials are a few long reads.
    """
    heights = []
    for rows in row_blocks(signal, block_bytes):
        values = _checked(signal[rows].values, str(signal.name), where)
        for trial, row in enumerate(values, rows.start):
            put(f"data/{signal.name}/{trial}.npy", npy(row))
        kept = values[train[rows]]
        spool.write(np.ascontiguousarray(kept.T).data)
        heights.append(len(kept))
    return heights
