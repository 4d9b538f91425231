"""Which images train, validate or test (ConditionTier, ImageNetSplit)."""

import hashlib
import math

import numpy as np
import pandas as pd

from neurostatic.problems import InputError

TRAIN, VALIDATION, TEST, TEST_MEI = "train", "validation", "test", "test_mei"
MEI_CLASSES = ("cnn_mei", "lin_rf", "multi_cnn_mei", "multi_lin_rf")
TEST_MEI_CLASSES = ("mei2", "mask_fixed_mei")
NOISE_TYPES = ("stimulus.MonetFrame", "stimulus.TrippyFrame")
NOISE_MIN_REPEATS = 5
NOISE_FRACTION = 0.075  # of the conditions of a noise type: test and validation, where none is repeated
RULES = ("current", "2019")
SPLITS = ("count", "threshold")
# What a picture is. Where it has several names, the kind that comes first counts.
KINDS = ("repeated MEI", "natural", *NOISE_TYPES, "MEI")


def condition_tiers(
    image_table: pd.DataFrame,
    validation_fraction: float = 0.1,
    min_repeats: int = 2,
    seed: int = 0,
    repeats_needed: bool = True,
    rule: str = "current",
    split: str = "count",
) -> np.ndarray:
    """One tier per image identity (image_class, image_id), whatever the order of rows (ConditionTier, ImageNetSplit).

    Repeated images are test: those of n_trials >= min_repeats (rule 'current'), or of n_trials > median(n_trials)
    over the images (rule '2019'). Each identity has a number u = (first 8 digits of SHA-256 of `seed|class|id`) / 2^32
    in place of upstream's order of the database. Of the n images that are not repeated, the ceil(validation_fraction
    n) lowest are validation (split 'count'), or those of u < validation_fraction (split 'threshold'); the rest train.
    Only by the threshold does an image keep its tier when images or scans are added, but few images may then come
    without one for validation.

    Images of MEI classes are outside this split: train, though repeated, as upstream's code has it against its own
    comment. Only mei2 and mask_fixed_mei are test_mei where shown more than once. Noise frames (`stimulus_type` Monet
    or Trippy) follow `noise_tiers`, each type for itself. Identities with the same pixels are one picture and share a
    tier, by the most trials and the lowest u among them: test_mei if one of them is, else by the split if one is in it.

    Args:
        image_table: one row an identity: image_class, image_id, n_trials (valid presentations), and optionally
            picture (hash of the pixels) and stimulus_type.
        min_repeats: presentations from which on an image is repeated. The oracle needs 5.
        seed: of the hashes.
        repeats_needed: images without a repeated one among them are an error.
        rule: 'current' or '2019', which images are repeated.
        split: 'count' or 'threshold', how validation images are drawn.

    Returns:
        (row,) 'train', 'validation', 'test' or 'test_mei'.

    Raises InputError if no image is repeated, an identity has two rows (and could be repeated in one of them only),
    or rule or split is unknown.
    """
    for name, value, allowed in (("rule", rule, RULES), ("split", split, SPLITS)):
        if value not in allowed:
            raise InputError(f"{name} of the tiers: found {value!r}, allowed are {', '.join(allowed)}")
    _check_identities(image_table)
    picture = image_table.picture.to_numpy() if "picture" in image_table else np.arange(len(image_table))
    table = pd.DataFrame(
        {
            "kind": _kinds(image_table),
            "n_trials": image_table.n_trials.to_numpy(),
            "digest": _digests(image_table, seed),
        }
    )
    pictures = table.groupby(picture).agg({"kind": "min", "n_trials": "max", "digest": "min"}).sort_values("digest")
    kind, n_trials = pictures.kind.to_numpy(), pictures.n_trials.to_numpy()
    u = np.array([int(digest[:8], 16) / 2**32 for digest in pictures.digest])

    tiers = np.full(len(pictures), TRAIN, dtype="<U10")
    tiers[kind == KINDS.index("repeated MEI")] = TEST_MEI
    natural = kind == KINDS.index("natural")
    if natural.any():
        repeated = _repeated(n_trials[natural], rule, min_repeats, repeats_needed)
        n_validation = math.ceil(validation_fraction * (~repeated).sum() - 1e-9)
        if split == "threshold":
            n_validation = (u[natural][~repeated] < validation_fraction).sum()
        tiers[natural] = _drawn(repeated, 0, n_validation)
    for noise_type in NOISE_TYPES:
        noise = kind == KINDS.index(noise_type)
        tiers[noise] = noise_tiers(n_trials[noise], u[noise] if split == "threshold" else None, validation_fraction)
    return pd.Series(tiers, pictures.index).reindex(picture).to_numpy(dtype=str)


def noise_tiers(n_trials: np.ndarray, u: np.ndarray | None = None, validation_fraction: float = 0.1) -> np.ndarray:
    """Tiers of the conditions of one noise type in random order (ConditionTier for MonetFrame and TrippyFrame).

    Conditions of 5 or more trials are test, as many of the others (the first ones) validation, the rest train. Where
    none of the m conditions is repeated, test and validation each get max(0.075 m, 1), rounded half up; upstream
    fails unless that is a whole number.

    Args:
        n_trials: (condition,) valid presentations.
        u: (condition,) ascending from 0 to 1. Where given, conditions that are not repeated are drawn by thresholds
            instead: validation of u < validation_fraction, or, where none is repeated, test of u < 0.075 and
            validation of u < 0.15.
        validation_fraction: of the conditions that are not repeated; counts with u only.

    Returns:
        (condition,) 'train', 'validation' or 'test'.
    """
    repeated = n_trials >= NOISE_MIN_REPEATS
    n_test = 0
    if u is None:
        n_validation = int(repeated.sum())
        if not n_validation:
            n_test = n_validation = math.floor(max(NOISE_FRACTION * len(n_trials), 1) + 0.5)
    elif repeated.any():
        n_validation = (u[~repeated] < validation_fraction).sum()
    else:
        n_test = (u < NOISE_FRACTION).sum()
        n_validation = (u < 2 * NOISE_FRACTION).sum() - n_test
    return _drawn(repeated, n_test, n_validation)


def leaking_trials(tiers: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Trials whose picture is kept from them: train trials of validation or test pictures, validation trials of
    test pictures.

    Args:
        tiers, pictures: (trial,) tier (any other name than train and validation counts as test, so test_mei and
            final_test do), hash of the pixels.

    Returns:
        (trial,) bool.
    """
    rank = np.select([tiers == TRAIN, tiers == VALIDATION], [0, 1], 2)
    _, index = np.unique(pictures, return_inverse=True)
    highest = np.zeros(index.max(initial=-1) + 1, dtype=int)
    np.maximum.at(highest, index, rank)
    return rank < highest[index]


def _check_identities(image_table: pd.DataFrame) -> None:
    identity = ["image_class", "image_id"]
    twice = image_table[image_table.duplicated(identity, keep=False)]
    if len(twice):
        image_class, image_id = twice[identity].iloc[0]
        rows = twice[(twice.image_class == image_class) & (twice.image_id == image_id)]
        counts = ", ".join(str(n) for n in sorted(rows.n_trials))
        raise InputError(f"image ({image_class}, {image_id}) has several rows, of {counts} trials; one is allowed")


def _kinds(image_table: pd.DataFrame) -> np.ndarray:
    """(row,) position in KINDS."""
    may_be_test = image_table.image_class.isin(TEST_MEI_CLASSES).to_numpy()
    is_mei = image_table.image_class.isin(MEI_CLASSES).to_numpy() | may_be_test
    conditions = {"repeated MEI": may_be_test & (image_table.n_trials > 1).to_numpy(), "MEI": is_mei}
    if "stimulus_type" in image_table:
        conditions |= {noise: (image_table.stimulus_type == noise).to_numpy() for noise in NOISE_TYPES}
    positions = [KINDS.index(kind) for kind in conditions]
    return np.select(list(conditions.values()), positions, KINDS.index("natural"))


def _digests(image_table: pd.DataFrame, seed: int) -> list[str]:
    names = zip(image_table.image_class, image_table.image_id, strict=True)
    return [hashlib.sha256(f"{seed}|{image_class}|{image_id}".encode()).hexdigest() for image_class, image_id in names]


def _repeated(n_trials: np.ndarray, rule: str, min_repeats: int, repeats_needed: bool) -> np.ndarray:
    """(picture,) bool, of the pictures of the ImageNet split."""
    if rule == "current":
        repeated, needed = n_trials >= min_repeats, f"{min_repeats} or more valid trials"
    else:
        median = np.median(n_trials)
        repeated, needed = n_trials > median, f"more valid trials than the median of {median:g}"
    if repeats_needed and not repeated.any():
        raise InputError(f"none of {len(n_trials)} images has {needed}: repeated images are needed as test images")
    return repeated


def _drawn(repeated: np.ndarray, n_test: int, n_validation: int) -> np.ndarray:
    """Tiers of pictures in hash order: test are the repeated and the first of the others, validation the next ones."""
    tiers = np.where(repeated, TEST, TRAIN).astype("<U10")
    others = np.flatnonzero(~repeated)
    tiers[others[:n_test]] = TEST
    tiers[others[n_test : n_test + n_validation]] = VALIDATION
    return tiers
