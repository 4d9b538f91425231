"""Ceilings beside the oracle: how well could any model do, and how much of that does this one reach?

All rest on y_ij = signal of image i + noise: m_i is the mean and s_i^2 the variance (divisor r_i - 1) over the r_i
repeats of image i, I the number of images, V the variance over images (divisor I - 1). Every image weighs the same,
however often it was shown, and brings its own r_i and its own noise. A unit gets NaN, never a warning, where a ceiling
is not defined: it is constant, has a NaN, its signal power is not positive, or fewer than 2 images are repeated.
"""

import numpy as np

from neurostatic.data.reliability.repeats import (
    BLOCK_UNITS,
    MIN_ORACLE_REPEATS,
    Repeats,
    constant_units,
    repeats_of,
)
from neurostatic.statistics import pearson


def signal_power(responses: np.ndarray, image: np.ndarray, *, min_repeats: int = MIN_ORACLE_REPEATS) -> np.ndarray:
    """Signal power SP: variance over images of the noiseless response.

    SP = V(m_i) - (1/I) sum_i s_i^2 / r_i

    Unbiased for any r_i and any noise variance of each image, hence below 0 for about half of the units without a
    signal; 0 for constant units. With equal repeats it is the estimate of Sahani & Linden 2003 and of Schoppe et al.
    2016 averaged over all ways of numbering the repeats of each image (theirs pairs the k-th repeats of all images).

    Args:
        responses: (trial, unit), any real type.
        image: (trial,) identity of the image of each trial; images with fewer than `min_repeats` are left out.

    Returns:
        (unit,) in squared units of the responses. Raises ValueError if shapes do not fit.
    """
    return _powers(responses, image, min_repeats)[0]


def noise_power(responses: np.ndarray, image: np.ndarray, *, min_repeats: int = MIN_ORACLE_REPEATS) -> np.ndarray:
    """Noise power NP: variance of a single trial around the mean of its image, averaged over images.

    NP = (1/I) sum_i s_i^2

    Args and errors: as `signal_power`. Returns (unit,) in squared units of the responses. Source: Sahani & Linden 2003.
    """
    return _powers(responses, image, min_repeats)[1]


def explainable_fraction(
    responses: np.ndarray, image: np.ndarray, *, min_repeats: int = MIN_ORACLE_REPEATS
) -> np.ndarray:
    """Fraction of explainable variance FEV: the part of a single trial's variance that the image explains.

    FEV = SP / (SP + NP)

    Cadena et al. 2019 take the variance of all trials pooled for SP + NP. Its expectation is lower, with equal repeats
    by exactly SP (r - 1) / (I r - 1), i.e. 1% of SP for 100 images; here it is not biased.

    Args and errors: as `signal_power`. Returns (unit,), 0 to 1.
    """
    signal, noise, _ = _powers(responses, image, min_repeats)
    return _where_signal(signal, signal, signal + noise)


def single_trial_ceiling(
    responses: np.ndarray, image: np.ndarray, *, min_repeats: int = MIN_ORACLE_REPEATS
) -> np.ndarray:
    """Correlation with single trials of a model that predicts the noiseless response: bounds the unit scores.

    ceiling = sqrt(FEV) = sqrt(SP / (SP + NP))

    neuralpredictors' `oracle_corr_conservative` is this ratio of variances without their correction, and too high.

    Args and errors: as `signal_power`. Returns (unit,), 0 to 1.
    """
    return np.sqrt(explainable_fraction(responses, image, min_repeats=min_repeats))


def cc_max(responses: np.ndarray, image: np.ndarray, *, min_repeats: int = MIN_ORACLE_REPEATS) -> np.ndarray:
    """CC_max: correlation with the mean over repeats of a model that predicts the noiseless response.

    CC_max = sqrt(SP / V(m_i)), which is sqrt(SP / (SP + NP / r)) for equal repeats

    Schoppe et al. 2016; their program divides V by I but SP by I - 1, here both have I - 1, so that CC_max <= 1.

    Args and errors: as `signal_power`. Returns (unit,), 0 to 1.
    """
    signal, _, of_means = _powers(responses, image, min_repeats)
    return np.sqrt(_where_signal(signal, signal, of_means))


def cc_abs(
    predicted: np.ndarray, responses: np.ndarray, image: np.ndarray, *, min_repeats: int = MIN_ORACLE_REPEATS
) -> np.ndarray:
    """CC_abs: correlation over images of prediction and response, both averaged over the repeats of an image.

    CC_abs = Cov(p_i, m_i) / sqrt(V(p_i) V(m_i))

    NaN where prediction or response is constant. Args and errors: as `cc_norm`. Returns (unit,).
    """
    repeats = repeats_of(responses, image, min_repeats)
    result = np.full(responses.shape[1], np.nan)
    if len(repeats.count) < 2:
        return result
    for units, model, block in repeats.blocks(BLOCK_UNITS, predicted, responses):
        absolute = pearson((repeats.sums(model) / repeats.count).T, (repeats.sums(block) / repeats.count).T)
        result[units] = np.where(constant_units(model), np.nan, absolute)
    return result


def cc_norm(
    predicted: np.ndarray, responses: np.ndarray, image: np.ndarray, *, min_repeats: int = MIN_ORACLE_REPEATS
) -> np.ndarray:
    """CC_norm: correlation of prediction and mean response as a fraction of the highest possible one.

    CC_norm = Cov(p_i, m_i) / sqrt(V(p_i) SP) = CC_abs / CC_max

    p_i is the mean prediction over the trials of image i. A perfect model has 1 on average, and may have more. NaN
    also where the prediction is constant. Source: Schoppe et al. 2016.

    Args:
        predicted: (trial, unit), whatever its scale and offset.
        Others and errors: as `signal_power`.

    Returns:
        (unit,).
    """
    absolute = cc_abs(predicted, responses, image, min_repeats=min_repeats)
    return absolute / cc_max(responses, image, min_repeats=min_repeats)


def feve(
    predicted: np.ndarray, responses: np.ndarray, image: np.ndarray, *, min_repeats: int = MIN_ORACLE_REPEATS
) -> np.ndarray:
    """FEVE: fraction of the explainable variance that a model explains.

    FEVE = 1 - (MSE - NP) / SP,   MSE = (1/I) sum_i (1/r_i) sum_j (y_ij - p_ij)^2

    A perfect model of the noiseless response has 1, the best constant about 0, a worse model less than 0; one that
    also predicts the noise from behavior may have more than 1. Cadena et al. 2019 write the variance of all trials,
    less NP, for SP; see `explainable_fraction` for the difference. With equal repeats 1 - FEVE is theirs times
    r (I - 1) / (I r - 1).

    Args:
        predicted: (trial, unit), in units of the responses.
        Others and errors: as `signal_power`.

    Returns:
        (unit,).
    """
    repeats = repeats_of(responses, image, min_repeats)
    result = np.full(responses.shape[1], np.nan)
    for units, model, block in repeats.blocks(BLOCK_UNITS, predicted, responses):
        signal, noise, _ = _powers_of_block(block, repeats)
        error = (repeats.sums((block - model) ** 2) / repeats.count).mean(1)
        result[units] = 1 - _where_signal(signal, error - noise, signal)
    return result


def jackknife_ceiling(responses: np.ndarray, image: np.ndarray, *, min_repeats: int = MIN_ORACLE_REPEATS) -> np.ndarray:
    """Jackknife ceiling: over images, one repeat against the mean of the rest, averaged over the repeats.

    c_k = Pearson_i(y_ik, (r_i m_i - y_ik) / (r_i - 1)); ceiling = mean of c_k over k = 1 ... min_i r_i

    The oracle correlates the same pairs, but all repeats at once, where the trial left out of its own prediction pulls
    the result below 0; here every c_k takes each image once and is 0 on average without a signal. It tends to the same
    value as the oracle with many images. Repeats beyond the least r_i count in the means only; repeats are numbered in
    the order they were recorded. A repeat in which the unit answers all images alike has no correlation and counts 0:
    left out, it would flatter units that are mostly silent. This is the lower bound of Nili et al. 2014; what Sensorium
    calls the jackknife oracle is `oracle`.

    Args and errors: as `signal_power`. Returns (unit,), -1 to 1.
    """
    repeats = repeats_of(responses, image, min_repeats)
    result = np.full(responses.shape[1], np.nan)
    if len(repeats.count) < 2:
        return result
    for units, block in repeats.blocks(BLOCK_UNITS, responses):
        others = repeats.leave_one_out(block)
        total = np.zeros(len(block))
        n_repeats = repeats.count.min()
        for k in range(n_repeats):
            # take, unlike an index, leaves units first in memory
            pair = [np.take(values, repeats.first + k, axis=1).T for values in (block, others)]
            total += np.nan_to_num(pearson(*pair))
        undefined = constant_units(block) | np.isnan(block).any(1)
        result[units] = np.where(undefined, np.nan, total / n_repeats)
    return result


def _powers(responses: np.ndarray, image: np.ndarray, min_repeats: int) -> np.ndarray:
    """Signal power, noise power and the variance of the mean responses, (3, unit)."""
    repeats = repeats_of(responses, image, min_repeats)
    powers = np.full((3, responses.shape[1]), np.nan)
    for units, block in repeats.blocks(BLOCK_UNITS, responses):
        powers[:, units] = _powers_of_block(block, repeats)
    return powers


def _powers_of_block(block: np.ndarray, repeats: Repeats) -> np.ndarray:
    if len(repeats.count) < 2:
        return np.full((3, len(block)), np.nan)
    means = repeats.sums(block) / repeats.count
    noise = repeats.sums((block - repeats.spread(means)) ** 2) / (repeats.count - 1)
    of_means = means.var(1, ddof=1)
    powers = np.stack([of_means - (noise / repeats.count).mean(1), noise.mean(1), of_means])
    return np.where(constant_units(block), 0.0, powers)


def _where_signal(signal: np.ndarray, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """A ratio where the signal power is positive, NaN elsewhere."""
    return np.divide(numerator, denominator, out=np.full(signal.shape, np.nan), where=signal > 0)
