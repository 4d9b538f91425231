"""All that is known of the reliability of each unit, in one table."""

import numpy as np
import pandas as pd

from neurostatic.data.reliability.ceilings import cc_max, explainable_fraction, jackknife_ceiling
from neurostatic.data.reliability.oracle import oracle
from neurostatic.data.reliability.permutation import permutation_p
from neurostatic.data.reliability.repeats import MIN_ORACLE_REPEATS, Repeats


def reliability_table(
    responses: np.ndarray,
    image: np.ndarray,
    seed: int | np.random.Generator,
    *,
    n_permutations: int = 1000,
    min_repeats: int = MIN_ORACLE_REPEATS,
) -> pd.DataFrame:
    """Oracle, ceilings and the test of a signal for every unit, all from the same repeated trials.

    Args:
        responses: (trial, unit), any real type, not normalized.
        image: (trial,) identity of the image of each trial; images with fewer than `min_repeats` are left out.
        seed: of the shuffles of `permutation_p`, or their generator.

    Returns:
        One row a unit, in the order of `responses`: oracle, oracle_spearman, jackknife (`jackknife_ceiling`), cc_max,
        explainable (fraction of the explainable variance), p_repeat (`permutation_p`), n_images, n_trials (used for
        all of them). What is not defined for a unit is NaN.

    Raises ValueError if shapes do not fit or `n_permutations` is below 1.
    """
    repeats = Repeats.of(image, min_repeats)
    return pd.DataFrame(
        {
            "oracle": oracle(responses, image, min_repeats=min_repeats),
            "oracle_spearman": oracle(responses, image, "spearman", min_repeats=min_repeats),
            "jackknife": jackknife_ceiling(responses, image, min_repeats=min_repeats),
            "cc_max": cc_max(responses, image, min_repeats=min_repeats),
            "explainable": explainable_fraction(responses, image, min_repeats=min_repeats),
            "p_repeat": permutation_p(responses, image, seed, n_permutations=n_permutations, min_repeats=min_repeats),
            "n_images": len(repeats.count),
            "n_trials": len(repeats.trials),
        },
        index=pd.RangeIndex(responses.shape[1], name="unit"),
    )
