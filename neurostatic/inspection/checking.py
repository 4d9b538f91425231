"""What a scan holds, and what a data set built from it would be, before anything is built."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.data.datasets import PUBLISHED, build_dataset
from neurostatic.data.export_files import EXPORT_FILES
from neurostatic.data.importers import is_sensorium, read_sensorium
from neurostatic.data.importers.sensorium import tree_remarks
from neurostatic.data.scans import Scan, read_scan, scan_counts
from neurostatic.data.scans.remarks import find_remarks
from neurostatic.inspection.layout import bullets, columns, named, plural
from neurostatic.problems import InputError


def check(path: str | Path) -> str:
    """Check a raw scan export (folder) or a Sensorium tree (folder or zip file).

    Returns:
        Text: what it holds, the data set that the published preprocessing would make of it, and remarks.

    Raises InputError that lists every problem.
    """
    path = Path(path)
    _refuse_others(path)
    if is_sensorium(path):
        dataset = read_sensorium(path)
        lines, remarks = _tree_lines(dataset), tree_remarks(dataset)
    else:
        scan = read_scan(path)
        dataset = build_dataset(scan)
        lines, remarks = _scan_lines(scan), find_remarks(scan)
    parts = [[f"{path}: no problems, {plural(len(remarks), 'remark')}", *lines], _dataset_lines(dataset)]
    if remarks:
        parts.append(["remarks", *bullets(remarks)])
    return "\n\n".join("\n".join(part) for part in parts)


def count(path: str | Path) -> str:
    """The counts of a scan, without the data set.

    Raises InputError for a path that is no scan, and with every problem of a scan.
    """
    path = Path(path)
    _refuse_others(path)
    lines = _tree_lines(read_sensorium(path)) if is_sensorium(path) else _scan_lines(read_scan(path))
    return "\n".join([str(path), *lines])


def _refuse_others(path: Path) -> None:
    """A clear message for a path that is no scan at all, and for a folder of several."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if is_sensorium(path):
        if path.name.endswith(".zarr.zip"):
            raise InputError(f"{path}: is a result, not a scan; `neurostatic describe` shows what it holds")
        return
    if not path.is_dir():
        raise InputError(f"{path}: is neither the folder of a scan nor a zip file with a Sensorium tree")
    if any((path / name).exists() for name in EXPORT_FILES):
        return
    scans = sorted(str(child) for child in path.iterdir() if (child / "scan.yaml").is_file())
    hint = f"; it holds scans, name these: {' '.join(scans)}" if scans else ""
    raise InputError(
        f"{path}: holds no file of a raw scan export ({', '.join(EXPORT_FILES[:3])}, ...) and no Sensorium tree{hint}"
    )


def _scan_lines(scan: Scan) -> list[str]:
    counts, info = scan_counts(scan), scan.info
    key = f"animal {info['animal_id']}, session {info['session']}, scan {info['scan_idx']}"
    pairs: list[tuple[str, object]] = [
        ("form", scan.form),
        ("recording", f"{key}; {info['stim_type']}; {info['timestamp']}"),
        ("trials", f"{counts['trials']}, {counts['excluded']} of them excluded"),
        ("images", f"{counts['images']} of {_size(scan.images)}, {counts['images_shown']} shown"),
        ("repeats", f"{counts['images_repeated']} images repeated, up to {counts['most_repeats']} times"),
        ("units", f"{counts['units']}, {counts['soma']} of them somata"),
        ("fields", f"{counts['fields']} at {plural(counts['depths'], 'depth')}"),
    ]
    frame_times, eye, treadmill = scan.frame_times_stim, scan.eye, scan.treadmill
    if frame_times is not None and eye is not None and treadmill is not None:  # the traces form
        duration_s = float(frame_times[-1] - frame_times[0])
        untracked = counts["eye_samples_not_tracked"] / len(eye)
        pairs += [
            ("volumes", f"{counts['volumes']} in {duration_s:.1f} s"),
            ("eye", f"{len(eye)} samples, {untracked:.1%} not tracked"),
            ("treadmill", f"{len(treadmill)} samples, {treadmill.velocity_cm_s.isna().mean():.1%} missing"),
        ]
    calibration = scan.monitor_calibration
    n_calibrations = 0 if calibration is None else calibration.timestamp.nunique()
    pairs += [("stacks", counts["stacks"]), ("calibrations", f"{n_calibrations} of the monitor")]
    return named(pairs)


def _tree_lines(dataset: xr.Dataset) -> list[str]:
    repeats = np.bincount(dataset.image_index.values)
    dropped = sum(value for name, value in dataset.attrs.items() if name.startswith("dropped_"))
    return named(
        [
            ("form", "Sensorium tree"),
            ("trials", dataset.sizes["trial"] + dropped),
            ("images", f"{dataset.sizes['image']} in valid trials"),
            ("repeats", f"{(repeats > 1).sum()} images repeated, up to {repeats.max()} times"),
            ("units", dataset.sizes["unit"]),
        ]
    )


def _dataset_lines(dataset: xr.Dataset) -> list[str]:
    """The data set in numbers; its responses are not computed."""
    of = dataset.attrs
    dropped = [
        f"{value} {name.removeprefix('dropped_')}"
        for name, value in of.items()
        if name.startswith("dropped_") and value
    ]
    tiers, n_trials = np.unique(dataset.tier.values, return_counts=True)
    pairs = [
        ("valid trials", dataset.sizes["trial"]),
        ("dropped", ", ".join(dropped) or "none"),
        ("tiers", ", ".join(f"{n} {tier}" for tier, n in zip(tiers, n_trials, strict=True))),
        ("images", f"{dataset.sizes['image']} of {PUBLISHED.height_px} x {PUBLISHED.width_px} px"),
    ]
    if "filter_taps" in of:
        pairs += [
            ("shown for", f"{of['presentation_s']:.3f} s (median)"),
            ("filter", f"{of['filter_taps']} samples, one every {of['sampling_period_s']:.4f} s"),
        ]
    areas = pd.crosstab(dataset.brain_area.values, dataset.layer.values)
    table = [["units", *areas.columns], *([area, *areas.loc[area]] for area in areas.index)]
    return ["data set by the published preprocessing", *named(pairs), *columns(table)]


def _size(images: np.ndarray) -> str:
    channels = f", {images.shape[3]} channels" if images.ndim == 4 else ""
    return f"{images.shape[1]} x {images.shape[2]} px{channels}"
