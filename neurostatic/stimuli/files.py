"""Stimulus sets on disk: PNG files with a manifest and a luminance check, a whole folder or nothing."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from neurostatic.config import STIMULUS_SETS
from neurostatic.problems import InputError, report_problems
from neurostatic.store import read_table, write_table

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
FILE_NAME = re.compile(r"[A-Za-z0-9_]+/[A-Za-z0-9_-]+\.png")  # of an image in its folder, and nowhere else


@dataclass(frozen=True)
class StimulusSet:
    """Images (image, y, x) uint8; the manifest and the quality table have one row for each, in this order."""

    images: np.ndarray
    manifest: pd.DataFrame
    qc: pd.DataFrame


def write_set(stimulus_set: StimulusSet, folder: str | Path, provenance: dict[str, Any]) -> None:
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
            from the checksum in the manifest; or a manifest that is missing or empty, or names files elsewhere.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    images: list[np.ndarray] = []
    problems: list[str] = []
    for file, sha256 in zip(manifest["file"], manifest["sha256"], strict=True):
        try:
            with Image.open(folder / file) as picture:
                mode, image = picture.mode, np.asarray(picture)
        except (OSError, ValueError, SyntaxError) as error:  # pillow reports some broken PNGs as SyntaxError
            problems.append(f"{file}: not a readable image ({error}); delete manifest.csv and run again")
            continue
        if mode != "L":
            problems.append(f"{file}: not an 8-bit gray image (mode {mode}, shape {image.shape})")
        elif images and image.shape != images[0].shape:
            problems.append(f"{file}: shape {image.shape}, the first image has {images[0].shape}")
        elif image_checksum(image) != sha256:
            problems.append(f"{file}: the pixels differ from the checksum in manifest.csv")
        else:
            images.append(image)
    report_problems(str(folder), problems)
    return manifest, np.stack(images)


def read_sets(folders: list[str | Path]) -> tuple[pd.DataFrame, np.ndarray]:
    """Read stimulus sets that are shown in one scan: as `read_set`, an image that several of them hold only once.

    Raises:
        InputError: as `read_set`; images that have one class and id but not one content or size.
    """
    manifests, images = zip(*map(read_set, folders), strict=True)
    manifest = pd.concat(manifests, ignore_index=True)
    name = ["image_class", "image_id"]
    problems = [
        f"{image_class}/{image_id}: is not the same image in all of them"
        for (image_class, image_id), same in manifest.groupby(name)
        if same["sha256"].nunique() > 1
    ]
    if len({of_set.shape[1:] for of_set in images}) > 1:
        problems.append("their images differ in size")
    report_problems(f"stimulus sets shown in one scan ({', '.join(map(str, folders))})", problems)
    first = ~manifest.duplicated(name)
    return manifest[first].reset_index(drop=True), np.concatenate(images)[first]


def check_shown(folder: str | Path, image_table: pd.DataFrame, images: np.ndarray, scan: str) -> int:
    """Check that a scan was shown the images of a stimulus set, by their pixels.

    Args:
        folder: of the set.
        image_table: image_class, image_id of each of `images` (image, y, x) uint8, as the scan was shown them.
        scan: its name, for the message.

    Returns:
        How many of the scan's images are in the set and the same; 0 if the scan has them in another size, in which
        they cannot be compared.

    Raises InputError that names those which differ, or if no image is of a class of the set.
    """
    manifest = _read_manifest(Path(folder))
    if not set(image_table.image_class) & set(manifest.image_class):
        raise InputError(
            f"scan {scan}: shows images of class {_named(image_table)}, but was to show {Path(folder).name}, whose "
            f"classes are {_named(manifest)}. Name images as in {Path(folder) / 'manifest.csv'}, or correct "
            "loops.*.targets"
        )
    with Image.open(Path(folder) / manifest.file.iloc[0]) as picture:
        if images.shape[1:] != picture.size[::-1]:
            return 0
    listed = manifest.set_index(["image_class", "image_id"]).sha256
    names = list(zip(image_table.image_class, image_table.image_id, strict=True))
    ours = [(row, name) for row, name in enumerate(names) if name in listed.index]
    differ = [f"{name[0]} {name[1]}" for row, name in ours if image_checksum(images[row]) != listed[name]]
    report_problems(
        f"scan {scan}: images that differ from those of the stimulus set under the same name. Was it shown another set "
        "(loops.*.targets), has the set been made anew since, are ids counted from 1 instead of 0, or the images in "
        "another order",
        differ,
    )
    return len(ours)


def _named(images: pd.DataFrame) -> str:
    return ", ".join(sorted(set(images.image_class.astype(str))))


def image_checksum(image: np.ndarray) -> str:
    """SHA-256 of the pixels of an 8-bit image (y, x)."""
    return hashlib.sha256(np.ascontiguousarray(image, dtype=np.uint8).tobytes()).hexdigest()


def _read_manifest(folder: Path) -> pd.DataFrame:
    """The manifest of a set; its files are names in the folder, wherever the table comes from."""
    manifest = read_table(folder / "manifest.csv", MANIFEST_COLUMNS)
    manifest["owner_scan"] = manifest["owner_scan"].astype(str)
    if manifest.empty:
        raise InputError(f"{folder / 'manifest.csv'}: names no image")
    strange = [file for file in manifest["file"].astype(str) if not FILE_NAME.fullmatch(file)]
    report_problems(
        f"{folder / 'manifest.csv'}, column file: allowed are names such as mei/17.png", [repr(f) for f in strange]
    )
    return manifest


def _foreign_files(folder: Path) -> list[Path]:
    """Files that no stimulus set writes; hidden ones are the workflow's own marks."""
    classes = {image_class for pair in STIMULUS_SETS.values() for image_class in pair}
    if folder.exists() and not folder.is_dir():
        return [folder]
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    images = {file for file in files if file.suffix == ".png" and len(file.parts) == 2 and file.parts[0] in classes}
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
