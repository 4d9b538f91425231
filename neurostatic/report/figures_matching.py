"""Figures of cell matching: how sure the matches are, and where in the stack cells were found and lost."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurostatic.report.figures_closed_loop import MANY_CELLS
from neurostatic.report.style import BLUE, CNN, DPI, GRAY, LIGHT, ORANGE, YELLOW, finite, name_axes, panels

# Least posterior of a class of matches, its name, its color; the surest first
POSTERIOR_CLASSES = ((0.9, "0.9 and more", BLUE), (0.5, "0.5 to 0.9", YELLOW), (0.0, "below 0.5", ORANGE))
SOURCE_UM, MATCH_UM = ["src_x_um", "src_y_um", "src_z_um"], ["x_um", "y_um", "z_um"]
VIEWS = (("from above", 0, 1), ("from the side", 0, 2))  # name, axis across, axis down
AXIS_NAMES = ("x (µm)", "y (µm)", "depth z (µm)")
MAGNIFICATIONS = (50, 20, 10, 5, 2)
MAX_DRAWN_SHARE = 0.07  # of the stack's width, of a magnified displacement
SCANS_IN_A_ROW = 3
MAX_DISTANCE_BINS = 40
MAX_UPRIGHT_LABELS = 4


def posterior_classes(posterior: pd.Series) -> list[tuple[str, str, np.ndarray]]:
    """Name, color and members (match,) of each class of matches; the last one holds those without a posterior."""
    values, classes, above = posterior.to_numpy(dtype=float), [], np.inf
    for least, name, color in POSTERIOR_CLASSES:
        classes.append((name, color, (values >= least) & (values < above)))
        above = least
    return [*classes, ("not known", GRAY, np.isnan(values))]


def match_figure(matches: pd.DataFrame, unmatched: pd.DataFrame) -> Figure:
    """How far matched cells lie apart, how many stacks agree on the match, and how probable it is.

    Args:
        matches: displacement_um, mean_distance_um, runner_up_um, match_freq, total_stacks, posterior of each match.
        unmatched: posterior of the best candidate of each unit without a match.
    """
    figure, axes = panels(9.4, 3.1, n_columns=3)
    _draw_distances(axes[0], matches)
    votes = matches.groupby(["total_stacks", "match_freq"]).size()
    labels = [f"{winner:.0f} of {total:.0f}" for total, winner in votes.index]
    bars = axes[1].bar(range(len(votes)), votes.to_numpy(), color=LIGHT, edgecolor=GRAY, width=0.5)
    axes[1].bar_label(bars, fontsize=9)
    axes[1].set_xticks(range(len(votes)), labels, rotation=90 if len(votes) > MAX_UPRIGHT_LABELS else 0)
    axes[1].set_xlim(-1, max(len(votes), 1))
    axes[1].margins(y=0.1)
    name_axes(axes[1], "votes for the match", "structural stacks that agree", "matches")

    posterior, bins = matches.posterior.to_numpy(dtype=float), np.linspace(0, 1, 21).tolist()
    for _, color, of_class in posterior_classes(matches.posterior)[:-1]:
        axes[2].hist(posterior[of_class], bins=bins, color=color)
    known, refused = finite(posterior), finite(unmatched.posterior)
    if len(refused):
        label = f"refused: {len(refused)}"
        axes[2].hist(refused, bins=bins, histtype="step", color="black", linewidth=1.2, label=label)
        axes[2].legend(fontsize=8.5, frameon=False, loc="upper center")
    title = f"0.9 and more: {(known >= 0.9).sum()} of {len(known)} matches"
    name_axes(axes[2], title if len(known) else "no posterior", "posterior of the match", "matches")
    axes[2].set_xlim(0, 1)
    return figure


def _draw_distances(axis: Axes, matches: pd.DataFrame) -> None:
    near = matches.displacement_um.fillna(matches.mean_distance_um)  # there is no displacement by structural cells
    distance, runner_up = finite(near), finite(matches.runner_up_um)
    longest = np.append(distance, runner_up).max(initial=1.0)
    edges = np.arange(0, longest + 1, max(1.0, np.ceil(longest / MAX_DISTANCE_BINS)))
    bins = [*edges, edges[-1] + edges[1]]
    axis.hist(distance, bins=bins, color=LIGHT, edgecolor=GRAY, label="matched cell")
    title = "no match"
    if len(distance):
        title = f"median {np.median(distance):.1f} µm (n = {len(distance)} matches)"
        axis.axvline(np.median(distance), color=CNN, linewidth=2)
    if len(runner_up):
        axis.hist(runner_up, bins=bins, histtype="step", color=ORANGE, linewidth=1.3, label="next nearest cell")
        axis.margins(y=0.3)
        axis.legend(fontsize=8.5, frameon=False, loc="upper right", borderaxespad=0)
    name_axes(axis, title, "distance (µm)", "matches")


def magnification(matches: pd.DataFrame) -> int:
    """How many times longer than they are displacements are drawn, so that they can be seen; 1 at least."""
    places = matches.dropna(subset=[*SOURCE_UM, *MATCH_UM])
    if places.empty:
        return 1
    source_um, match_um = places[SOURCE_UM].to_numpy(), places[MATCH_UM].to_numpy()
    usual_um = np.percentile(np.linalg.norm(match_um - source_um, axis=1), 90)
    width_um = np.ptp(source_um[:, 0])
    return next((times for times in MAGNIFICATIONS if times * usual_um <= MAX_DRAWN_SHARE * width_um), 1)


def map_figure(matches: pd.DataFrame, unmatched: pd.DataFrame, scans: list[str]) -> Figure:
    """Where in the stack the source units lie, how far each one's match is displaced, and which were lost.

    Args:
        matches: scan, posterior, src_x_um, src_y_um, src_z_um, x_um, y_um, z_um of each match.
        unmatched: scan, src_x_um, src_y_um, src_z_um of each source unit that was not found.
        scans: of which there is a panel each, with a view from above and one from the side.
    """
    times = magnification(matches)
    everywhere = pd.concat([matches[SOURCE_UM], unmatched[SOURCE_UM]]).dropna().to_numpy(dtype=float)
    center, half = (everywhere.max(0) + everywhere.min(0)) / 2, np.ptp(everywhere, axis=0) / 2
    half = np.maximum(1.05 * half, 0.12 * half.max()) + MAX_DRAWN_SHARE * half[0] + 5
    n_columns = min(SCANS_IN_A_ROW, len(scans))
    n_blocks = -(-len(scans) // n_columns)
    side_by_side = len(scans) == 1  # the views, which else lie one below the other
    heights = [half[down] / half[0] for _, _, down in VIEWS]
    shape = (1, len(VIEWS)) if side_by_side else (len(VIEWS) * n_blocks, n_columns)
    panel_in = 9.4 / shape[1] - 0.75
    rows_in = [panel_in * max(heights)] if side_by_side else [panel_in * height for height in heights * n_blocks]
    figure = Figure(figsize=(9.4, sum(rows_in) + 0.7 * len(rows_in) + 0.5), dpi=DPI, layout="constrained")
    axes = figure.subplots(*shape, squeeze=False, height_ratios=rows_in)
    for axis in axes.ravel():
        axis.set_axis_off()
    for i, scan in enumerate(scans):
        found, lost = (table[table.scan == scan] for table in (matches, unmatched))
        for j, (view, across, down) in enumerate(VIEWS):
            block, column = divmod(i, n_columns)
            axis = axes[0, j] if side_by_side else axes[len(VIEWS) * block + j, column]
            axis.set_axis_on()
            _draw_places(axis, found, lost, (across, down), times)
            title = f"{scan}: {len(found)} of {len(found) + len(lost)} found" if j == 0 else view
            name_axes(axis, title, AXIS_NAMES[across], AXIS_NAMES[down])
            axis.set(xlim=center[across] + half[across] * np.array([-1, 1]),
                     ylim=center[down] + half[down] * np.array([1, -1]), aspect="equal")  # fmt: skip
            axis.tick_params(labelsize=8)
    handles = [
        Line2D([], [], linestyle="", marker="o", color=color, label=f"posterior {name}")
        for name, color, of_class in posterior_classes(matches.posterior)
        if of_class.any()
    ]
    handles.append(Line2D([], [], linestyle="", marker="x", color="black", label="lost"))
    handles.append(Line2D([], [], color=GRAY, label=f"displacement × {times}"))
    figure.legend(handles=handles, fontsize=9, frameon=False, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_places(axis: Axes, found: pd.DataFrame, lost: pd.DataFrame, shown: tuple[int, int], times: int) -> None:
    """One scan seen along one axis of the stack."""
    source_um, match_um = (found[names].to_numpy(dtype=float)[:, shown] for names in (SOURCE_UM, MATCH_UM))
    for _, color, of_class in posterior_classes(found.posterior):
        start = source_um[of_class]
        end = start + times * (match_um[of_class] - start)
        axis.add_collection(LineCollection(list(zip(start, end, strict=True)), colors=color, linewidths=1.0, zorder=2))
        size = 16 if len(found) <= MANY_CELLS else 10
        axis.scatter(start[:, 0], start[:, 1], s=size, color=color, zorder=3, edgecolors="white", linewidths=0.3)
    lost_um = lost[SOURCE_UM].to_numpy(dtype=float)[:, shown]
    axis.scatter(lost_um[:, 0], lost_um[:, 1], s=20, color="black", marker="x", linewidths=1.1, zorder=4)
