"""Natural images: crops at several scales of photos."""

from pathlib import Path

import numpy as np
import skimage.color
import skimage.data
import skimage.io
import skimage.measure
import skimage.util

from neurostatic.problems import InputError

BUNDLED = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "rocket")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
MAX_FLAT = 1000
MIN_CONTRAST_PX = 15.0  # flatter crops (sky, wall) say nothing about a cell


def load_photos(source: str = "bundled") -> list[np.ndarray]:
    """Photos as gray uint8 arrays (y, x): those bundled with scikit-image, or all images of a folder.

    Raises InputError if the folder is missing, holds no image, or one that cannot be read.
    """
    if source == "bundled":
        photos = [getattr(skimage.data, name)() for name in BUNDLED]
    else:
        folder = Path(source)
        paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
        if not paths:
            raise InputError(f"simulation.photos: {source}: no folder with images ({', '.join(SUFFIXES)})")
        photos = [_read(path) for path in paths]
    return [_gray(photo) for photo in photos]


def crop_photos(
    photos: list[np.ndarray], n_images: int, height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Random crops, mirrored or transposed at random, at every whole-number scale the photo allows up to 2.

    Returns:
        (n_images, height, width) uint8. Crops whose standard deviation is below 15 px are drawn again.

    Raises InputError if no photo is as large as one crop, or all crops are flat.
    """
    shapes = [(photo, scale) for photo in photos for scale in (1, 2) if _fits(photo, height * scale, width * scale)]
    if not shapes:
        raise InputError(f"simulation.photos: no photo holds a crop of {height} x {width} px")
    crops = np.empty((n_images, height, width), np.uint8)
    n_done = n_flat = 0
    while n_done < n_images:
        photo, scale = shapes[rng.integers(len(shapes))]
        if rng.random() < 0.5 and _fits(photo.T, height * scale, width * scale):
            photo = photo.T
        y = rng.integers(photo.shape[0] - height * scale + 1)
        x = rng.integers(photo.shape[1] - width * scale + 1)
        crop = photo[y : y + height * scale, x : x + width * scale][:: rng.choice([1, -1]), :: rng.choice([1, -1])]
        crop = skimage.measure.block_reduce(crop, scale, np.mean)
        if crop.std() >= MIN_CONTRAST_PX:
            crops[n_done] = np.rint(crop)
            n_done += 1
            n_flat = 0
        else:
            n_flat += 1
        if n_flat == MAX_FLAT:
            raise InputError(f"simulation.photos: {MAX_FLAT} crops in a row are flatter than {MIN_CONTRAST_PX} px")
    return crops


def _fits(photo: np.ndarray, height: int, width: int) -> bool:
    return photo.shape[0] >= height and photo.shape[1] >= width


def _read(path: Path) -> np.ndarray:
    try:
        return skimage.io.imread(path)
    except (OSError, ValueError, SyntaxError) as error:  # a broken PNG is a SyntaxError to some readers
        raise InputError(f"simulation.photos: {path}: not a readable image") from error


def _gray(photo: np.ndarray) -> np.ndarray:
    """Gray levels 0-255 of a photo of any depth, gray or in color, with or without transparency."""
    photo = skimage.util.img_as_float(photo)
    if photo.ndim == 3:
        photo = photo[..., 0] if photo.shape[-1] < 3 else skimage.color.rgb2gray(photo[..., :3])
    return np.rint(photo * 255).astype(np.uint8)
