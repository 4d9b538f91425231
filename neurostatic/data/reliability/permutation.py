"""Does a unit repeat its responses at all? A test by shuffling, exact at any number of trials."""

import numpy as np

from neurostatic.data.reliability.oracle import draws_at_a_time, oracles_of_draws, standardized
from neurostatic.data.reliability.repeats import MIN_ORACLE_REPEATS, repeats_of

BLOCK_UNITS = 256  # 1000 trials x 256 units x 8 bytes stay in a processor's cache while thousands of draws read them


def permutation_p(
    responses: np.ndarray,
    image: np.ndarray,
    seed: int | np.random.Generator,
    *,
    n_permutations: int = 1000,
    min_repeats: int = MIN_ORACLE_REPEATS,
    block_units: int = BLOCK_UNITS,
) -> np.ndarray:
    """Probability of an oracle as high as a unit's own if its responses did not depend on the image.

    p = (1 + #{oracle of shuffled trials >= oracle}) / (1 + n_permutations)

    The labels of the repeated trials are shuffled over all of them, each image keeping its number r_i. One-sided, and
    exact where trials are exchangeable: uniform for units without a signal, whatever the distribution of their noise.
    It is too small where they are not, e.g. if the repeats of an image follow each other while the responses drift.
    All units share the shuffles, so that their p values depend on each other as their responses do. This stands
    beside the published `bootstrap_oracle_t_test`, whose p values are far too small.

    Args:
        responses: (trial, unit), any real type.
        image: (trial,) identity of the image of each trial.
        seed: of the shuffles, or their generator.
        block_units: units worked on at a time; the result does not depend on it.

    Returns:
        (unit,) p values, at least 1 / (1 + n_permutations); NaN for constant units, units with a NaN, and where no
        image has enough repeats.

    Raises ValueError if shapes do not fit or `n_permutations` is below 1. Source: Phipson & Smyth 2010.
    """
    if n_permutations < 1:
        raise ValueError(f"n_permutations: at least 1, got {n_permutations}")
    repeats = repeats_of(responses, image, min_repeats)
    trials = np.arange(len(repeats.trials), dtype=np.int32)
    shuffles = np.random.default_rng(seed).permuted(np.tile(trials, (n_permutations, 1)), axis=1)
    p_values = np.full(responses.shape[1], np.nan)
    for units, block in repeats.blocks(block_units, responses):
        y = standardized(block)
        observed = oracles_of_draws(y, trials[None], repeats.count)
        step = draws_at_a_time(repeats, len(block))
        reached = np.zeros(len(block), dtype=int)
        for start in range(0, n_permutations, step):
            null = oracles_of_draws(y, shuffles[start : start + step], repeats.count)
            # Equal oracles may differ in their last digits with the order of their terms: they count as reached.
            reached += (null >= observed - 1e-10).sum(0)
        p_values[units] = np.where(np.isnan(observed[0]), np.nan, (1 + reached) / (1 + n_permutations))
    return p_values
