"""The published test of the oracle: resampled true repeats against sets of trials of random images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy
import xarray as xr

from neurostatic.data.reliability.oracle import draws_at_a_time, oracles_of_draws, standardized
from neurostatic.data.reliability.repeats import Repeats, repeats_of
from neurostatic.problems import InputError
from neurostatic.statistics import welch_from_summary

MIN_BOOTSTRAP_REPEATS = 4  # OracleStims, one less than the oracle itself
BLOCK_UNITS = 256


def bootstrap_oracle(
    responses: np.ndarray,
    image: np.ndarray,
    seeds: Sequence[int] = range(100),
    *,
    min_repeats: int = MIN_BOOTSTRAP_REPEATS,
    block_units: int = BLOCK_UNITS,
) -> xr.Dataset:
    """BootstrapOracle: the oracle of resampled repeats and of as many trials of random images, for every seed.

    With s = min(number of images, least number of repeats), a seed draws for each image
        true: s of its trials, without replacement;
        null: s different images, any of them, and one trial of each;
    and correlates every trial drawn with the mean of the s - 1 others of its set, as the oracle does.

    Where all images have the same r <= number of images, as usual, s = r: every seed then draws all trials for true,
    and only the null varies. Images of a null set exclude each other, hence its correlation is below 0 where there is
    a signal, the more the fewer images there are.

    Upstream drew from NumPy's global state after np.random.seed(seed); here each seed has its own generator, so the
    draws are others than the published ones.

    Args:
        responses: (trial, unit), any real type.
        image: (trial,) identity of the image of each trial; images shown less than `min_repeats` times are left out.
        block_units: units worked on at a time; the result does not depend on it.

    Returns:
        true(seed, unit), null(seed, unit): correlations, NaN where all trials drawn of a unit are equal; attributes
        images_used, images_left_out, trials_drawn (s).

    Raises InputError if fewer than 2 images have enough repeats; ValueError if shapes do not fit.
    """
    repeats = repeats_of(responses, image, min_repeats)
    if len(repeats.count) < 2:
        raise InputError(
            f"bootstrap_oracle: {len(repeats.count)} images were shown at least {min_repeats} times, 2 are needed "
            f"({repeats.images_left_out} were shown less often)"
        )
    drawn = min(len(repeats.count), int(repeats.count.min()))
    of_seeds = [_draws(repeats, drawn, seed) for seed in seeds]
    correlations = {}
    for k, name in enumerate(("true", "null")):
        draws = np.array([both[k].ravel() for both in of_seeds])
        correlations[name] = (("seed", "unit"), _all_units(responses, repeats, draws, drawn, block_units))
    attributes = {
        "images_used": len(repeats.count),
        "images_left_out": repeats.images_left_out,
        "trials_drawn": drawn,
    }
    return xr.Dataset(correlations, coords={"seed": list(seeds)}, attrs=attributes)


def bootstrap_oracle_t_test(bootstrap: xr.Dataset) -> tuple[pd.DataFrame, float]:
    """BootstrapOracleTTest: does the oracle exceed that of random sets? Published, but not to be believed.

    Unit: Welch's two-tailed t test of its true against its null correlations, seeds as samples. Population: paired
    two-tailed t test over units of the means over seeds. Seeds resample the same trials and are not independent: the
    more seeds, the smaller p, signal or not. `permutation_p` is the honest test of a unit. Seeds whose draw has no
    correlation are left out, unit by unit.

    Args:
        bootstrap: what `bootstrap_oracle` returns.

    Returns:
        One row a unit: true, null (means over seeds), t, df, p (NaN below 2 seeds with a correlation); p of the
        population (NaN below 2 units or if all differ alike).
    """
    summary = []
    for name in ("true", "null"):
        values = bootstrap[name].transpose("seed", "unit").to_numpy()
        n = np.isfinite(values).sum(0)
        mean = np.divide(np.nansum(values, 0), n, out=np.full(n.shape, np.nan), where=n > 0)
        squares = np.nansum((values - mean) ** 2, 0)
        sem = np.sqrt(np.divide(squares, n * (n - 1.0), out=np.full(n.shape, np.nan), where=n > 1))
        summary += [mean, sem, n]
    t, df, p = welch_from_summary(*summary)
    units = pd.DataFrame({"true": summary[0], "null": summary[3], "t": t, "df": df, "p": p})
    difference = (units.true - units.null).dropna().to_numpy()
    if len(difference) < 2 or np.ptp(difference) == 0:
        return units, float("nan")
    paired = difference.mean() / (difference.std(ddof=1) / np.sqrt(len(difference)))
    return units, float(2 * scipy.stats.t.sf(abs(paired), len(difference) - 1))


def _draws(repeats: Repeats, drawn: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True and null draws of one seed, each (image, drawn): places among the repeated trials."""
    generator = np.random.default_rng(seed)
    images = np.arange(len(repeats.count))
    # Trials of each image in random order: the first `drawn` of them are a sample without replacement.
    shuffled = np.lexsort((generator.random(len(repeats.trials)), repeats.spread(images)))
    true = shuffled[repeats.first[:, None] + np.arange(drawn)]
    chosen = generator.permuted(np.tile(images, (len(images), 1)), axis=1)[:, :drawn]
    return true, repeats.first[chosen] + generator.integers(0, repeats.count[chosen])


def _all_units(responses: np.ndarray, repeats: Repeats, draws: np.ndarray, drawn: int, block_units: int) -> np.ndarray:
    """Oracle of every draw and unit, (draw, unit)."""
    correlation = np.full((len(draws), responses.shape[1]), np.nan)
    count = np.full(len(repeats.count), drawn)
    for units, block in repeats.blocks(block_units, responses):
        y = standardized(block)
        step = draws_at_a_time(repeats, len(block))
        for start in range(0, len(draws), step):
            correlation[start : start + step, units] = oracles_of_draws(y, draws[start : start + step], count)
    return correlation
