"""The images of a raw scan export in the size that a monitor shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import scipy

from neurostatic.data.frames import apply_aperture, area_resize
from neurostatic.data.scans.contract import APERTURE, IMAGES
from neurostatic.data.scans.tables import read_columns
from neurostatic.problems import InputError, report_problems


def read_image_table(export: str | Path) -> pd.DataFrame:
    """images.csv of a raw export, as `read_scan` reads it: a row an image of images.npy.

    Raises InputError with every problem of it.
    """
    path = Path(export) / "images.csv"
    problems = [] if path.is_file() else ["images.csv: file is missing"]
    table = None if problems else read_columns(path, IMAGES, problems)
    report_problems(f"scan export {export}", problems)
    return cast(pd.DataFrame, table).reset_index(drop=True)  # what is no table is a problem


def read_shown_images(
    export: str | Path,
    image_class: np.ndarray,
    image_id: np.ndarray,
    height: int,
    width: int,
    rows: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Images of a raw scan export as they were shown, in another size.

    Reduced by area averaging, or enlarged by cubic splines; behind their aperture, if they had one.

    Args:
        export: folder of the export, with images.npy and images.csv.
        image_class, image_id: (image,) which images; rows: positions among these, None means all.

    Returns:
        (row, height, width) float32 px.

    Raises InputError if an image is not in the export, or they are in color.
    """
    images = np.load(Path(export) / "images.npy", mmap_mode="r")
    table = read_image_table(export)
    rows = np.arange(len(image_id)) if rows is None else np.asarray(rows)
    listed = pd.MultiIndex.from_frame(table[["image_class", "image_id"]])
    wanted = [(str(image_class[row]), int(image_id[row])) for row in rows]
    places = listed.get_indexer(pd.MultiIndex.from_tuples(wanted))
    if (places < 0).any():
        raise InputError(f"{export}: image {wanted[np.argmax(places < 0)]} is not in images.csv")
    if images.ndim != 3:
        raise InputError(f"{export}: images of shape {images.shape[1:]}; stimuli are made of gray images only")
    if images.shape[1] < height or images.shape[2] < width:
        factors = height / images.shape[1], width / images.shape[2]
        shown = (images[place].astype(float) for place in places)
        enlarged = [scipy.ndimage.zoom(image, factors, order=3, mode="reflect") for image in shown]
        resized = np.clip(enlarged, 0, 255).astype(np.float32)
    else:
        resized = area_resize(images, height, width, places, rounded=False)
    if set(APERTURE) <= set(table.columns):
        resized = apply_aperture(resized, *table.iloc[places][list(APERTURE)].to_numpy().T)
    return resized
