"""Stimulus sets: the images that the closed-loop experiment shows, with a manifest and a luminance check."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from neurostatic.data.calibration import MonitorCalibration
from neurostatic.stimuli.contrast import area_downscale, luminance_chain
from neurostatic.store import InputError, read_table, report_problems, write_table

TOLERANCE = 0.05  # of mean and of contrast, relative to the target
MANIFEST_COLUMNS = (
    "image_class",
    "image_id",
    "owner_scan",
    "owner_unit_id",
    "x_shift",
    "y_shift",
    "file",
    "sha256",
    "predicted_response",
)
TABLES = ("manifest.csv", "manifest.csv.json", "qc.csv", "qc.csv.json")


@dataclass(frozen=True)
class StimulusSet:
    """Images (image, y, x) uint8; the manifest and the quality table have one row for each, in this order."""

    images: np.ndarray
    manifest: pd.DataFrame
    qc: pd.DataFrame


def mei_vs_rf_set(
    units: pd.DataFrame,
    cnn_meis: np.ndarray,
    linear_meis: np.ndarray,
    calibration: MonitorCalibration,
    respond: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    mean_cd_m2: float = 10.0,
    contrast_cd_m2: float = 2.0,
    zoom: int = 4,
    shifts_px: Sequence[int] = (-1, 0, 1),
    max_units: int = 150,
) -> StimulusSet:
    """MEIs (multi_cnn_mei) against receptive fields (multi_lin_rf), at one mean and contrast in cd/m2.

    Each unit with hu_rank < max_units gives one pair of images for each shift; the pair shares its image_id,
    which counts from 0 in the order hu_rank, x_shift, y_shift. Images are shifted after they are matched, by
    zoom * shift stimulus px (+x right, +y down), and wrap round the border, so every shift has the same
    luminances.

    Args:
        units: columns scan, unit_id, hu_rank (empty: not chosen); row i owns cnn_meis[i] and linear_meis[i].
        cnn_meis, linear_meis: (unit, y, x) px. If they are xarray arrays with coordinates scan and unit_id,
            these must agree with `units`.
        respond: images (k, y, x) px at the size of the MEIs and rows of `units` (k,) -> (k,) responses, image
            i by the CNN unit of row i. It is given the final uint8 images, reduced by area averaging; both
            classes are predicted by the CNN. Without it predicted_response is NaN.
        shifts_px: whole model px, for x and for y; 0 must be among them (only centered images enter the
            confusion matrix).

    Raises:
        InputError: everything wrong with the input; or every image whose mean or contrast, after rounding, is
            off by 5 % or more.

    Source: fill_multimei_stimulus (fill_multi_mei_stimulus), ProcessedShiftedMEI2, TargetStaticGroupId.
    """
    meis_by_class = {"multi_cnn_mei": cnn_meis, "multi_lin_rf": linear_meis}
    report_problems("stimulus set mei_vs_rf", _input_problems(units, meis_by_class, shifts_px))
    ranks = pd.to_numeric(units["hu_rank"]).fillna(np.inf).to_numpy(dtype=float)
    chosen = [row for row in np.argsort(ranks, kind="stable") if ranks[row] < max_units]
    if not chosen:
        raise InputError(f"stimulus set mei_vs_rf: no unit has a hu_rank below {max_units}; nothing to show")
    shifts = [(x_shift, y_shift) for x_shift in sorted(shifts_px) for y_shift in sorted(shifts_px)]

    images, rows = [], []
    for image_class, meis in meis_by_class.items():
        meis = np.asarray(meis, dtype=float)
        for place, unit in enumerate(chosen):
            centered = luminance_chain(meis[unit], calibration, mean_cd_m2, contrast_cd_m2, zoom).image
            for number, (x_shift, y_shift) in enumerate(shifts):
                image_id = place * len(shifts) + number
                image = np.roll(centered, (zoom * y_shift, zoom * x_shift), axis=(0, 1))
                images.append(image)
                rows.append(
                    {
                        "image_class": image_class,
                        "image_id": image_id,
                        "owner_scan": str(units["scan"].iloc[unit]),
                        "owner_unit_id": int(units["unit_id"].iloc[unit]),
                        "x_shift": int(x_shift),
                        "y_shift": int(y_shift),
                        "file": f"{image_class}/{image_id}.png",
                        "sha256": _checksum(image),
                    }
                )
    images, manifest = np.stack(images), pd.DataFrame(rows)
    qc = quality_table(images, manifest, calibration, mean_cd_m2, contrast_cd_m2)
    problems = _quality_problems(manifest, qc, mean_cd_m2, contrast_cd_m2)
    report_problems("stimulus set mei_vs_rf, luminance", problems)

    manifest["predicted_response"] = np.nan
    if respond is not None:
        owners = np.tile(np.repeat(chosen, len(shifts)), len(meis_by_class))
        predicted = respond(area_downscale(images, zoom), owners)
        manifest["predicted_response"] = np.asarray(predicted, dtype=float)
    return StimulusSet(images, manifest[list(MANIFEST_COLUMNS)], qc)


STIMULUS_SETS = {"mei_vs_rf": mei_vs_rf_set}  # kind -> what builds it


def quality_table(
    images: np.ndarray,
    manifest: pd.DataFrame,
    calibration: MonitorCalibration,
    mean_cd_m2: float,
    contrast_cd_m2: float,
) -> pd.DataFrame:
    """Mean and contrast of uint8 images as the monitor shows them, and whether they are within 5 %.

    Args:
        images: (image, y, x) uint8, in the order of the manifest.

    Returns:
        image_class, image_id, mean_cd_m2, contrast_cd_m2, mean_ok, contrast_ok, clipped_fraction (pixels at 0
        or 255), ok.
    """
    luminance_of = calibration.luminance(np.arange(256))  # a pixel value has one luminance: look it up
    rows = []
    for image in images:
        luminance = luminance_of[image]
        mean, contrast = luminance.mean(), luminance.std()
        mean_ok, contrast_ok = within_tolerance(mean, mean_cd_m2), within_tolerance(contrast, contrast_cd_m2)
        rows.append(
            {
                "mean_cd_m2": mean,
                "contrast_cd_m2": contrast,
                "mean_ok": mean_ok,
                "contrast_ok": contrast_ok,
                "clipped_fraction": np.mean((image == 0) | (image == 255)),
                "ok": mean_ok and contrast_ok,
            }
        )
    names = manifest[["image_class", "image_id"]].reset_index(drop=True)
    return pd.concat([names, pd.DataFrame(rows)], axis=1)


def within_tolerance(reached: float, target: float) -> bool:
    """Whether |1 - reached / target| < 0.05."""
    return bool(abs(1 - reached / target) < TOLERANCE)


def write_set(stimulus_set: StimulusSet, folder: str | Path, provenance: dict) -> None:
    """Write {image_class}/{image_id}.png (8-bit gray), manifest.csv and qc.csv: the whole folder or nothing.

    An earlier set under this name is replaced with all its files.

    Raises:
        InputError: the folder holds files that are not a stimulus set's; they would be lost.
    """
    folder = Path(folder)
    foreign = _foreign_files(folder)
    report_problems(f"{folder}: holds files that are not of a stimulus set", [str(path) for path in foreign])
    with _folder_written_whole(folder) as temporary:
        for file, image in zip(stimulus_set.manifest["file"], stimulus_set.images, strict=True):
            (temporary / file).parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(temporary / file)
        write_table(stimulus_set.manifest, temporary / "manifest.csv", provenance)
        write_table(stimulus_set.qc, temporary / "qc.csv", provenance)


def read_set(folder: str | Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read a stimulus set: manifest, and images (image, y, x) uint8 in its order.

    Raises:
        InputError: every image that is missing, is not 8-bit gray, differs in size, or whose pixels differ
            from the checksum in the manifest.
    """
    folder = Path(folder)
    manifest = read_table(folder / "manifest.csv", MANIFEST_COLUMNS)
    manifest["owner_scan"] = manifest["owner_scan"].astype(str)
    if manifest.empty:
        raise InputError(f"{folder / 'manifest.csv'}: names no image")
    images, problems = [], []
    for file, sha256 in zip(manifest["file"], manifest["sha256"], strict=True):
        try:
            with Image.open(folder / file) as picture:
                mode, image = picture.mode, np.asarray(picture)
        except (OSError, ValueError, SyntaxError) as error:  # pillow reports some broken PNGs as SyntaxError
            problems.append(f"{file}: not a readable image ({error})")
            continue
        if mode != "L":
            problems.append(f"{file}: not an 8-bit gray image (mode {mode}, shape {image.shape})")
        elif images and image.shape != images[0].shape:
            problems.append(f"{file}: shape {image.shape}, the first image has {images[0].shape}")
        elif _checksum(image) != sha256:
            problems.append(f"{file}: the pixels differ from the checksum in manifest.csv")
        else:
            images.append(image)
    report_problems(str(folder), problems)
    return manifest, np.stack(images)


def _checksum(image: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image, dtype=np.uint8).tobytes()).hexdigest()


def _input_problems(units: pd.DataFrame, meis_by_class: dict, shifts_px: Sequence[int]) -> list[str]:
    missing = [name for name in ("scan", "unit_id", "hu_rank") if name not in units]
    if missing:
        return [f"column '{name}' of units is missing" for name in missing]
    problems = []
    ranks = pd.to_numeric(units["hu_rank"], errors="coerce")
    if ranks.isna().sum() > units["hu_rank"].isna().sum():
        problems.append("hu_rank must be a number or empty")
    if ranks.dropna().duplicated().any():
        repeated = sorted(set(ranks[ranks.duplicated() & ranks.notna()].tolist()))
        problems.append(f"hu_rank {repeated} given more than once")
    if not np.all(pd.to_numeric(units["unit_id"], errors="coerce") % 1 == 0):
        problems.append("unit_id must be a whole number")
    if units.duplicated(["scan", "unit_id"]).any():
        problems.append("a unit (scan, unit_id) is given more than once")
    if 0 not in shifts_px or len(set(shifts_px)) != len(shifts_px) or any(s != int(s) for s in shifts_px):
        problems.append(f"shifts_px must be different whole numbers, 0 among them; got {list(shifts_px)}")

    shapes = {image_class: np.shape(meis) for image_class, meis in meis_by_class.items()}
    if len(set(shapes.values())) > 1 or any(len(s) != 3 or s[0] != len(units) for s in shapes.values()):
        problems.append(f"both classes need ({len(units)} units, y, x) images of one size; got {shapes}")
        return problems
    for image_class, meis in meis_by_class.items():
        for name in ("scan", "unit_id"):
            labels = getattr(meis, "coords", {}).get(name)  # plain arrays carry no labels to compare
            if labels is not None and list(labels.values.astype(str)) != list(units[name].astype(str)):
                problems.append(f"{image_class}: coordinate '{name}' is not in the order of the unit table")
        broken = ~np.isfinite(np.asarray(meis, dtype=float)).all(axis=(1, 2)) & ranks.notna().to_numpy()
        for row in units[broken].itertuples():
            problems.append(f"{image_class}: image of scan {row.scan}, unit {row.unit_id} is not finite")
    return problems


def _quality_problems(manifest: pd.DataFrame, qc: pd.DataFrame, mean: float, contrast: float) -> list[str]:
    failed = manifest.join(qc.drop(columns=["image_class", "image_id"]))[~qc["ok"].to_numpy()]
    problems = []
    owner = ["image_class", "owner_scan", "owner_unit_id"]
    for (image_class, scan, unit_id), group in failed.groupby(owner, sort=False):
        # The shifts of one image differ in no pixel value, so one figure stands for them.
        ids = ", ".join(str(image_id) for image_id in group["image_id"])
        row = group.iloc[0]
        problems.append(
            f"{image_class} {ids} (scan {scan}, unit {unit_id}): mean {row['mean_cd_m2']:.3f} cd/m2 "
            f"(target {mean:g} +- {TOLERANCE:.0%}), contrast {row['contrast_cd_m2']:.3f} cd/m2 "
            f"(target {contrast:g} +- {TOLERANCE:.0%}), {row['clipped_fraction']:.1%} of pixels clipped"
        )
    return problems


def _foreign_files(folder: Path) -> list[Path]:
    """Files that no stimulus set writes; hidden ones are the workflow's own marks."""
    if folder.exists() and not folder.is_dir():
        return [folder]
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    images = {file for file in files if len(file.parts) == 2 and file.suffix == ".png"}
    return [f for f in files if f not in images and str(f) not in TABLES and not f.name.startswith(".")]


@contextmanager
def _folder_written_whole(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`; swap it in if the block succeeds, else remove it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed run that had this process number
    try:
        temporary.mkdir()
        yield temporary
        if folder.exists():
            os.replace(folder, replaced)
        os.replace(temporary, folder)
    except BaseException:
        if replaced.exists() and not folder.exists():
            os.replace(replaced, folder)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(replaced, ignore_errors=True)
