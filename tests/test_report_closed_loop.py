"""The report on closed loops: what was matched, what was left out, and every number of the tests."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from report_run import (
    CONSTANT,
    KINDS,
    LOOP,
    N_SELECTED,
    N_UNITS,
    SKIPPED,
    made,
    page_of,
    read,
    rows_of,
    words_of,
    write_loop_tables,
    write_tree,
)
from synthetic_loops import (
    LOST,
    confusion_and_diagonal,
    loop_tests_table,
    matching_tables,
    population_table,
)

from neurostatic.closed_loop.confusion import MODEL_TYPES, pool_confusions
from neurostatic.closed_loop.hypotheses import loop_tests
from neurostatic.config import STIMULUS_SETS
from neurostatic.problems import InputError
from neurostatic.report.figures_closed_loop import MODEL_TITLES, confusion_figure, diagonal_figure
from neurostatic.report.figures_matching import magnification, map_figure, match_figure
from neurostatic.report.figures_population import Cells, bars_figure
from neurostatic.report.methods import methods_section
from neurostatic.report.sections_closed_loop import closed_loop_in_short, closed_loop_section
from neurostatic.report.sections_matching import left_out_parts, matching_parts, skipped_scans
from neurostatic.report.sections_population import population_in_short, population_parts
from neurostatic.report.sections_summary import summary_section
from neurostatic.report.sections_tests import TESTS
from neurostatic.report.style import IMAGE_LOOKS
from neurostatic.store import write_arrays, write_table

# The pages that are looked at whole are made by fixtures of the module, as they are.
pytestmark = pytest.mark.usefixtures("quick_pictures")

BOTH = ("loop1", "loop2")
TITLE = "Do neurons prefer the image that was made for them?"
NOBODY = pd.DataFrame({"posterior": []})


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("run") / "results", with_loop=True)


@pytest.fixture(scope="module")
def page(tree):
    return page_of(tree, with_loop=True)


@pytest.fixture(scope="module")
def two_loops(tmp_path_factory):
    folder = write_tree(tmp_path_factory.mktemp("run") / "results", with_loop=True)
    first = read(folder, with_loop=True).loops["loop1"]
    diagonal, confusion = write_loop_tables(folder, "loop2", np.random.default_rng(8))
    population = population_table([first.diagonal, diagonal], [first.confusion, confusion])
    write_table(population, folder / "closed_loop/population.csv", made("summarize_population"))
    pooled = pd.concat([first.diagonal, diagonal.assign(q_value=1.0)]).rename(columns={"loop": "source"})
    write_table(pooled, folder / "closed_loop/population_diagonal.csv", made("summarize_population"))
    return folder


def shown_rows(tests: pd.DataFrame, kind: str) -> dict[str, list[str]]:
    """test -> the columns of the page's table beside the question, as they should be."""
    rows = {}
    for test, found in tests[tests.kind == kind].groupby("test", sort=False):
        lines = [
            [
                {"normalized": "normalized", "zscore": "z-scored"}[row.response],
                "" if np.isnan(row.statistic) else f"{row.statistic:.3g}",
                f"{row.estimate:.3f}",
                "–" if np.isnan(row.low) else f"{row.low:.3f} to {row.high:.3f}",
                "–" if np.isnan(row.p_value) else f"{row.p_value:.3g}",
                str(row.n),
            ]
            for row in found.sort_values("response").itertuples()
        ]
        effect = found.effect.iloc[0].replace("_", " ")
        rows[f"{test}\n{effect}"] = ["\n".join(cells) for cells in zip(*lines, strict=True)]
    return rows


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("mei_vs_rf", "Tests, MEI against RF."),
        ("mei_vs_natural", "Tests, masked MEI against masked natural image."),
    ],
)
def test_every_test_is_in_the_table_with_its_interval(tree, page, kind, title):
    tests = pd.read_csv(tree / "closed_loop/loop1/tests.csv")
    diagonal = pd.read_csv(tree / "closed_loop/loop1/diagonal.csv")
    shown = {row[0]: row[2:3] + row[4:] for row in rows_of(page, title)}
    wanted = {name: row[:1] + row[2:] for name, row in shown_rows(tests, kind).items()}
    corrected = {
        f"welch_{name}_greater_q05\nfraction": (diagonal[(diagonal.kind == kind) & (diagonal.q_value < 0.05)], sign)
        for name, sign in (("mei", 1), ("control", -1))
    }
    assert set(shown) == {*wanted, *corrected}
    assert {name: shown[name] for name in wanted} == wanted
    assert len(wanted["ratio_of_means\nratio"][0].split("\n")) == 1
    for name, (rows, sign) in corrected.items():
        counts = [(sign * rows.diff_resp[rows.response == r] > 0).sum() for r in ("normalized", "zscore")]
        assert shown[name][1] == "\n".join(f"{n / N_SELECTED:.3f}" for n in counts)
    statistics = {row[0].split("\n")[0]: row[3] for row in rows_of(page, title)}
    assert statistics["own_best_permutation"] == shown_rows(tests, kind)["own_best_permutation\nown best fraction"][1]


def test_tests_are_told_how_they_were_made(page):
    words = words_of(page)
    assert "by the bootstrap over cells (9000 resamples) with quantiles of t" in words
    assert "10000 permutations (seed 0)" in words
    assert "over animals" not in words_of(page.split('id="closed-loop"')[1].split("</section>")[0])


def test_two_loops_have_a_population(two_loops):
    results = read(two_loops, with_loop=True, loops=BOTH)
    page = closed_loop_section(results)
    words = words_of(page)
    population = pd.read_csv(two_loops / "closed_loop/population.csv")
    rows = rows_of(page, "Tests, MEI against Gabor, all loops together.")
    wanted = shown_rows(population, "mei_vs_gabor")["mei_mean\nmean"]
    (of_mean,) = (row for row in rows if row[0] == "mei_mean\nmean")
    assert of_mean[2:] == [*wanted[:1], "–\n–", *wanted[2:], "2\n2"]
    assert wanted[-1] == "10\n10"
    assert "by the bootstrap over animals (9000 resamples)" in words
    of_kind = population[(population.kind == "mei_vs_rf") & (population.response == "normalized")].set_index("test")
    above = of_kind.estimate["mei_greater_fraction"]
    in_short = population_in_short(results)
    assert in_short[0][:3] == ["all loops", "MEI against RF", "10 of 2 animals"]
    assert in_short[0][6] == f"{100 * above:.0f} %"
    assert len(in_short) == 3 and not any("chance" in cell for row in in_short for cell in row)
    assert rows_of(summary_section(results), TITLE)[-3:] == in_short
    assert "of one animal" not in words
    first = results.loops["loop1"].diagonal.query("kind == @KINDS[0] and response == 'normalized'")
    more = int(((first.q_value < 0.05) & (first.diff_resp > 0)).sum())  # the others' q is 1 in the population's own
    assert more
    assert in_short[0][8].startswith(f"{more} : ")


def test_what_only_one_loop_showed_is_not_said_of_all(two_loops):
    results = read(two_loops, with_loop=True, loops=BOTH)
    loop = results.loops["loop2"]
    results.loops["loop2"] = replace(loop, targets={"day2": ["mei_vs_rf"]})
    assert [row[1] for row in population_in_short(results)] == ["MEI against RF"]
    section = "".join(population_parts(results))
    assert rows_of(section, "Tests, MEI against RF, all loops together.")
    assert "Tests, MEI against Gabor, all loops together." not in words_of(section)
    results.population.tests["n_animals"] = 1
    assert "of one animal: their agreement is no replication" in words_of("".join(population_parts(results)))


def test_one_loop_has_no_population(tree, page):
    results = read(tree, with_loop=True)
    assert results.population is None and population_in_short(results) == []
    assert "all loops" not in words_of(page).lower()
    with pytest.raises(InputError, match=r"closed_loop/loop2/matches\.csv: no such file"):
        read(tree, with_loop=True, loops=BOTH)


def test_what_was_left_out_is_counted_and_listed(page):
    assert f"Scan day4: {SKIPPED['day4']}." in words_of(page).replace("&lt;", "<").replace("&gt;", ">")
    counts = rows_of(page, "Left out, by reason.")
    constant = "responds alike in every trial: it cannot be normalized"
    assert counts == [
        ["no cell within 8 um: the nearest is … um away", "day3, day4", "3"],
        [SKIPPED["day4"], "day4", "1"],
        [constant, "day2", "1"],
    ]
    assert rows_of(page, "Left out, one by one.") == [
        ["day3", "1", "101", LOST.format(9.1)],
        ["day4", "1", "101", LOST.format(9.1)],
        ["day4", "3", "103", LOST.format(9.3)],
        ["day4", "every unit", "–", SKIPPED["day4"]],
        ["day2", str(CONSTANT["day2"]), "102", constant],
    ]
    assert "<summary>All 5 entries</summary>" in page


def test_nothing_left_out_is_said(tree):
    loop = read(tree, with_loop=True).loops["loop1"]
    assert len(skipped_scans(loop)) == 1
    loop = replace(loop, left_out=loop.left_out.iloc[:0])
    assert words_of("".join(left_out_parts(loop))).strip() == "What was left out Nothing was left out."
    assert skipped_scans(loop) == []


def test_oracle_scans_judge_the_matches(tree, page):
    (row,) = rows_of(page, "Matched cells and natural images.")
    assert row == ["day5", "5", "50", "0.432", "0.012", "0.0007", "80 %"]
    results = read(tree, with_loop=True)
    loop = results.loops["loop1"]
    for oracle, n_tables in ((loop.oracle, 1), (None, 0)):
        parts = matching_parts(replace(loop, oracle=oracle), results.datasets["mouse"])
        assert "".join(parts).count("<table>") == n_tables


def test_oracle_scans_are_no_targets(tree):
    results = read(tree, with_loop=True)
    loop = results.loops["loop1"]
    assert (loop.matches.scan == "day5").any()
    assert f"(n = {3 * N_SELECTED - 3} matches)" in match_title(loop.matches[loop.matches.scan != "day5"])
    loop.matches.loc[loop.matches.scan == "day5", "src_unit_id"] = 77
    of_scan = ", ".join(f"{n} in day{day}" for day, n in ((2, 5), (3, 4), (4, 3)))
    assert f"loop1: 5 of 5 units with a stimulus found again in at least one of 3 scans: {of_scan}." in words_of(
        "".join(closed_loop_in_short(results))
    )


def match_title(matches: pd.DataFrame) -> str:
    return match_figure(matches, NOBODY).axes[0].get_title(loc="left")


def test_doubt_is_counted():
    matches = pd.DataFrame({"posterior": [0.2, 0.5, 0.89, 0.9, 1.0, np.nan], "mean_distance_um": 3.0})
    matches = matches.assign(displacement_um=2.5, runner_up_um=9.0, match_freq=2, total_stacks=3)
    distance, votes, posterior = match_figure(matches, NOBODY).axes
    assert posterior.get_title(loc="left") == "0.9 and more: 2 of 5 matches"
    assert sum(patch.get_height() for patch in posterior.patches) == 5
    assert [label.get_text() for label in votes.get_xticklabels()] == ["2 of 3"]
    assert [text.get_text() for text in distance.get_legend().get_texts()] == ["matched cell", "next nearest cell"]
    without = matches.assign(posterior=np.nan, runner_up_um=np.nan)
    assert match_figure(without, NOBODY).axes[2].get_title(loc="left") == "no posterior"
    assert match_figure(without, NOBODY).axes[0].get_legend() is None
    refused = match_figure(matches, pd.DataFrame({"posterior": [0.1, 0.3, np.nan]})).axes[2]
    assert [text.get_text() for text in refused.get_legend().get_texts()] == ["refused: 2"]


def test_map_shows_each_unit_where_it_is():
    units = np.arange(40)
    lost = {"day2": [3, 5], "day3": [7]}
    matches, unmatched = matching_tables(units, ["day2", "day3"], lost, np.random.default_rng(0))
    times = magnification(matches)
    assert times > 1
    drawing = map_figure(matches, unmatched, ["day2", "day3"])
    above, _, side, _ = drawing.axes
    assert above.get_title(loc="left") == "day2: 38 of 40 found"
    of_scan = matches[matches.scan == "day2"]
    for axis, second in ((above, "y_um"), (side, "z_um")):
        start, end = of_scan[["src_x_um", f"src_{second}"]].to_numpy(), of_scan[["x_um", second]].to_numpy()
        lines = np.concatenate([np.array(c.get_segments()).reshape(-1, 2, 2) for c in axis.collections[:-1:2]])
        dots = np.concatenate([c.get_offsets() for c in axis.collections[1:-1:2]])
        order = np.lexsort(start.T)
        np.testing.assert_allclose(dots[np.lexsort(dots.T)], start[order])
        np.testing.assert_allclose(lines[np.lexsort(lines[:, 0].T), 1], (start + times * (end - start))[order])
        crosses = unmatched.loc[unmatched.scan == "day2", ["src_x_um", f"src_{second}"]].to_numpy()
        np.testing.assert_allclose(axis.collections[-1].get_offsets(), crosses)
    names = [text.get_text() for text in drawing.legends[0].get_texts()]
    assert names[-2:] == ["lost", f"displacement × {times}"]


def test_displacements_are_never_drawn_shorter():
    matches, _ = matching_tables(np.arange(5), ["day2"], {}, np.random.default_rng(0))
    assert magnification(matches.assign(x_um=matches.src_x_um + 1e4)) == 1
    assert magnification(matches.iloc[:0]) == 1


def test_differences_have_their_intervals_and_their_significance():
    cells = pd.DataFrame(
        {"mei_resp": [3.0, 2.0, 1.0, 1.0], "control_resp": [1.0, 1.0, 0.9, 2.0], "mei_sem": 0.1, "control_sem": 0.2,
         "diff_resp": [2.0, 1.0, 0.1, -1.0], "diff_low": [1.5, 0.1, -0.4, -1.2], "diff_high": [2.5, 1.9, 0.6, -0.8],
         "p_value": [0.001, 0.04, 0.6, 0.001], "q_value": [0.002, 0.06, 0.6, 0.002]}
    )  # fmt: skip
    drawing = diagonal_figure(cells, "mei_vs_rf")
    order = drawing.axes[1]
    intervals, *points = order.collections
    np.testing.assert_allclose([s[:, 1] for s in intervals.get_segments()], cells[["diff_low", "diff_high"]])
    assert [c.get_offsets()[:, 0].tolist() for c in points] == [[2], [], [3], [1], [0]]
    names = [text.get_text() for text in drawing.legends[0].get_texts()]
    assert names == ["MEI > RF, q < 0.05", "MEI > RF, only p < 0.05", "RF > MEI, q < 0.05", "RF > MEI, only p < 0.05",
                     "p ≥ 0.05"]  # fmt: skip


def test_bars_are_means_with_their_intervals(two_loops):
    results = read(two_loops, True, BOTH)
    groups = [Cells(name, loop.tests, loop.diagonal) for name, loop in results.loops.items()]
    both = Cells("all", results.population.tests, results.population.diagonal)
    axes = bars_figure([*groups, both], KINDS[:2]).axes
    assert len(axes) == 2
    axis = axes[1]
    labels = [label.get_text().split("\n") for label in axis.get_xticklabels()]
    assert [label[:2] for label in labels] == [["loop1", "n = 5"], ["loop2", "n = 5"], ["all", "n = 10"]]
    for i, group in enumerate([*groups, both]):
        of_kind = group.tests[(group.tests.kind == "mei_vs_gabor") & (group.tests.response == "normalized")]
        of_kind = of_kind.set_index("test")
        assert labels[i][2] == f"ratio {of_kind.estimate['ratio_of_means']:.2f}"
        for j, image in enumerate(("mei", "control")):
            mean = of_kind.loc[f"{image}_mean"]
            assert axis.patches[4 * i + 2 * j].get_height() == pytest.approx(mean.estimate)
            (interval,) = axis.containers[3 * (2 * i + j) + 2].lines[2][0].get_segments()
            np.testing.assert_allclose(interval[:, 1], [mean.low, mean.high])
    row = both.tests[(both.tests.kind == "mei_vs_gabor") & (both.tests.response == "normalized")].set_index("test")
    title = axis.get_title(loc="left")
    assert title.startswith(f"ratio of means {row.estimate['ratio_of_means']:.2f} ({row.low['ratio_of_means']:.2f} to ")
    p = row.p_value["ratio_of_means"]  # animals differ: the cells of one are not independent
    assert title.endswith(f"t test over 2 animals p = {p:.3g}, 10 cells of 2 animals")


def test_a_loop_without_a_kind_has_no_bars_there(tree):
    loop = read(tree, with_loop=True).loops["loop1"]
    without = Cells("other", loop.tests[loop.tests.kind == "mei_vs_rf"], loop.diagonal)
    first, second = bars_figure([Cells("loop1", loop.tests, loop.diagonal), without], KINDS[:2]).axes
    assert (len(first.get_xticks()), len(second.get_xticks())) == (2, 1)
    assert second.get_title(loc="left") == "no cell was tested"


def test_a_kind_without_data_is_said_and_the_rest_is_there(tree):
    results = read(tree, with_loop=True)
    loop = results.loops["loop1"]
    loop.confusion.mu.loc[{"kind": "mei_vs_gabor"}] = np.nan
    loop.confusion.n.loc[{"kind": "mei_vs_gabor"}] = 0
    of_kind = loop.tests.kind == "mei_vs_gabor"
    loop.tests.loc[of_kind, ["statistic", "p_value", "estimate", "low", "high"]] = np.nan
    loop.tests.loc[of_kind, "n"] = 0
    loop = replace(loop, diagonal=loop.diagonal[loop.diagonal.kind != "mei_vs_gabor"])
    results.loops["loop1"] = loop
    section = closed_loop_section(results)
    words = words_of(section)
    assert "MEI against Gabor No matched cell has responses to these images." in words
    assert rows_of(section, "Tests, MEI against RF.")
    (row,) = (row for row in rows_of(summary_section(results), TITLE) if row[1] == "MEI against Gabor")
    assert row == ["loop1", "MEI against Gabor", "0", *["–"] * 6]
    assert "nan" not in words.split()


def test_a_loop_whose_scans_were_all_skipped_is_a_page(tmp_path):
    folder = write_tree(tmp_path, with_loop=True)
    place = folder / "closed_loop/loop1"
    confusion = read(folder, with_loop=True).loops["loop1"].confusion
    for table in ("matches", "unmatched", "diagonal", "tests", "oracle"):
        pd.read_csv(place / f"{table}.csv").iloc[:0].to_csv(place / f"{table}.csv", index=False)
    skipped = pd.DataFrame(
        {"scan": list(LOOP["targets"]), "unit_id": np.nan, "target_unit_id": np.nan, "reason": "gone"}
    )
    skipped.to_csv(place / "left_out.csv", index=False)
    origin = json.loads((place / "diagonal.csv.json").read_text())
    empty = confusion.isel(kind=slice(0), model_type=slice(0), image_unit_id=slice(0), matched_unit_id=slice(0))
    write_arrays(empty, place / "confusion.zarr.zip", origin)
    words = words_of(page_of(folder, with_loop=True))
    for scan in LOOP["targets"]:
        assert f"Scan {scan}: gone." in words
    assert (
        "loop1: 0 of 5 units with a stimulus found again in at least one of 3 scans: 0 in day2, 0 in day3, 0 in"
        in words
    )
    assert words.count("No matched cell has responses to these images.") == len(KINDS)
    assert "No cell has responses to both its images." in words


def test_a_single_cell_is_a_page(tree):
    results = read(tree, with_loop=True)
    rng, units = np.random.default_rng(0), np.array([4])
    loop = results.loops["loop1"]
    confusion, diagonal = confusion_and_diagonal(units, KINDS, 1.5, "loop1", rng)
    matches, unmatched = matching_tables(units, list(LOOP["targets"]), {}, rng)
    changed = {"confusion": confusion, "diagonal": diagonal, "matches": matches, "unmatched": unmatched}
    changed["tests"] = loop_tests_table(confusion, diagonal, "loop1")
    results.loops["loop1"] = replace(loop, **changed)
    words = words_of(closed_loop_section(results))
    assert "Of 1 cell tested" in words
    assert "nan" not in words.split()


def test_methods_are_the_options_of_the_matching(tree):
    results = read(tree, with_loop=True)
    words = words_of(methods_section(results))
    assert "nearest soma in every shared structural stack, and by vote of the stacks; several units may share" in words
    assert "those of cells that are near by chance. No match was left out, however doubtful." in words
    assert "10000 permutations (seed 0)" in words and "9000 resamples" in words
    assert "natural images repeated on both days" in words
    options = results.loops["loop1"].configs["match_cells"]["matching"]
    options |= {"one_to_one": True, "max_distance_um": 12.5, "min_posterior": 0.7}
    words = words_of(methods_section(results))
    assert "by vote of the stacks; each cell matches one unit at most" in words
    assert "A unit whose match is farther than 12.5 µm or has a posterior below 0.7 is lost." in words
    options |= {"method": "structure", "one_to_one": False}
    words = words_of(methods_section(results))
    assert "same structural cell in the most shared stacks; several units may share a cell" in words
    assert "A unit whose match is farther than 12.5 µm is lost." in words and "posterior" not in words


def test_confusion_figure_orders_by_the_difference_and_shares_one_scale():
    values = np.full((2, 1, 3, 4, 4), np.nan)
    values[0, 0, [0, 2], :3, :3] = np.arange(18.0).reshape(2, 3, 3)
    values[1, 0, [0, 1], :, :] = 99.0  # of another stimulus set, with a unit more
    dims = ("kind", "response", "model_type", "image_unit_id", "matched_unit_id")
    confusion = xr.Dataset(
        {"mu": (dims, values), "n": (dims, np.isfinite(values).astype(int))},
        {"kind": ["mei_vs_rf", "mei_vs_gabor"], "response": ["normalized"], "model_type": ["cnn", "gabor", "linear"],
         "image_unit_id": [4, 7, 9, 11], "matched_unit_id": [4, 7, 9, 11]},
    )  # fmt: skip
    diagonal = pd.DataFrame({"kind": "mei_vs_rf", "response": "normalized", "unit_id": [4, 9], "diff_rank": [1, 0]})
    axes = confusion_figure(confusion, diagonal, "mei_vs_rf").axes
    titles = [axis.get_title(loc="left") for axis in axes[:2]]
    assert titles == ["images: MEIs", "images: RFs"]
    order = [2, 0, 1]  # 9 before 4; 7 has no difference and comes last
    for axis, matrix in zip(axes[:2], values[0, 0, [0, 2]], strict=True):
        np.testing.assert_array_equal(axis.images[0].get_array(), matrix[np.ix_(order, order)])
        assert axis.images[0].get_clim() == (0, 17)
        assert [label.get_text() for label in axis.get_xticklabels()] == ["9", "4", "7"]
    assert axes[2].get_ylabel() == "mean response (SD of the cell)"


def test_the_page_knows_every_image_and_every_test():
    """Else a matrix would not be drawn, or a row would have no question."""
    assert list(MODEL_TYPES.values()) == list(MODEL_TITLES)
    images = {image for pair in STIMULUS_SETS.values() for image in pair}
    assert images <= set(IMAGE_LOOKS) and images == set(MODEL_TYPES)
    units = np.repeat(np.arange(3), 6), np.tile(np.repeat(np.arange(3), 2), 3)  # every image and cell, two model types
    rows = pd.DataFrame({"image_unit_id": units[0], "matched_unit_id": units[1]})
    rows = rows.assign(model_type=["cnn", "linear"] * 9, target_unit_id=rows.matched_unit_id, var_resp=1.0, n_repeats=5)
    summary = pool_confusions([rows.assign(mu_resp=np.random.default_rng(0).gamma(2.0, 1.0, 18))])
    made = loop_tests({"a": summary}, "normalized", seed=0, n_permutations=10, n_resamples=10)
    assert set(made.test) == set(TESTS)


def test_the_page_begins_with_what_speaks_against_it(tree):
    """Nothing where nothing does; else one line each, with its numbers."""
    results = read(tree, with_loop=True)
    mouse, loop = results.datasets["mouse"], results.loops["loop1"]
    predicts = mouse.selection.assign(cnn_corr=0.5, lin_corr=0.499)
    alike = loop.oracle.assign(p_value=0.049)
    fine = replace(
        results,
        datasets={"mouse": replace(mouse, selection=predicts)},
        loops={"loop1": replace(loop, oracle=alike)},
    )
    assert "Look at this first" not in words_of(summary_section(fine))

    def first_lines(**changed) -> list[str]:
        section = summary_section(replace(fine, **changed))
        return re.findall(r"<li>(.*?)</li>", section.split("Look at this first")[1].split("</ul>")[0])

    worse = {"mouse": replace(mouse, selection=predicts.assign(cnn_corr=0.499))}
    (line,) = first_lines(datasets=worse)
    assert "mouse: the CNN predicts no better than the linear model (test correlation 0.499 and 0.499" in line
    assert f"mean over {N_UNITS} units" in line
    (line,) = first_lines(loops={"loop1": replace(loop, oracle=loop.oracle.assign(p_value=0.05))})
    assert "the cells found again in day5 respond no more like their own" in line and "p = 0.05" in line
    (line,) = first_lines(loops={"loop1": replace(loop, oracle=loop.oracle.assign(p_value=np.nan, n_units=1))})
    assert "day5 was to show whether matched cells respond alike, but has too few of them (1 cell, " in line

    unshown = loop.tests[loop.tests.kind != "mei_vs_gabor"]
    (line,) = first_lines(loops={"loop1": replace(loop, oracle=alike, tests=unshown)})
    assert "loop1, MEI against Gabor: nothing could be compared" in line and "shown in day3?" in line
    lost = loop.matches[loop.matches.scan != "day2"]
    (line,) = first_lines(loops={"loop1": replace(loop, oracle=alike, matches=lost)})
    assert "loop1, MEI against RF: no cell was found again in day2. Do their stacks have the names" in line

    manifest = mouse.stimuli.manifests["mei_vs_rf"]
    control = manifest.image_class == "multi_lin_rf"
    loses = manifest.assign(predicted_response=np.where(control, 2.0, 1.0))
    stimuli = replace(mouse.stimuli, manifests=mouse.stimuli.manifests | {"mei_vs_rf": loses})
    (line,) = first_lines(datasets={"mouse": replace(mouse, selection=predicts, stimuli=stimuli)})
    assert f"mouse: the CNN itself expects the RF to win against the MEI in {N_SELECTED} of {N_SELECTED} units" in line


def test_a_log_of_images_that_slipped_is_noticed(tree):
    """Every cell responds most to the image of the next row; without such an order the oracle alone speaks for it."""
    results = read(tree, with_loop=True)
    loop, mouse = results.loops["loop1"], results.datasets["mouse"]
    owners = mouse.stimuli.manifests["mei_vs_rf"].owner_unit_id
    listed = list(dict.fromkeys(owners))
    tests = loop.tests.copy()
    own_best = (tests.kind == "mei_vs_rf") & (tests.test == "own_best_permutation")
    tests.loc[own_best, ["p_value", "n", "estimate"]] = 1.0, len(listed), 0.0

    def line_of(values: np.ndarray) -> str:
        confusion = loop.confusion.copy(deep=True)
        at = {"kind": "mei_vs_rf", "response": "normalized", "model_type": "cnn"}
        places = {"image_unit_id": listed, "matched_unit_id": listed}
        confusion.mu.loc[at | places] = values
        changed = replace(loop, tests=tests, confusion=confusion, oracle=loop.oracle.assign(p_value=0.001))
        section = summary_section(replace(results, loops={"loop1": changed}))
        lines = re.findall(r"<li>(.*?)</li>", section.split("Look at this first")[1].split("</ul>")[0])
        return next(line for line in lines if "MEI against RF" in line)

    n = len(listed)
    slipped = np.roll(np.eye(n), 1, axis=0)  # row i + 1 is the best image of cell i
    assert f"but {n - 1} of {n} respond most to the one 1 further down in manifest.csv. Was the log" in line_of(slipped)
    assert "respond most" not in line_of(np.random.default_rng(3).random((n, n)))
    assert "though matched cells respond alike" in line_of(np.random.default_rng(3).random((n, n)))
    tests.loc[own_best, "estimate"] = 1.0  # too few cells for a small p, all of which prefer their own
    changed = replace(loop, tests=tests, oracle=loop.oracle.assign(p_value=0.001))
    assert "do not prefer their own MEI" not in summary_section(replace(results, loops={"loop1": changed}))
