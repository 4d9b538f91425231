"""The part of a loop on its cells: which were found again, how sure that is, and what was left out."""

import re

import pandas as pd

from neurostatic.report.figures_matching import SOURCE_UM, magnification, map_figure, match_figure
from neurostatic.report.markup import (
    count,
    figure,
    folded,
    heading,
    number,
    p_value,
    paragraph,
    percent,
    sentence,
    table,
)
from neurostatic.report.results import DatasetResult, LoopResult
from neurostatic.report.style import median

NUMBER = re.compile(r"\d+(?:\.\d+)?")


def matched_in_words(loop: LoopResult, dataset: DatasetResult) -> str:
    """How many of the units whose images were shown were found again."""
    found = _in_targets(loop.matches, loop).src_unit_id.nunique()
    if dataset.stimuli is None:
        return f"{count(found, 'unit')} found again"
    manifests = pd.concat([dataset.stimuli.manifests[kind] for kind in loop.kinds])
    shown = manifests.owner_unit_id[manifests.owner_scan == loop.source].nunique()
    later = ""
    if len(loop.targets) > 1:
        of_scan = loop.matches.groupby("scan").src_unit_id.nunique()
        later = f" in at least one of {len(loop.targets)} scans: "
        later += ", ".join(f"{of_scan.get(scan, 0)} in {scan}" for scan in loop.targets)
    return f"{found} of {count(shown, 'unit')} with a stimulus found again{later}"


def _in_targets(table: pd.DataFrame, loop: LoopResult) -> pd.DataFrame:
    return table[table.scan.isin(list(loop.targets))]


def skipped_scans(loop: LoopResult) -> list[str]:
    """A paragraph for every scan that takes no part, in anything or in one stimulus set."""
    skipped = loop.left_out[_is_whole_scan(loop.left_out)].drop_duplicates(["scan", "reason"])
    return [paragraph(sentence(f"Scan {row.scan}: {row.reason}")) for row in skipped.itertuples()]


def _is_whole_scan(left_out: pd.DataFrame) -> pd.Series:
    return left_out.unit_id.isna() & left_out.target_unit_id.isna()


def matching_parts(loop: LoopResult, dataset: DatasetResult) -> list[str]:
    """Matches: how sure they are, where they lie, and whether matched cells respond alike."""
    matches, unmatched = _in_targets(loop.matches, loop), _in_targets(loop.unmatched, loop)
    distance_um = median(matches.displacement_um.fillna(matches.mean_distance_um))
    shared = count(int((matches.shared > 1).sum()), "match", "matches")
    words = (
        f"{matched_in_words(loop, dataset)}; median distance "
        f"{number(distance_um, '.1f')} µm; {shared} shared with another unit"
    )
    parts = [paragraph(sentence(words))]
    if len(matches):
        caption = (
            "Left: distance between a unit of the source scan and the cell it was matched to, of positions averaged "
            "over the stacks and less the shift that all cells share, and (outline) that of the next nearest cell: "
            "matches can be trusted where the two do not overlap. Middle: in how many of the structural stacks that "
            "cell was the one that was chosen. Right: how probable it is that the match is the same cell; colors as in "
            "the map, outlined: candidates that were refused, for whatever reason."
        )
        parts.append(figure(match_figure(matches, unmatched), "Cell matching.", caption))
    return [*parts, *_map(loop, matches, unmatched), *_oracle(loop)]


def _map(loop: LoopResult, matches: pd.DataFrame, unmatched: pd.DataFrame) -> list[str]:
    matches, unmatched = (rows.dropna(subset=SOURCE_UM) for rows in (matches, unmatched))
    scans = [scan for scan in loop.targets if scan in {*matches.scan, *unmatched.scan}]
    if not scans:
        return []
    times = magnification(matches)
    length = f", drawn {times} times as long as it is" if times > 1 else ""
    caption = (
        "Units of the source scan in the structural stack, for each later scan seen from above and from the side. "
        f"A dot is a unit that was found, its line leads towards the cell it was matched to{length}: lines that point "
        "the same way are a shift of the whole field. Color: posterior of the match. Crosses: units that were lost."
    )
    return [figure(map_figure(matches, unmatched, scans), "Found and lost cells.", caption)]


def _oracle(loop: LoopResult) -> list[str]:
    if loop.oracle is None:
        return []
    rows = [
        [row.scan, row.n_units, row.n_images, number(row.own), number(row.other), p_value(row.p_value),
         percent(row.own_best_fraction)]
        for row in loop.oracle.itertuples()
    ]  # fmt: skip
    columns = ["scan", "units", "images", "own match", "other cells' matches", "p", "own is best"]
    caption = (
        "Do matched cells respond alike? Correlation over natural images repeated in both scans, of a unit of the "
        "source scan with the cell it was matched to (mean over units), and with the cells that the other units were "
        "matched to. p: permutation test, one-sided. Own is best: matched cells that no other unit is as much like."
    )
    return [table(columns, rows, "Matched cells and natural images.", caption)]


def left_out_parts(loop: LoopResult) -> list[str]:
    """Every unit and scan that takes no part in a result: counted by reason, and one by one."""
    parts, left_out = [heading("What was left out")], loop.left_out
    if left_out.empty:
        return [*parts, paragraph("Nothing was left out.")]
    alike = left_out.groupby(left_out.reason.str.replace(NUMBER, "…", regex=True), sort=False)
    counts = [
        [_common_reason(rows.reason), ", ".join(dict.fromkeys(rows.scan)), len(rows)]
        for _, rows in sorted(alike, key=lambda group: -len(group[1]))
    ]
    caption = (
        "Counted once for each scan: units of the source scan that were not found again, matched cells that a test "
        "leaves out, as its reason says, and whole scans."
    )
    rows = [
        [row.scan, "every unit" if whole else number(row.unit_id, ".0f"), number(row.target_unit_id, ".0f"), row.reason]
        for row, whole in zip(left_out.itertuples(), _is_whole_scan(left_out), strict=True)
    ]
    every = table(["scan", "unit", "cell", "reason"], rows, "Left out, one by one.")
    parts.append(table(["reason", "scans", "left out"], counts, "Left out, by reason.", caption))
    return [*parts, folded(f"All {count(len(rows), 'entry', 'entries')}", every)]


def _common_reason(reasons: pd.Series) -> str:
    """Reasons that differ in numbers only as one, an ellipsis in the place of the numbers that differ."""
    words = NUMBER.split(reasons.iloc[0])
    numbers = [set(found) for found in zip(*reasons.map(NUMBER.findall), strict=True)]
    shown = [found.pop() if len(found) == 1 else "…" for found in numbers]
    return words[0] + "".join(number + word for number, word in zip(shown, words[1:], strict=True))
