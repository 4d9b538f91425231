"""Which trials show an image again, and a walk through many units that does not fill the memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

MIN_ORACLE_REPEATS = 5
BLOCK_UNITS = 1024  # 1000 trials x 1024 units in double precision are 8 MB: the work of one block stays below 100 MB


@dataclass(frozen=True)
class Repeats:
    """OracleStims: the trials of the images that were shown often enough, image by image.

    Attributes:
        trials: (repeat,) rows of the responses; those of one image are neighbors, in the order they were recorded.
        first: (image,) where in `trials` each image begins.
        count: (image,) number of its trials, r_i.
        images_left_out: number of images shown less often.
    """

    trials: np.ndarray
    first: np.ndarray
    count: np.ndarray
    images_left_out: int

    @classmethod
    def of(cls, image: np.ndarray, min_repeats: int) -> "Repeats":
        """The trials of every image shown at least `min_repeats` times.

        Args:
            image: (trial,) identity of the image of each trial: numbers or text.

        Raises ValueError if `image` has more than one dimension or `min_repeats` is below 2 (nothing is left to leave
        out).
        """
        image = np.asarray(image)
        if image.ndim != 1:
            raise ValueError(f"image: one identity a trial is needed, got the shape {image.shape}")
        if min_repeats < 2:
            raise ValueError(f"min_repeats: at least 2, got {min_repeats}")
        _, label, count = np.unique(image, return_inverse=True, return_counts=True)
        kept = count >= min_repeats
        order = np.argsort(label, kind="stable")
        count_kept = count[kept]
        return cls(order[kept[label[order]]], np.cumsum(count_kept) - count_kept, count_kept, int((~kept).sum()))

    def blocks(self, block_units: int, *arrays: np.ndarray) -> Iterator[tuple[Any, ...]]:
        """Some units after the others: their slice, then the repeated trials of each array, (unit, repeat) float64.

        Units come first so that every sum over trials runs along memory: its last digits then do not depend on how
        many units share a block. Nothing is given if no image is repeated.

        Args:
            arrays: (trial, unit), any real type; all of one shape.

        Raises ValueError if the arrays differ in shape or `block_units` is below 1.
        """
        shape = np.shape(arrays[0])
        if any(np.shape(array) != shape for array in arrays):
            raise ValueError(f"(trial, unit) of one shape are needed, got {[np.shape(array) for array in arrays]}")
        if block_units < 1:
            raise ValueError(f"block_units: at least 1, got {block_units}")
        if not len(self.trials):
            return
        for start in range(0, shape[1], block_units):
            units = slice(start, min(start + block_units, shape[1]))
            yield (
                units,
                *(np.array(np.asarray(array)[self.trials, units].T, dtype=float, order="C") for array in arrays),
            )

    def sums(self, block: np.ndarray) -> np.ndarray:
        """Sum over the repeats of each image: (unit, repeat) -> (unit, image)."""
        return np.add.reduceat(block, self.first, axis=1)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """A value an image given to each of its repeats: (..., image) -> (..., repeat)."""
        return np.repeat(values, self.count, axis=-1)

    def leave_one_out(self, block: np.ndarray) -> np.ndarray:
        """Mean of the other repeats of the same image, (sum_k y_ik - y_ij) / (r_i - 1): (unit, repeat) -> the same."""
        return (self.spread(self.sums(block)) - block) / self.spread(self.count - 1)


def repeats_of(responses: np.ndarray, image: np.ndarray, min_repeats: int) -> Repeats:
    """Repeats of the images of these responses.

    Raises ValueError if the responses are not (trial, unit) or `image` does not name one image a trial.
    """
    if np.ndim(responses) != 2:
        raise ValueError(f"responses: (trial, unit) are needed, got the shape {np.shape(responses)}")
    if len(image) != len(responses):
        raise ValueError(f"image: {len(image)} identities for {len(responses)} trials of responses")
    return Repeats.of(image, min_repeats)


def constant_units(block: np.ndarray) -> np.ndarray:
    """Units that answer every trial with the very same value: (unit, repeat) -> (unit,).

    Compared exactly, since the mean of equal numbers may round and leave them a spurious variance.
    """
    return (block == block[:, :1]).all(1)
