"""How sure a match is: the displacements of cells found again against those of cells that are near by chance.

A cell of the source scan is in the target scan with probability pi, displaced by a Gaussian about the common shift of
the two scans; other cells are as dense about it as about places where it is certainly not, and no target is two cells.
The Gaussian may be wider in depth, where registrations err more, than in the plane of the image: with one width, right
matches would seem doubtful.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator, PPoly
from scipy.spatial import cKDTree

from neurostatic.closed_loop.matching import POSITION_COLUMNS, placed_units, shared_stacks

SEARCH_UM = 40.0  # candidates are up to this far away: 4 times the largest standard deviation
LARGEST_SIGMA_UM = 10.0
START_SIGMA_UM = 4.0
PRIOR_UM = 1.0  # as if one more cell were found, displaced by this on every axis: no estimate is exactly 0
DISPLACED_UM = (60.0, 100.0)  # of the places that stand for chance: farther than SEARCH_UM, yet in the same layer
N_PLACES = 10_000
FEWEST = 20  # chance neighbors up to the distance from which on their density is counted
STEPS, TOLERANCE = 500, 1e-6
MESSAGES = 50  # at most, back and forth
SUREST_LOG_ODDS = 23.0  # of a pair (1e10 : 1): larger ones would drown the others in rounding


@dataclass(frozen=True)
class ChanceDensity:
    """How many other cells are near by chance.

    N0(r), the number expected within r, is smooth and monotone between the knots (log N0 of log r). Below the first
    knot it is extrapolated as r^3: from that near, planes of cells with errors of depth look like a volume.

    Attributes:
        radius_um: (knot,) ascending.
        expected: (knot,) N0 at these radii, ascending.
    """

    radius_um: np.ndarray
    expected: np.ndarray

    @cached_property
    def _log_curve(self) -> PPoly:
        return PchipInterpolator(np.log(self.radius_um), np.log(self.expected))

    def log_per_um3(self, distance_um: np.ndarray) -> np.ndarray:
        """log of n0(r) / (4 pi r^2), n0 = dN0 / dr, the density in the volume at each distance."""
        log_radius = np.log(self.radius_um)
        inner = np.log(3 * self.expected[0] / (4 * np.pi)) - 3 * log_radius[0]
        if len(self.radius_um) == 1:
            return np.full(np.shape(distance_um), inner)
        log_r = np.log(np.clip(distance_um, self.radius_um[0], self.radius_um[-1]))
        slope = np.maximum(self._log_curve(log_r, 1), 0.1)  # where no chance neighbor was seen, one may be
        outer = self._log_curve(log_r) + np.log(slope / (4 * np.pi)) - 3 * log_r
        return np.where(distance_um < self.radius_um[0], inner, outer)


@dataclass(frozen=True)
class DisplacementModel:
    """What the two scans say of their matches.

    Attributes:
        present: pi, the probability that a source cell is in the target scan.
        sigma_um: (axis,) standard deviation of the displacement of a cell found again: sigma_x = sigma_y <= sigma_z.
        shift_um: stack -> (3,) common shift.
        chance: density of other cells.
        pairs: src_unit_id, unit_id, displacement_um, posterior; for every source unit all target units up to
            SEARCH_UM away. The displacement is less the common shift.
    """

    present: float
    sigma_um: np.ndarray
    shift_um: dict[str, np.ndarray]
    chance: ChanceDensity
    pairs: pd.DataFrame


@dataclass(frozen=True)
class _Pairs:
    """Near pairs: indices (pair,) of their units, displacement (stack, pair, axis), NaN where one has no position."""

    n_sources: int
    n_targets: int
    row: np.ndarray
    column: np.ndarray
    apart_um: np.ndarray

    def displacement_um(self, shift_um: np.ndarray) -> np.ndarray:
        """(pair, axis) displacement less the shift (stack, axis), averaged over stacks."""
        return _mean_over_stacks(self.apart_um - shift_um[:, None])


def fit_displacements(source: pd.DataFrame, target: pd.DataFrame, seed: int = 0) -> DisplacementModel:
    """Posterior of all near pairs; pi, sigma and the shifts by expectation maximization over all source units.

    Pairs weigh w_ij = pi / (1 - pi) f(d_ij) / (s nu(norm d_ij)), s the fraction of targets that are no source unit. A
    way to match the cells, each target once at most, weighs the product of its pairs; a posterior p_ij is the weight of
    all ways that have the pair, over that of all ways. It is approximated by belief propagation (Williams & Lau 2014),
    which is exact where candidates form no loops. d is the displacement less the common shift, averaged over the stacks
    in which both units have a position; f a Gaussian density with sigma_x = sigma_y <= sigma_z; nu(r) = n0(r) /
    (4 pi r^2) that of `ChanceDensity`. (Of one sigma, f / nu is the density of the distance, Maxwell's, over n0.)

    Common shifts of up to about 20 um, half the search radius, are found; with larger ones all matches are doubtful.
    How many stacks saw a pair makes no difference to sigma.

    Args:
        source, target: stack, unit_id, x_um, y_um, z_um; one row per stack and unit. All somata of both scans: what
            a match looks like is learned from them.
        seed: of the places where chance is measured.

    Raises:
        InputError: a table is malformed.
    """
    source, target = placed_units(source, target)
    stacks = shared_stacks(source, target)
    source_ids, here_um = _positions(source, stacks)
    target_ids, there_um = _positions(target, stacks)
    chance = _measure_chance(here_um, there_um, np.random.default_rng(seed))
    pairs = _near_pairs(here_um, there_um)

    present, strange, sigma_um, shift_um = 0.5, 0.5, np.full(3, START_SIGMA_UM), np.zeros((len(stacks), 3))
    posterior = _posterior(pairs, chance, present, strange, sigma_um, shift_um)
    for _ in range(STEPS):
        before = present, sigma_um
        found = posterior.sum()
        present = (found + 1) / (pairs.n_sources + 2)  # as if one more were found and one more lost
        strange = (pairs.n_targets - found + 1) / (pairs.n_targets + 2)
        shift_um = _shifts(pairs, posterior)
        square_um2 = posterior @ pairs.displacement_um(shift_um) ** 2 + PRIOR_UM**2
        square_um2[:2] = square_um2[:2].mean()
        if square_um2[2] < square_um2[0]:  # else strangers, all in the planes of the cells, would look like matches
            square_um2[:] = square_um2.mean()
        sigma_um = np.minimum(np.sqrt(square_um2 / (found + 1)), LARGEST_SIGMA_UM)
        posterior = _posterior(pairs, chance, present, strange, sigma_um, shift_um)
        if np.allclose(np.append(*before), np.append(present, sigma_um), rtol=TOLERANCE):
            break
    table = {
        "src_unit_id": source_ids[pairs.row],
        "unit_id": target_ids[pairs.column],
        "displacement_um": np.linalg.norm(pairs.displacement_um(shift_um), axis=-1),
        "posterior": posterior,
    }
    shifts = dict(zip(stacks, shift_um, strict=True))
    return DisplacementModel(float(present), sigma_um, shifts, chance, pd.DataFrame(table))


def match_doubt(matches: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Displacement, runner-up and posterior of each match.

    Args:
        matches: src_unit_id, unit_id, as of `best_match` or `one_to_one_match`.
        pairs: of the `DisplacementModel`.

    Returns:
        The matches with displacement_um, runner_up_um (the smallest displacement of another candidate; NaN if there
        is none) and posterior. A match beyond the search radius has no displacement (NaN) and posterior 0.
    """
    keys = ["src_unit_id", "unit_id"]
    doubt = matches.merge(pairs, on=keys, how="left").fillna({"posterior": 0.0})
    others = pairs.merge(matches[keys], on=keys, how="left", indicator="chosen")
    others = others[others["chosen"] == "left_only"].groupby("src_unit_id")["displacement_um"].min()
    doubt.insert(doubt.columns.get_loc("posterior"), "runner_up_um", doubt["src_unit_id"].map(others).astype(float))
    return doubt


def _posterior(
    pairs: _Pairs, chance: ChanceDensity, present: float, strange: float, sigma_um: np.ndarray, shift_um: np.ndarray
) -> np.ndarray:
    """(pair,) p_ij, by passing messages between source and target units until they agree."""
    apart_um = pairs.displacement_um(shift_um)
    log_density = -1.5 * np.log(2 * np.pi) - np.log(sigma_um).sum() - ((apart_um / sigma_um) ** 2).sum(-1) / 2
    log_ratio = np.log(present) - np.log1p(-present) - np.log(strange) + log_density
    weight = np.exp(np.minimum(log_ratio - chance.log_per_um3(np.linalg.norm(apart_um, axis=-1)), SUREST_LOG_ODDS))
    free = np.ones(len(weight))  # how free the target is for this source unit, in view of the others' claims
    for _ in range(MESSAGES):
        claim = weight / _without_own(pairs.row, weight * free)
        before, free = free, 1 / _without_own(pairs.column, claim)
        if np.allclose(free, before, rtol=0, atol=TOLERANCE):
            break
    return weight * free / (weight * free + _without_own(pairs.row, weight * free))


def _without_own(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(pair,) 1 + the sum of the values of all other pairs of its group."""
    if not len(values):
        return values
    return 1 + np.maximum(np.bincount(group, values)[group] - values, 0)


def _shifts(pairs: _Pairs, posterior: np.ndarray) -> np.ndarray:
    """(stack, axis) mean displacement in each stack, pairs weighted by their posterior; one more pair is at 0."""
    weight = np.where(np.isfinite(pairs.apart_um), posterior[:, None], 0)
    return (weight * np.nan_to_num(pairs.apart_um)).sum(1) / (weight.sum(1) + 1)


def _positions(table: pd.DataFrame, stacks: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids (unit,), ascending, of the units in these stacks; positions (stack, unit, axis), NaN where there is none."""
    table = table[table["stack"].isin(stacks)]
    unit_ids = np.unique(table["unit_id"].to_numpy())
    positions_um = np.full((len(stacks), len(unit_ids), 3), np.nan)
    place = pd.Index(stacks).get_indexer(table["stack"]), np.searchsorted(unit_ids, table["unit_id"].to_numpy())
    positions_um[place] = table[POSITION_COLUMNS].to_numpy(float)
    return unit_ids, positions_um


def _near_pairs(here_um: np.ndarray, there_um: np.ndarray) -> _Pairs:
    """All pairs up to SEARCH_UM apart, of positions (stack, unit, axis)."""
    n_sources, n_targets = here_um.shape[1], there_um.shape[1]
    codes = [np.empty(0, int)]
    for here, there in zip(here_um, there_um, strict=True):
        sources, targets = (np.flatnonzero(np.isfinite(points).all(-1)) for points in (here, there))
        trees = cKDTree(here[sources]), cKDTree(there[targets])
        found = trees[0].sparse_distance_matrix(trees[1], SEARCH_UM, output_type="ndarray")
        codes.append(sources[found["i"]] * n_targets + targets[found["j"]])
    row, column = np.divmod(np.unique(np.concatenate(codes)), max(n_targets, 1))
    apart_um = there_um[:, column] - here_um[:, row]
    near = np.linalg.norm(_mean_over_stacks(apart_um), axis=-1) <= SEARCH_UM
    return _Pairs(n_sources, n_targets, row[near], column[near], apart_um[:, near])


def _mean_over_stacks(apart_um: np.ndarray) -> np.ndarray:
    """(pair, axis) mean over the stacks, of (stack, pair, axis), in which there is a displacement."""
    there = np.isfinite(apart_um)
    return np.where(there, apart_um, 0).sum(0) / there.sum(0)


def _measure_chance(here_um: np.ndarray, there_um: np.ndarray, rng: np.random.Generator) -> ChanceDensity:
    """Neighbors of the source units moved within the plane of the image, where this stays in the target's field."""
    n_units = here_um.shape[1]
    copies = -(-N_PLACES // max(n_units, 1))
    angle = rng.uniform(0, 2 * np.pi, copies * n_units)
    length_um = rng.uniform(*DISPLACED_UM, copies * n_units)
    moved_um = np.tile(here_um, (1, copies, 1))
    moved_um[..., :2] += length_um[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    if there_um.size:
        low_um, high_um = (limit(there_um, axis=1, keepdims=True) for limit in (np.nanmin, np.nanmax))
        moved_um[((moved_um < low_um) | (moved_um > high_um))[..., :2].any(-1)] = np.nan
    n_places = max(1, np.isfinite(moved_um).all(-1).any(0).sum())
    near = _near_pairs(moved_um, there_um)
    distance_um = np.sort(np.linalg.norm(near.displacement_um(np.zeros((len(here_um), 3))), axis=-1))
    if not len(distance_um):  # fewer than one, at the edge of what was searched
        return ChanceDensity(np.array([SEARCH_UM]), np.array([1 / n_places]))
    # The knots' numbers of neighbors grow by a half: each is known about as well.
    counts = np.unique(np.append(FEWEST * 1.5 ** np.arange(60), len(distance_um)).astype(int))
    counts = counts[(counts >= min(FEWEST, len(distance_um))) & (counts <= len(distance_um))]
    # Of knots at one radius (positions on a grid) the last counts.
    radius_um, last = np.unique(np.maximum(distance_um[counts - 1], 1e-3)[::-1], return_index=True)
    return ChanceDensity(radius_um, counts[::-1][last] / n_places)
