"""How good must matches be, and how many repeats does a closed loop need? Virtual mice, of which the truth is known.

    python benchmarks/loop_power.py [mice]

Each mouse is shown images made for 30 of its cells on a later day; it is matched and tested as in the workflow, with
registration errors and repeats that are varied. Only the models are left out: images are as good as those that models
find. Writes docs/loop_power.png and the tables of docs/loop_power.md, which explains them. One thread.
"""

import dataclasses
import itertools
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy.stats import binomtest

from neurostatic.closed_loop.cells import match_cells
from neurostatic.closed_loop.confusion import pool_confusions, scan_confusion
from neurostatic.closed_loop.diagonal import diagonal_entries
from neurostatic.closed_loop.hypotheses import loop_tests
from neurostatic.config import Simulation, read_config
from neurostatic.report.style import BLUE, DPI, GRAY, GREEN, ORANGE, PURPLE, SKY, YELLOW, name_axes, panels
from neurostatic.simulation.cortex import GREY_PX, HEIGHT_PX, WIDTH_PX, Cortex, at_contrast, true_meis
from neurostatic.simulation.mouse import closed_loop_session, virtual_cortex
from neurostatic.simulation.photos import crop_photos, load_photos
from neurostatic.simulation.recording import SPONTANEOUS, Recording, Session, draw_events, record
from neurostatic.simulation.recovery import matches_correct
from neurostatic.simulation.stacks import register_stacks
from neurostatic.simulation.truth import ceiling

DOCS = Path(__file__).parents[1] / "docs"
FIRST_SEED = 101
N_CELLS = 1000  # about four times the density of the demo's tissue
N_UNITS, N_FEW = 30, 5  # cells with images of their own: of a loop, and of a very small one
JITTERS_UM = (1.0, 3.0, 5.0, 8.0)
REPEATS = (2, 5, 10, 20, 40)
MEI_DRIVE = 0.77  # true drive of MEIs over that of the best image, median of units: about as in the demo
CLOSE_RATIO = 1.14  # true response to MEIs over that to close controls, median of units: so close come its Gabors
MEI, RF, CLOSE = "cnn", "linear", "close"
RIDGES = np.geomspace(1e4, 1e10, 25)
MAX_DISTANCE_UM, ONE_TO_ONE_UM, MIN_POSTERIOR = 10.0, 20.0, 0.5
PERFECT, NEAREST, WITHIN, SURE, ONE_TO_ONE = "perfect", "nearest", "within", "sure", "one_to_one"
RULES = {  # name in the tables, color and marker in the figure
    NEAREST: ("nearest cell, no limit", ORANGE, "o"),
    WITHIN: (f"nearest, within {MAX_DISTANCE_UM:.0f} um", PURPLE, "s"),
    SURE: (f"nearest, posterior ≥ {MIN_POSTERIOR}", GREEN, "^"),
    ONE_TO_ONE: (f"one to one, posterior ≥ {MIN_POSTERIOR}", BLUE, "D"),
}
TESTS = {
    "diagonal_permutation": "diagonal, permutation",
    "own_best_permutation": "own image best, permutation",
    "mei_vs_control_wilcoxon": "MEI against control, Wilcoxon",
    "mean_difference": "mean difference, bootstrap",
    "ratio_of_means": "ratio of means, bootstrap",
}
WILCOXON = "mei_vs_control_wilcoxon"
MATRIX_TESTS = ("diagonal_permutation", "own_best_permutation")  # the control has no part in them
CONTROLS = {RF: "RF", CLOSE: "close control"}
SHOWN, WORST = (ONE_TO_ONE, 3.0), (NEAREST, 8.0)  # matches whose tests are shown: rule, jitter
JITTER = "registration error, um"
P_LIMIT = 0.05
N_NULL, NULL_REPEATS = 10, 10  # rounds a mouse
RANDOM_ORDER, DERANGED, EXCHANGED = "cells in random order", "cells deranged", "MEI and control exchanged"
N_PERMUTATIONS, N_RESAMPLES = 2000, 500


@dataclasses.dataclass(frozen=True)
class Mouse:
    """Two days of a virtual mouse.

    Attributes:
        source, target: the day that the cells were chosen on, and the day that they were shown their images on.
        units: one row a cell with images: unit_id (of the source day), cell_id, kind, and of each image the noiseless
            evoked response (cnn, linear, close) and the drive relative to the best image (..._drive).
        trials: image_class, image_id (unit_id of the owner), repeat (0 is the first); responses: (trial, soma).
    """

    seed: int
    source: Recording
    target: Recording
    units: pd.DataFrame
    trials: pd.DataFrame
    responses: np.ndarray


class LinearFields:
    """Ridge regression of responses on natural images; each cell's strength has the least leave-one-out error."""

    def __init__(self, images_px: np.ndarray):
        self.images_px = torch.as_tensor(images_px, dtype=torch.float32)
        pixels = images_px.reshape(len(images_px), -1)
        self.pixels = pixels - pixels.mean(0)
        self.power, self.vectors = np.linalg.eigh(self.pixels @ self.pixels.T)

    def fit(self, responses: np.ndarray) -> np.ndarray:
        """Linear receptive fields (cell, y, x) from responses (image, cell)."""
        projected = self.vectors.T @ (responses - responses.mean(0))
        least, weights = np.full(responses.shape[1], np.inf), np.zeros_like(projected)
        for ridge in RIDGES:
            shrink = 1 / (self.power + ridge)
            dual = self.vectors @ (shrink[:, None] * projected)
            error = ((dual / (self.vectors**2 @ shrink)[:, None]) ** 2).mean(0)
            better = error < least
            least[better], weights[:, better] = error[better], dual[:, better]
        return (self.pixels.T @ weights).T.reshape(-1, HEIGHT_PX, WIDTH_PX)


def natural_images(config: Simulation) -> np.ndarray:
    """Photos (image, 36, 64) as many as the demo shows on its first day; the same for all mice."""
    rng = np.random.default_rng([FIRST_SEED, 0])
    images_px = crop_photos(load_photos(config.photos), config.n_images, 4 * HEIGHT_PX, 4 * WIDTH_PX, rng)
    return images_px.reshape(-1, HEIGHT_PX, 4, WIDTH_PX, 4).mean((2, 4))


def make_mouse(seed: int, config: Simulation, fields: LinearFields, n_units: int = N_UNITS) -> Mouse:
    """Grow a mouse, choose cells that are seen on the source day, and show them their images on the target day.

    Cells are of the half that has the higher ceiling (the demo takes the half with the higher oracle); `n_units` of it
    at random.
    """
    rng = np.random.default_rng([seed, 4])
    config = dataclasses.replace(config, seed=seed)
    cortex = virtual_cortex(config)
    gray = np.full((1, HEIGHT_PX, WIDTH_PX), GREY_PX, np.uint8)
    table = pd.DataFrame({"image_class": ["gray"], "image_id": [0]})
    source = record(cortex, Session(1, "imagenet", 1, gray, table, np.array([0])), config, rng)

    rate = evoked(cortex, fields.images_px[:500])[:, source.visible] * source.cells.events.to_numpy()
    clearness = ceiling(rate, SPONTANEOUS * source.cells.events.to_numpy())
    rows = np.sort(rng.choice(np.argsort(clearness)[len(clearness) // 2 :], n_units, replace=False))
    owners = cortex.take(source.visible[rows])
    units = owners.cells[["cell_id", "kind"]].assign(unit_id=source.units.unit_id.to_numpy()[rows])
    images, truth = make_images(owners, fields, config.mei_contrast_px, seed)

    manifest = pd.DataFrame([(kind, unit) for kind in images for unit in units.unit_id])
    manifest.columns = ["image_class", "image_id"]
    pixels = np.rint(torch.cat(list(images.values())).numpy()).astype(np.uint8)
    target = record(cortex, closed_loop_session(config, 2, manifest, pixels), config, rng)
    responses = draw_events(target.rate + SPONTANEOUS * target.cells.events.to_numpy(), rng)
    trials = target.trials[["image_class", "image_id"]].copy()
    trials["repeat"] = trials.groupby(["image_class", "image_id"]).cumcount()
    return Mouse(seed, source, target, pd.concat([units, truth], axis=1), trials, responses)


def make_images(owners: Cortex, fields: LinearFields, contrast_px: float, seed: int):
    """MEI, RF and close control of each cell, all of one mean and contrast.

    Returns:
        image class -> (cell, y, x) px; and a table with the truth about them, as in `Mouse.units`.
    """
    best, _ = true_meis(owners, contrast_px, seed)
    generator = torch.Generator().manual_seed(seed)
    rf = torch.as_tensor(fields.fit(evoked(owners, fields.images_px)), dtype=torch.float32)
    images = {
        MEI: worsened(owners, best, contrast_px, MEI_DRIVE, generator),
        RF: at_contrast(rf, contrast_px),
        CLOSE: worsened(owners, best, contrast_px, MEI_DRIVE / CLOSE_RATIO, generator),
    }
    truth = {kind: own_evoked(owners, shown) for kind, shown in images.items()}
    truth |= {f"{kind}_drive": drive(owners, shown, best) for kind, shown in images.items()}
    return images, pd.DataFrame(truth)


def worsened(owners: Cortex, best: torch.Tensor, contrast_px: float, median_drive: float, generator) -> torch.Tensor:
    """Mix the best images with noise of their own spectrum so that the median drive of the cells is `median_drive`."""
    noise = torch.fft.rfft2(torch.randn(best.shape, generator=generator))
    noise = torch.fft.irfft2(noise / noise.abs() * torch.fft.rfft2(best - GREY_PX).abs(), s=best.shape[-2:])
    low, high = 0.0, 1.0
    for _ in range(20):  # bisection of the noise's share of the power
        share = (low + high) / 2
        mixed = at_contrast((1 - share) ** 0.5 * (best - GREY_PX) + share**0.5 * noise, contrast_px)
        low, high = (share, high) if np.median(drive(owners, mixed, best)) > median_drive else (low, share)
    return mixed


def evoked(cells: Cortex, images_px: torch.Tensor) -> np.ndarray:
    """Noiseless responses (image, cell)."""
    with torch.no_grad():
        return torch.cat([cells.evoked(batch) for batch in images_px.split(200)]).numpy()


def own_evoked(cells: Cortex, images_px: torch.Tensor) -> np.ndarray:
    """Noiseless response (cell,) of each cell to the image of its own."""
    with torch.no_grad():
        return cells.evoked(images_px[None])[0].numpy()


def drive(cells: Cortex, images_px: torch.Tensor, best_px: torch.Tensor) -> np.ndarray:
    """Response above gray, over that to the best image: (cell,)."""
    gray, found, best = (own_evoked(cells, px) for px in (torch.full_like(best_px, GREY_PX), images_px, best_px))
    return (found - gray) / (best - gray)


def stack_coordinates(recording: Recording, jitter_um: float, config: Simulation, rng: np.random.Generator):
    """Positions of the somata in every stack.

    In a stack, a cell's displacement between the two scans has four parts, an error of the field and one of the cell in
    either scan. Each has a standard deviation of jitter / 2 on every axis, so that the displacement has jitter.
    """
    other = recording.units.iloc[-1]  # registered as a soma that is no cell, and left out
    config = dataclasses.replace(config, stack_error_um=jitter_um / 2)
    table = register_stacks(recording, other, config, rng, rng).table
    return table[table.unit_id != other.unit_id]


def match_mouse(mouse: Mouse, jitter_um: float, config: Simulation) -> dict[str, pd.DataFrame]:
    """Matches of the cells with images by each rule: src_unit_id, unit_id, right (whether they are the same cell).

    Errors of different jitters differ in scale alone.
    """
    rng = np.random.default_rng([mouse.seed, 5])
    source, target = (stack_coordinates(day, jitter_um, config, rng) for day in (mouse.source, mouse.target))
    owners = mouse.units.unit_id.to_numpy()
    nearest, _ = match_cells(source, target, owners)
    single = {"one_to_one": True, "max_distance_um": ONE_TO_ONE_UM, "min_posterior": MIN_POSTERIOR}
    rules = {
        NEAREST: nearest,
        WITHIN: nearest[nearest.mean_distance_um <= MAX_DISTANCE_UM],
        SURE: nearest[nearest.posterior >= MIN_POSTERIOR],
        ONE_TO_ONE: match_cells(source, target, owners, **single)[0],
    }
    truths = [known_cells(day) for day in (mouse.source, mouse.target)]
    return {rule: matches.assign(right=matches_correct(*truths, matches)) for rule, matches in rules.items()}


def known_cells(recording: Recording) -> xr.Dataset:
    """cell_id of every soma, by unit_id."""
    ids = recording.units.unit_id.to_numpy()[: len(recording.cells)]
    return xr.Dataset({"cell_id": ("unit", recording.cells.cell_id.to_numpy())}, {"unit_id": ("unit", ids)})


def perfect_matches(mouse: Mouse) -> pd.DataFrame:
    """Every cell with images that is seen on the target day, matched with itself."""
    truth = known_cells(mouse.target)
    rows = pd.Index(truth.cell_id.values).get_indexer(mouse.units.cell_id)
    ids = {"src_unit_id": mouse.units.unit_id[rows >= 0].to_numpy(), "unit_id": truth.unit_id.values[rows[rows >= 0]]}
    return pd.DataFrame(ids).assign(right=True)


def rematched(matches: pd.DataFrame, rng: np.random.Generator, derange: bool) -> pd.DataFrame:
    """The same cells in random order; with `derange` none of them keeps its own place."""
    own = np.arange(len(matches))
    order = rng.permutation(own)
    while derange and (order == own).any():
        order = rng.permutation(own)
    return matches.assign(unit_id=matches.unit_id.to_numpy()[order], right=order == own)


def summarize(mouse: Mouse, matches: pd.DataFrame, control: str, n_repeats: int, swap=None) -> pd.DataFrame:
    """The pooled confusion table of a scan that showed MEIs and one kind of control, with its first repeats only.

    Args:
        swap: generator by which MEI and control are exchanged at random among the trials of each unit; None: they stay.
    """
    shown = ((mouse.trials["repeat"] < n_repeats) & mouse.trials.image_class.isin([MEI, control])).to_numpy()
    trials = mouse.trials[shown]
    image_class = trials.image_class
    if swap is not None:
        image_class = image_class.groupby(trials.image_id).transform(lambda labels: swap.permutation(labels.to_numpy()))
    unit_ids = mouse.target.units.unit_id.to_numpy()[: len(mouse.target.cells)]
    matched = np.flatnonzero(np.isin(unit_ids, matches.unit_id))
    table = scan_confusion(
        mouse.responses[np.ix_(shown, matched)],
        unit_ids[matched],
        image_class.to_numpy(),
        trials.image_id.to_numpy(),
        np.ones(len(trials), dtype=bool),
        matches,
        "normalized",
        {MEI: MEI, control: control},
    )
    return pool_confusions([table])


def run_tests(summary: pd.DataFrame, control: str) -> pd.Series:
    """p values of all tests of a loop that have one."""
    options = {"n_permutations": N_PERMUTATIONS, "n_resamples": N_RESAMPLES, "pair": (MEI, control)}
    tests = loop_tests({"loop": summary}, "normalized", 0, **options)
    return tests.set_index("test").p_value.dropna()


def true_diagonal(mouse: Mouse) -> tuple[float, float, float]:
    """Mean normalized response to a cell's MEI, in all repeats: of the cell, of its neighbor, and of all other cells.

    The neighbor is the cell nearest to it, in truth, of those seen on the target day.
    """
    shown = mouse.trials.image_class.isin([MEI, RF]).to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        normalized = mouse.responses / mouse.responses[shown].std(0, ddof=1)
    normalized[:, ~np.isfinite(normalized).all(0)] = np.nan
    places_um = [day.cells.set_index("cell_id")[["x_um", "y_um", "z_um"]] for day in (mouse.source, mouse.target)]
    own, neighbor, others = [], [], []
    for unit in mouse.units.itertuples():
        trials = (mouse.trials.image_class == MEI) & (mouse.trials.image_id == unit.unit_id)
        mean = pd.Series(normalized[trials].mean(0), places_um[1].index)
        own.append(mean.get(unit.cell_id, np.nan))
        mean = mean.drop(unit.cell_id, errors="ignore")
        distance_um = np.linalg.norm(places_um[1].loc[mean.index] - places_um[0].loc[unit.cell_id], axis=1)
        neighbor.append(mean.iloc[distance_um.argmin()])
        others.append(mean.mean())
    return float(np.nanmean(own)), float(np.nanmean(neighbor)), float(np.mean(others))


def study_mouse(
    mouse: Mouse, config: Simulation, jitters_um: tuple = JITTERS_UM, repeats: tuple = REPEATS, n_null: int = N_NULL
) -> dict[str, list[dict]]:
    """Rows of the tables matches, tests, units and null of one mouse."""
    rows: dict[str, list[dict]] = {"matches": [], "tests": [], "units": []}
    ideal = perfect_matches(mouse)
    own, neighbor, others = true_diagonal(mouse)
    judged: dict[tuple, tuple] = {}  # by the pairs: many errors and rules give the same matches
    for jitter_um in jitters_um:
        for rule, matches in {PERFECT: ideal, **match_mouse(mouse, jitter_um, config)}.items():
            where = {"seed": mouse.seed, "rule": rule, "jitter_um": jitter_um}
            right = matches["right"].mean()
            row = {"n": len(matches), "precision": right, "recall": matches["right"].sum() / len(ideal)}
            row |= {"neighbor": neighbor / own, "others": others / own}
            rows["matches"].append(where | row | {"expected": right + (1 - right) * row["neighbor"]})
            if len(matches) < 2:
                continue
            pairs = tuple(map(tuple, matches[["src_unit_id", "unit_id"]].to_numpy()))
            if pairs not in judged:
                judged[pairs] = judge(mouse, matches, repeats)
            diagonal, tests, units = judged[pairs]
            rows["matches"][-1]["measured"] = diagonal / own
            rows["tests"] += [where | {"size": "all"} | row for row in tests]
            rows["units"] += [where | row for row in units]
    few = ideal.sample(min(N_FEW, len(ideal)), random_state=mouse.seed)
    where = {"seed": mouse.seed, "rule": PERFECT, "jitter_um": 0.0, "size": "few"}
    rows["tests"] += [where | row for row in judge(mouse, few, repeats)[1]]
    rows["null"] = [{"seed": mouse.seed} | row for row in judge_nothing(mouse, ideal, n_null)]
    return rows


def judge(mouse: Mouse, matches: pd.DataFrame, repeats: tuple) -> tuple[float, list[dict], list[dict]]:
    """Mean diagonal in all repeats; p of every test, and how many single cells were found, by control and repeats."""
    tests, units = [], []
    for control in CONTROLS:
        for n_repeats in repeats:
            where = {"control": control, "n_repeats": n_repeats}
            summary = summarize(mouse, matches, control, n_repeats)
            tests += [where | {"test": test, "p": p} for test, p in run_tests(summary, control).items()]
            cells = diagonal_entries(summary, (MEI, control)).merge(mouse.units, on="unit_id")
            prefers, higher = cells[MEI] > cells[control], cells.diff_resp > 0
            found = {name: (higher & prefers & (cells[f"{name}_value"] < P_LIMIT)).sum() for name in "pq"}
            units.append(where | {"n_true": prefers.sum()} | found)
    every = summarize(mouse, matches, RF, mouse.trials["repeat"].max() + 1)
    return diagonal_entries(every, (MEI, RF)).mei_resp.mean(), tests, units


def judge_nothing(mouse: Mouse, ideal: pd.DataFrame, n_null: int) -> list[dict]:
    """p values where cells are not in their places, and where MEI and control are the same."""
    rows = []
    rng = np.random.default_rng([mouse.seed, 6])
    for control in CONTROLS:
        for _ in range(n_null):
            nulls = {
                RANDOM_ORDER: summarize(mouse, rematched(ideal, rng, derange=False), control, NULL_REPEATS),
                DERANGED: summarize(mouse, rematched(ideal, rng, derange=True), control, NULL_REPEATS),
                EXCHANGED: summarize(mouse, ideal, control, NULL_REPEATS, swap=rng),
            }
            for null, summary in nulls.items():
                where = {"control": control, "null": null}
                cells = diagonal_entries(summary, (MEI, control))
                over = {"over": cells.diff_resp.mean() / cells.control_resp.mean()}
                rows += [where | over | {"test": test, "p": p} for test, p in run_tests(summary, control).items()]
                rows += [where | {"test": "p", "p": p} for p in cells.p_value.dropna()]
                rows.append(where | {"test": "q", "p": cells.q_value.min()})  # any cell of the loop
    return rows


def study(n_mice: int) -> dict[str, pd.DataFrame]:
    """The tables of `study_mouse` of all mice, and `mice`: the cells with images of each."""
    config = dataclasses.replace(read_config(DOCS.parent / "config.yaml").simulation, n_cells=N_CELLS)
    fields = LinearFields(natural_images(config))
    rows: dict[str, list[dict]] = {}
    mice = []
    for seed in range(FIRST_SEED, FIRST_SEED + n_mice):
        mouse = make_mouse(seed, config, fields)
        made_s = time.process_time()
        for name, found in study_mouse(mouse, config).items():
            rows.setdefault(name, []).extend(found)
        mice.append(mouse.units.assign(seed=seed))
        print(f"mouse {seed}: made at {made_s:.0f} s, studied at {time.process_time():.0f} s", flush=True)
    return {name: pd.DataFrame(found) for name, found in rows.items()} | {"mice": pd.concat(mice, ignore_index=True)}


def found_power(found: dict[str, pd.DataFrame], rule: str, jitter_um: float) -> pd.DataFrame:
    """Fraction of mice whose test has p < 0.05, by (test, control) and repeats; by single cells: of cells (p and q)."""
    tests, units = (
        table[(table.rule == rule) & (table.jitter_um == jitter_um)] for table in (found["tests"], found["units"])
    )
    power = (tests.p < P_LIMIT).groupby([tests.test, tests.control, tests.n_repeats]).mean().unstack()
    cells = units.groupby(["control", "n_repeats"])[["n_true", "p", "q"]].sum()
    for name in "pq":
        fraction = (cells[name] / cells.n_true).unstack()
        power = pd.concat([power, fraction.set_index(pd.MultiIndex.from_product([[name], fraction.index]))])
    return power


def false_rates(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Fraction with p < 0.05, by (test, control) and kind of null."""
    null = found["null"]
    return null.assign(found=null.p < P_LIMIT).groupby(["test", "control", "null"]).found.mean().unstack()


def match_table(found: dict[str, pd.DataFrame]) -> str:
    """Quality of the matches, the diagonal, and what two of the tests find, by jitter and rule."""
    lines = [
        "| error | matches | cells | precision | recall | diagonal | expected "
        "| Wilcoxon, close control, 10 repeats | cells found, RF, 10 repeats |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    means = found["matches"].groupby(["jitter_um", "rule"]).mean(numeric_only=True)
    for jitter_um, rule in [(JITTERS_UM[0], PERFECT), *itertools.product(JITTERS_UM, RULES)]:
        row, power = means.loc[jitter_um, rule], found_power(found, rule, jitter_um)
        name = ["0", "the truth"] if rule == PERFECT else [f"{jitter_um:g} um", RULES[rule][0]]
        cells = [f"{row.n:.1f}", *(f"{row[column]:.3f}" for column in ("precision", "recall", "measured", "expected"))]
        cells += [f"{power.loc[(test, control), 10]:.2f}" for test, control in ((WILCOXON, CLOSE), ("q", RF))]
        lines.append(f"| {' | '.join(name + cells)} |")
    return "\n".join(lines)


def power_table(found: dict[str, pd.DataFrame]) -> str:
    """What each test finds by the number of repeats, and how often it finds something where nothing is."""
    power, false = found_power(found, *SHOWN), false_rates(found)
    worst = found_power(found, *WORST)
    few = found["tests"][found["tests"]["size"] == "few"]
    few = few.assign(found=few.p < P_LIMIT).groupby(["test", "control", "n_repeats"]).found.mean().unstack()
    heads = ["test", *(f"{n} repeats" for n in REPEATS), "10 repeats, worst matches", RANDOM_ORDER, DERANGED, EXCHANGED]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]

    def add(name: str, rates: pd.Series, *others: list[float]) -> None:
        values = [f"{value:.2f}" for value in [*rates, *others]]
        lines.append(f"| {' | '.join([name, *values])} |".replace("nan", "–"))

    for test, name in TESTS.items():
        for control in (RF,) if test in MATRIX_TESTS else CONTROLS:
            key, label = (test, control), name if test in MATRIX_TESTS else f"{name} ({CONTROLS[control]})"
            nulls = false.loc[key, [RANDOM_ORDER, DERANGED, EXCHANGED]].tolist()
            if test in MATRIX_TESTS:
                nulls[-1] = np.nan  # both images are the cell's own
            add(label, power.loc[key], worst.loc[key, 10], *nulls)
    for test in MATRIX_TESTS:
        add(f"{TESTS[test]}, {N_FEW} cells", few.loc[test, RF], *[np.nan] * 4)
    for name, label in (("p", "single cells, Welch p < 0.05"), ("q", "single cells, q < 0.05")):
        for control in CONTROLS:
            key = (name, control)
            nulls = [np.nan, np.nan, false.loc[key, EXCHANGED]]
            add(f"{label} ({CONTROLS[control]})", power.loc[key], worst.loc[key, 10], *nulls)
    return "\n".join(lines)


def draw(found: dict[str, pd.DataFrame], path: Path) -> None:
    """The figure of the page."""
    figure, axes = panels(12.0, 7.0, 3, 2)
    draw_matches(found["matches"], axes[:3])
    power, worst = found_power(found, *SHOWN), found_power(found, *WORST)
    tests = {
        ("diagonal_permutation", RF): ("diagonal", BLUE, "o"),
        ("own_best_permutation", RF): ("own image best", SKY, "D"),
        (WILCOXON, RF): ("Wilcoxon (RF)", ORANGE, "^"),
        (WILCOXON, CLOSE): ("Wilcoxon (close)", GREEN, "s"),
        ("ratio_of_means", CLOSE): ("ratio (close)", PURPLE, "v"),
    }
    cells = {
        ("p", RF): ("RF, p < 0.05", ORANGE, "^"),
        ("q", RF): ("RF, q < 0.05", YELLOW, "v"),
        ("p", CLOSE): ("close, p < 0.05", GREEN, "s"),
        ("q", CLOSE): ("close, q < 0.05", BLUE, "o"),
    }
    for axis, shown, legend_y in ((axes[3], tests, 0.07), (axes[4], cells, 0.28)):
        for key, (name, color, marker) in shown.items():
            axis.plot(power.loc[key], color=color, marker=marker, ms=5, lw=1.5, label=name)
            axis.plot(worst.loc[key], color=color, lw=1.5, ls=":")
        axis.axhline(P_LIMIT, color=GRAY, lw=1, ls="--")
        axis.set_xscale("log")
        axis.set_xticks(REPEATS, [str(n) for n in REPEATS])
        axis.minorticks_off()
        axis.set_ylim(0, 1.03)
        axis.legend(fontsize=9, frameon=False, loc="lower right", bbox_to_anchor=(1.02, legend_y))
    name_axes(axes[3], "d  tests of a loop", "repeats of each image", "loops with p < 0.05")
    name_axes(axes[4], "e  single cells", "repeats of each image", "found, of cells that prefer their MEI")
    draw_false(found, axes[5])
    figure.savefig(path, dpi=DPI)


def draw_matches(matches: pd.DataFrame, axes: list) -> None:
    """Precision, recall and the diagonal by registration error."""
    by = matches.groupby(["rule", "jitter_um"])[["precision", "recall", "measured", "expected"]]
    means, errors = by.mean(), by.sem()
    for place, (rule, (name, color, marker)) in enumerate(RULES.items()):
        at_um = means.loc[rule].index + 0.12 * (place - 1.5)  # side by side where they are equal
        style = {"color": color, "marker": marker, "ms": 5, "ls": "none", "label": name}
        for axis, points, line in zip(
            axes, ("precision", "recall", "measured"), ("precision", "recall", "expected"), strict=True
        ):
            axis.plot(at_um, means.loc[rule][line], color=color, lw=1.5)
            axis.errorbar(at_um, means.loc[rule][points], errors.loc[rule][points], **style)
    name_axes(axes[0], "a  matches that are right (precision)", JITTER, "fraction")
    name_axes(axes[1], "b  cells found again (recall)", JITTER, "fraction")
    name_axes(axes[2], "c  diagonal (lines: expected)", JITTER, "relative to perfect matches")
    for axis, low in zip(axes, (0.6, 0.0, 0.6), strict=True):
        axis.set_xticks(JITTERS_UM)
        axis.set_ylim(low, 1.03)
    axes[1].legend(fontsize=9, frameon=False, loc="lower left")


def draw_false(found: dict[str, pd.DataFrame], axis) -> None:
    """Rates of tests that should find nothing, with 95 % intervals as of independent tests."""
    rows = {
        "diagonal": ("diagonal_permutation", RF, RANDOM_ORDER),
        "own image best": ("own_best_permutation", RF, RANDOM_ORDER),
        "Wilcoxon (RF)": (WILCOXON, RF, EXCHANGED),
        "Wilcoxon (close)": (WILCOXON, CLOSE, EXCHANGED),
        "ratio (RF)": ("ratio_of_means", RF, EXCHANGED),
        "ratio (close)": ("ratio_of_means", CLOSE, EXCHANGED),
        "cells (RF)": ("p", RF, EXCHANGED),
        "cells (close)": ("p", CLOSE, EXCHANGED),
        "Wilcoxon (RF),\nother cells": (WILCOXON, RF, DERANGED),
    }
    null = found["null"].groupby(["test", "control", "null"]).p
    for place, key in enumerate(rows.values()):
        p_values = null.get_group(key)
        rate = (p_values < P_LIMIT).mean()
        low, high = binomtest(int((p_values < P_LIMIT).sum()), len(p_values)).proportion_ci()
        color = ORANGE if key[2] == DERANGED else BLUE
        axis.errorbar(rate, -place, xerr=[[rate - low], [high - rate]], color=color, marker="o", ms=5, lw=1.5)
    axis.axvline(P_LIMIT, color=GRAY, lw=1, ls="--")
    axis.set_yticks(-np.arange(len(rows)), list(rows))
    axis.set_xlim(0, None)
    name_axes(axis, "f  where there is nothing to find", "fraction with p < 0.05", "")


def summary_lines(found: dict[str, pd.DataFrame]) -> str:
    """What the mice and their images were, and how other cells respond."""
    mice, matches, null = found["mice"], found["matches"], found["null"]
    means = matches[["neighbor", "others"]].mean()
    drives = mice[[f"{kind}_drive" for kind in (MEI, RF, CLOSE)]].median()
    plain = mice.kind.isin(["linear", "simple"]).mean()
    seen = matches[matches.rule == PERFECT].n.mean() / N_UNITS
    ratios = [(mice[MEI] / mice[control]).median() for control in (RF, CLOSE)]
    prefer = [(mice[MEI] > mice[control]).mean() for control in (RF, CLOSE)]
    over = null[null.null == DERANGED].groupby("control").over.mean()
    return (
        f"- {mice.seed.nunique()} mice and {len(mice)} cells with images, {seen:.0%} of them seen on the second day; "
        f"{plain:.0%}\n  are linear or simple.\n"
        f"- True drive, of that of the best image: MEI {drives.iloc[0]:.2f}, RF {drives.iloc[1]:.2f}, close control "
        f"{drives.iloc[2]:.2f} (medians).\n  {prefer[0]:.0%} of the cells prefer the MEI to the RF, {prefer[1]:.0%} to "
        f"the close control; the response is {ratios[0]:.1f} and {ratios[1]:.2f} times\n  as high (medians).\n"
        f"- To a cell's MEI, its nearest neighbor responds {means.neighbor:.2f} of what the cell does, the mean of all "
        f"others {means.others:.2f}\n  (normalized responses).\n"
        f"- Deranged cells respond {over[RF]:.0%} more to the MEIs of others than to their RFs, and {over[CLOSE]:.0%} "
        "more than to\n  close controls."
    )


def write_page(found: dict[str, pd.DataFrame], page: Path) -> None:
    """Put the tables between their markers in the page."""
    text = page.read_text()
    measured = {"mice": summary_lines(found), "matches": match_table(found), "power": power_table(found)}
    for name, table in measured.items():
        start, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        head, rest = text.split(start)
        text = head + start + table + end + rest.split(end)[1]
    page.write_text(text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = study(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    draw(found, DOCS / "loop_power.png")
    write_page(found, DOCS / "loop_power.md")
