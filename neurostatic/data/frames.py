"""Images at the resolution of the models (Frame), and which of them train, validate or test (ConditionTier)."""

import hashlib
import math

import numpy as np
import pandas as pd

from neurostatic.store import InputError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
MEI_CLASSES = ("cnn_mei", "lin_rf", "multi_cnn_mei", "multi_lin_rf")
NOISE_TYPES = ("stimulus.MonetFrame", "stimulus.TrippyFrame")
NOISE_MIN_REPEATS = 5
NOISE_FRACTION = 0.075  # of the noise conditions: test and validation, where none is repeated
BLOCK_IMAGES = 256


def area_resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink images by exact area averaging, as OpenCV's INTER_AREA (Frame).

    out = W_y image W_x^T, W[i, j] = overlap([i s, (i + 1) s], [j, j + 1]) / s, s = n_in / n_out. Images of bytes
    are rounded to whole gray levels: half to even, but half up where the size is halved exactly in y and x.
    Upstream resized in the dtype of the source, and the models were trained on such images.

    Args:
        images: (image, y, x).

    Returns:
        (image, height, width) float32.

    Raises InputError if the images are smaller than asked for.
    """
    n_images, n_y, n_x = images.shape
    if n_y < height or n_x < width:
        raise InputError(f"images of {n_y} x {n_x} px cannot be reduced to {height} x {width} px")
    resized = np.empty((n_images, height, width), np.float32)
    if (n_y, n_x) == (height, width):
        resized[:] = images
        return resized
    y_overlap, x_overlap = _overlaps(n_y, height), _overlaps(n_x, width)
    halved = (n_y, n_x) == (2 * height, 2 * width)
    for start in range(0, n_images, BLOCK_IMAGES):
        block = slice(start, start + BLOCK_IMAGES)
        # Sums of overlaps first, one division last: ties of whole-number ratios stay exact.
        means = y_overlap @ images[block].astype(float) @ x_overlap.T * (height * width) / (n_y * n_x)
        if images.dtype == np.uint8:
            means = np.floor(means + 0.5) if halved else np.rint(means)
        resized[block] = means
    return resized


def _overlaps(n_in: int, n_out: int) -> np.ndarray:
    """(n_out, n_in) length that each target pixel shares with each source pixel, in source pixels."""
    edges = np.arange(n_out + 1) * n_in / n_out
    source = np.arange(n_in)
    return (np.minimum(edges[1:, None], source + 1) - np.maximum(edges[:-1, None], source)).clip(min=0)


def picture_hashes(images: np.ndarray) -> np.ndarray:
    """SHA-256 of the pixels of each image: the same picture under two names has one hash.

    Args:
        images: (image, y, x).

    Returns:
        (image,) text.
    """
    return np.array([hashlib.sha256(np.ascontiguousarray(image)).hexdigest() for image in images], dtype=str)


def condition_tiers(
    image_table: pd.DataFrame,
    validation_fraction: float = 0.1,
    min_repeats: int = 2,
    seed: int = 0,
    repeats_needed: bool = True,
) -> np.ndarray:
    """One tier per image identity (image_class, image_id), whatever the order of trials (ConditionTier, ImageNetSplit).

    Repeated images are test. The others are ordered by SHA-256 of `seed|class|id`: the first
    ceil(validation_fraction n) are validation, the rest train; upstream's order was that of the database. Images of
    MEI classes are train. Noise frames (`stimulus_type` Monet or Trippy) follow `noise_tiers`. Identities with the
    same pixels are one picture and share a tier: test if one of them is repeated.

    Args:
        image_table: one row an identity: image_class, image_id, n_trials (valid presentations), and optionally
            picture (hash of the pixels) and stimulus_type.
        min_repeats: presentations from which on an image is repeated. The oracle needs 5.
        seed: of the order.
        repeats_needed: images without a repeated one among them are an error.

    Returns:
        (row,) 'train', 'validation' or 'test'.

    Raises InputError if no image is repeated, or an identity has two rows.
    """
    identities = pd.MultiIndex.from_frame(image_table[["image_class", "image_id"]])
    if identities.has_duplicates:
        raise InputError(f"image {identities[identities.duplicated()][0]} has several rows, one is allowed")
    order = _hash_order(image_table, seed)
    n_trials = image_table.n_trials.to_numpy()
    picture = image_table.picture.to_numpy() if "picture" in image_table else np.arange(len(image_table))
    is_mei = image_table.image_class.isin(MEI_CLASSES).to_numpy()
    is_noise = np.zeros(len(image_table), dtype=bool)
    if "stimulus_type" in image_table:
        is_noise = image_table.stimulus_type.isin(NOISE_TYPES).to_numpy()

    # One row a picture; the lowest hash of its identities stands for it.
    pictures = pd.DataFrame(
        {"picture": picture, "order": order, "n_trials": n_trials, "is_mei": is_mei, "is_noise": is_noise}
    )
    pictures = pictures.groupby("picture").agg({"order": "min", "n_trials": "max", "is_mei": "all", "is_noise": "all"})
    pictures = pictures.sort_values("order")
    pictures["tier"] = TRAIN
    natural = pictures[~pictures.is_mei & ~pictures.is_noise]
    repeated = natural.n_trials >= min_repeats
    if repeats_needed and len(natural) and not repeated.any():
        raise InputError(
            f"none of {len(natural)} images has {min_repeats} or more valid trials: "
            "repeated images are needed as test images"
        )
    pictures.loc[natural.index[repeated], "tier"] = TEST
    n_validation = math.ceil(validation_fraction * (~repeated).sum() - 1e-9)
    pictures.loc[natural.index[~repeated][:n_validation], "tier"] = VALIDATION
    noise = pictures[pictures.is_noise]
    pictures.loc[noise.index, "tier"] = noise_tiers(noise.n_trials.to_numpy())
    return pictures.tier.reindex(picture).to_numpy(dtype=str)


def noise_tiers(n_trials: np.ndarray) -> np.ndarray:
    """Tiers of noise conditions in a given random order (ConditionTier for MonetFrame and TrippyFrame).

    Conditions of 5 or more trials are test, as many of the others (the first ones) validation, the rest train.
    Where none is repeated, test and validation each get max(0.075 m, 1) of the m conditions, rounded.
    """
    tiers = np.full(len(n_trials), TRAIN, dtype="<U10")
    repeated = n_trials >= NOISE_MIN_REPEATS
    count = int(repeated.sum()) or round(max(NOISE_FRACTION * len(n_trials), 1))
    others = np.flatnonzero(~repeated)
    if repeated.any():
        tiers[repeated] = TEST
    else:
        tiers[others[:count]], others = TEST, others[count:]
    tiers[others[:count]] = VALIDATION
    return tiers


def leaking_trials(tiers: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Trials whose picture is kept from them: train trials of validation or test pictures, validation trials of
    test pictures.

    Args:
        tiers, pictures: (trial,) tier (any other name than train and validation counts as test), hash of the pixels.

    Returns:
        (trial,) bool.
    """
    rank = np.select([tiers == TRAIN, tiers == VALIDATION], [0, 1], 2)
    _, index = np.unique(pictures, return_inverse=True)
    highest = np.zeros(index.max(initial=-1) + 1, dtype=int)
    np.maximum.at(highest, index, rank)
    return rank < highest[index]


def _hash_order(image_table: pd.DataFrame, seed: int) -> np.ndarray:
    names = zip(image_table.image_class, image_table.image_id, strict=True)
    return np.array([hashlib.sha256(f"{seed}|{a}|{b}".encode()).hexdigest() for a, b in names], dtype=str)
