"""Mean and contrast of images, in any unit, with and without clipping to a range."""

from dataclasses import dataclass

import numpy as np

GAIN_STEP = 1.05
MIN_GAIN, MAX_GAIN = 0.001, 6000.0
FLAT_STD = 1e-8
# The published grid linspace(-30, 30, 1000), in our order of preference: nearest to 0, then positive.
OFFSETS = np.outer((np.arange(500) + 0.5) * 60 / 999, [1, -1]).ravel()


@dataclass(frozen=True)
class MatchedImage:
    """An image at a mean and contrast, its unmasked companion, and what was reached with which gain."""

    image: np.ndarray
    unmasked: np.ndarray
    mean: float
    contrast: float
    gain: float
    offset: float


def match_stats(
    image: np.ndarray, mean: float, contrast: float, low: float, high: float, mask: np.ndarray | None = None
) -> MatchedImage:
    """Give an image a mean and a contrast (population std) that hold after clipping to low..high.

    I(gain, offset) = clip(gain * (image - m) * mask + mean + offset, low, high)
    m = sum(image * mask) / sum(mask)

    Gains grow (or shrink) in steps of 5 % from contrast/std(I(1, 0)) until the contrast is passed; the
    nearest is kept. For each gain the offset, of 1000 from -30 to 30, is the one that brings the mean
    nearest. Mean and contrast are those of the whole frame, background included. Units are those of the
    image.

    Differs from the published search: equally good offsets are decided by the smallest, then the positive one
    (there by rounding); a gain of exactly 1 ends the search (there it never ends); all offsets come from one
    sorted cumulative sum (there from 1000 copies of the image).

    Args:
        image: (y, x).
        mask: (y, x) weights, 1 everywhere by default.

    Returns:
        MatchedImage; `unmasked` has the same gain and offset without the mask. A flat image (std < 1e-8)
        comes back flat at `mean`, with a contrast of 0.

    Raises:
        ValueError: empty mask, non-finite image, mask of another shape, contrast <= 0, mean outside
            low..high.

    Source: adjust_img_stats.
    """
    image = np.asarray(image, dtype=float)
    mask = np.ones_like(image) if mask is None else np.asarray(mask, dtype=float)
    if mask.shape != image.shape:
        raise ValueError(f"match_stats: mask {mask.shape} and image {image.shape} differ in shape")
    if not np.isfinite(image).all() or not np.isfinite(mask).all():
        raise ValueError("match_stats: image and mask must be finite")
    if not (mask > 0).any():
        raise ValueError("match_stats: the mask is empty")
    if not (contrast > 0 and low <= mean <= high and low < high):
        raise ValueError(f"match_stats: impossible target {mean=}, {contrast=} within {low=}, {high=}")

    deviation = image - (image * mask).sum() / mask.sum()
    weighted = deviation * mask
    first_std = np.clip(weighted + mean, low, high).std()
    if first_std < FLAT_STD:
        unmasked = np.clip(deviation + mean, low, high)
        return MatchedImage(np.full_like(image, mean), unmasked, float(mean), 0.0, 1.0, 0.0)

    ranked = np.sort(weighted, axis=None)
    cumulative = np.concatenate([[0.0], np.cumsum(ranked)])
    gain = contrast / first_std
    direction = np.sign(np.log(gain))
    with np.errstate(divide="ignore"):
        saturating = max(high - mean, mean - low) / np.abs(deviation[mask > 0]).min()
    max_gain = min(saturating, MAX_GAIN)

    best = None
    while True:
        offset = _offset_nearest_mean(ranked, cumulative, gain, mean, low, high)
        candidate = np.clip(gain * weighted + mean + offset, low, high)
        std = candidate.std()
        if best is None or abs(std - contrast) < abs(best[1] - contrast):
            best = candidate, std, gain, offset
        if direction == 0 or (std - contrast) * direction > 0:
            break
        gain *= GAIN_STEP**direction
        if not MIN_GAIN <= gain <= max_gain:
            break

    matched, std, gain, offset = best
    unmasked = np.clip(gain * deviation + mean + offset, low, high)
    return MatchedImage(matched, unmasked, float(matched.mean()), float(std), float(gain), float(offset))


def _offset_nearest_mean(
    ranked: np.ndarray, cumulative: np.ndarray, gain: float, mean: float, low: float, high: float
) -> float:
    """Offset that brings the clipped mean nearest to `mean`, from sorted deviations and their running sum."""
    level = mean + OFFSETS
    below = np.searchsorted(ranked, (low - level) / gain)  # this many pixels clip at low
    up_to = np.searchsorted(ranked, (high - level) / gain)  # the pixels after these clip at high
    inside = gain * (cumulative[up_to] - cumulative[below]) + level * (up_to - below)
    means = (low * below + inside + high * (ranked.size - up_to)) / ranked.size
    error = np.abs(means - mean)
    tied = error <= error.min() + 1e-9 * (high - low)  # rounding must not decide between equals
    return OFFSETS[np.argmax(tied)]


def match_many(
    images: np.ndarray, mean: float, contrast: float, low: float, high: float, mask: np.ndarray | None = None
) -> np.ndarray:
    """The images of `match_stats` for many finite images (..., y, x) behind one mask, in a fraction of its time.

    Returns:
        (..., y, x); a flat image is `mean` everywhere.

    Raises:
        ValueError: a mask of another shape, not finite or empty.
    """
    pixels = np.asarray(images, dtype=float).reshape(-1, images.shape[-2] * images.shape[-1])
    if len(pixels) == 1:  # the plain search is faster for one
        return match_stats(images.reshape(images.shape[-2:]), mean, contrast, low, high, mask).image.reshape(
            images.shape
        )
    mask = np.ones(images.shape[-2:]) if mask is None else np.asarray(mask, dtype=float)
    if mask.shape != images.shape[-2:] or not np.isfinite(mask).all() or not (mask > 0).any():
        raise ValueError(f"match_many: a finite mask {images.shape[-2:]} that is not empty is needed, got {mask.shape}")
    mask = mask.ravel()
    deviation = pixels - (pixels * mask).sum(axis=1, keepdims=True) / mask.sum()
    weighted = deviation * mask
    first_std = np.clip(weighted + mean, low, high).std(axis=1)
    active = np.flatnonzero(first_std >= FLAT_STD)
    gain = contrast / np.maximum(first_std, FLAT_STD)
    direction = np.sign(np.log(gain))
    with np.errstate(divide="ignore"):
        saturating = max(high - mean, mean - low) / np.abs(deviation[:, mask > 0]).min(axis=1)
    max_gain = np.minimum(saturating, MAX_GAIN)
    offset, excess = np.zeros((2, len(gain)))
    best = np.zeros((3, len(gain)))  # error, gain, offset; a flat image stays flat
    best[0, active] = np.inf
    ranked = _Ranked(weighted[:, mask > 0], int((mask <= 0).sum()), mean, low, high)
    while len(active):
        offset[active] = ranked.nearest_offset(active, gain[active])
        excess[active] = ranked.mean_and_std(active, gain[active], offset[active])[1] - contrast
        best = np.where(np.abs(excess) < best[0], [np.abs(excess), gain, offset], best)
        active = active[(direction[active] != 0) & (excess[active] * direction[active] <= 0)]
        gain[active] *= GAIN_STEP ** direction[active]
        active = active[(gain[active] >= MIN_GAIN) & (gain[active] <= max_gain[active])]
    _, gain, offset = best[:, :, None]
    return np.clip(gain * weighted + mean + offset, low, high).reshape(images.shape)


class _Ranked:
    """Mean and std of many images (image, pixel) at any gain and offset, from one sort and its running sums.

    Args:
        deviation: of the pixels within the mask; outside, n_outside pixels deviate by 0.
    """

    def __init__(self, deviation: np.ndarray, n_outside: int, mean: float, low: float, high: float):
        self.n_outside, self.mean, self.low, self.high = n_outside, mean, low, high
        n_images, self.n_pixels = deviation.shape
        ranked = np.sort(deviation, axis=1)
        powers = np.stack([ranked, ranked**2])
        self.sums = np.concatenate([np.zeros((2, n_images, 1)), powers.cumsum(axis=2)], axis=2)
        # Images are ranked end to end, so that one search serves them all.
        self.reach = 1.5 * np.abs(deviation).max()
        self.starts = 2 * self.reach * np.arange(n_images)
        self.ranked = (ranked + self.starts[:, None]).ravel()

    def mean_and_std(self, images: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of clip(gain * deviation + mean + offset, low, high), for images[k], gain[k], offset[k]."""
        level, n = self.mean + offset, self.n_pixels
        clips = np.clip([(self.low - level) / gain, (self.high - level) / gain], -self.reach, self.reach)
        dark, bright = np.searchsorted(self.ranked, clips + self.starts[images]) - images * n
        first, second = self.sums[:, images, bright] - self.sums[:, images, dark]
        inside, bright = bright - dark, n - bright
        outside, n = np.clip(level, self.low, self.high), n + self.n_outside
        mean = (gain * first + level * inside + self.low * dark + self.high * bright + outside * self.n_outside) / n
        square = gain**2 * second + 2 * gain * level * first + level**2 * inside
        square = (square + self.low**2 * dark + self.high**2 * bright + outside**2 * self.n_outside) / n
        return mean, np.sqrt(np.maximum(square - mean**2, 0))

    def nearest_offset(self, images: np.ndarray, gain: np.ndarray) -> np.ndarray:
        """Offset that brings the mean nearest; the mean rises with the offset, so bisection finds its neighbors."""
        rising = np.sort(OFFSETS)
        below, above = np.zeros(len(images), dtype=int), np.full(len(images), len(rising) - 1)
        while (above - below).max() > 1:
            middle = (below + above) // 2
            dark = self.mean_and_std(images, gain, rising[middle])[0] <= self.mean
            below, above = np.where(dark, middle, below), np.where(dark, above, middle)
        pair = rising[[below, above]]
        smaller = np.abs(pair[0]) < np.abs(pair[1]) - 1e-9  # of equals the upper, positive one comes first
        ordered = np.stack([np.full(len(images), OFFSETS[0]), *np.where(smaller, pair, pair[::-1])])
        error = np.abs([self.mean_and_std(images, gain, offset)[0] - self.mean for offset in ordered])
        tied = error <= error.min(0) + 1e-9 * (self.high - self.low)
        return ordered[tied.argmax(0), np.arange(len(images))]
