import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from exports import make_export

from neurostatic.data.scans import read_scan
from neurostatic.data.scans.remarks import find_remarks, repeat_remarks

CLEAN = {"volume_s": 0.122, "repeats": 7}  # trial 5 is excluded


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """An export of each kind of which there is nothing to remark."""
    base = tmp_path_factory.mktemp("exports")
    exports = {form: make_export(base / form, form, **CLEAN) for form in ("traces", "responses")}
    return exports | {"registered": make_export(base / "registered", registered=True, **CLEAN)}


@pytest.fixture
def export(exports, tmp_path):
    return shutil.copytree(exports["traces"], tmp_path / "scan")


def change_table(name, change):
    return lambda folder: change(pd.read_csv(folder / name)).to_csv(folder / name, index=False)


def change_array(name, *index_and_value):
    def plant(folder):
        array = np.load(folder / name)
        for index, value in zip(index_and_value[::2], index_and_value[1::2], strict=True):
            array[index] = array[value] if isinstance(value, slice) else value
        np.save(folder / name, array)

    return plant


def change_info(**values):
    def plant(folder):
        info = yaml.safe_load((folder / "scan.yaml").read_text())
        (folder / "scan.yaml").write_text(yaml.safe_dump(info | values))

    return plant


def without(column, share):
    """A table whose first rows have nothing in a column."""
    return lambda table: table.assign(**{column: table[column].where(table.index >= share * len(table))})


def exclude_repeats(trials):
    """Of each repeated image, three trials are left."""
    repeated = trials.groupby("image_id").trial_idx.transform("size") > 1
    nth = trials.groupby("image_id").cumcount()
    return trials.assign(excluded=trials.excluded | (repeated & (nth >= 3)))


PLANTED = {
    "misspelt file": (
        lambda folder: (folder / "stack_coordinates.csv").rename(folder / "stack_coords.csv"),
        r"file 'stack_coords\.csv': is not read; did you mean 'stack_coordinates\.csv'\?",
    ),
    "other files": (
        lambda folder: [(folder / name).write_text("") for name in ("notes.txt", "units_old.csv", ".hidden")],
        r"files 'notes\.txt', 'units_old\.csv': not part of an export, not read",
    ),
    "misspelt column": (
        change_table("units.csv", lambda table: table.assign(brain_aera="V1")),
        r"units\.csv, column 'brain_aera': is not read; did you mean 'brain_area'\?",
    ),
    "other columns": (
        change_table("eye.csv", lambda table: table.assign(quality=1)),
        r"eye\.csv, column 'quality': not part of an export, not read",
    ),
    "misspelt key": (
        lambda folder: (folder / "scan.yaml").write_text(
            (folder / "scan.yaml").read_text().replace("loop_group", "loop_grup")
        ),
        r"scan\.yaml, key 'loop_grup': is not read; did you mean 'loop_group'\?",
    ),
    "monitor measured from 15 on": (
        change_table("monitor_calibration.csv", lambda table: table[table.pixel_value > 0]),
        r"monitor_calibration\.csv: no stimuli can be made from this scan: .*must run from 0 to 255",
    ),
    "depths that count upward": (
        change_table("fields.csv", lambda table: table.assign(z_um=-table.z_um)),
        r"units\.csv: no soma lies in L2/3 \(by the depth of its field, which counts downward; there are unset\)",
    ),
    "no stack positions": (
        lambda folder: (folder / "stack_coordinates.csv").unlink(),
        r"stack_coordinates\.csv: is not there, nor is field_registrations\.csv; cells .* by structure only",
    ),
    "misspelt structure": (
        lambda folder: (folder / "structure_matches.csv").rename(folder / "structural_matches.csv"),
        r"file 'structural_matches\.csv': is not read; did you mean 'structure_matches\.csv'\?",
    ),
    "column of structure": (
        change_table("structure_matches.csv", lambda table: table.assign(sunit_key=1)),
        r"structure_matches\.csv, column 'sunit_key': not part of an export, not read",
    ),
    "nothing of stacks": (
        lambda folder: [(folder / f"{name}.csv").unlink() for name in ("stack_coordinates", "structure_matches")],
        r"stack_coordinates\.csv: is not there, nor is field_registrations\.csv or structure_matches\.csv; this scan "
        r"cannot be part of a closed loop",
    ),
    "no calibration": (
        lambda folder: (folder / "monitor_calibration.csv").unlink(),
        r"monitor_calibration\.csv: is not there; no stimuli can be made",
    ),
    "date without a time": (
        change_info(timestamp="2019-03-11"),
        r"scan\.yaml, key timestamp: 2019-03-11 has no time, midnight is taken",
    ),
    "too few repeats": (
        change_table("trials.csv", exclude_repeats),
        r"trials\.csv, .*: none of the 3 repeated images has 5 trials \(most: 3\)",
    ),
    "picture under two names": (
        change_array("images.npy", 20, slice(7, 8), 21, slice(9, 10)),
        r"images\.npy: 2 pictures are there under several names, such as \(imagenet, 8\) and \(imagenet, 21\)",
    ),
    "shown for longer": (
        change_table("trials.csv", lambda table: table.assign(flip_end_s=table.flip_end_s + 0.25)),
        r"trials\.csv, .*: images were shown for 0\.750 s \(median\), the published response window is 0\.5 s",
    ),
    "eye not tracked": (
        change_table("eye.csv", without("center_y_px", 0.3)),
        r"eye\.csv, columns radius_px, center_x_px, center_y_px: 30\.0% of the samples are NaN",
    ),
    "treadmill with gaps": (
        change_table("treadmill.csv", without("velocity_cm_s", 0.05)),
        r"treadmill\.csv, column velocity_cm_s: 5\.\d% of the samples are NaN",
    ),
    "camera started late": (
        change_table("eye.csv", lambda table: table[table.time_s > 1010]),
        r"eye\.csv, column time_s: starts at 1010\.0 s, after the first recorded trial .*; at least 6 trials will",
    ),
    "treadmill stopped early": (
        change_table("treadmill.csv", lambda table: table[table.time_s < 1040]),
        r"treadmill\.csv, column time_s: stops at 1040\.0 s, before the last recorded trial .*; at least 4 trials will",
    ),
    "silent units": (
        change_array("traces.npy", 1, np.nan, 2, 0.5),
        r"traces\.npy: 2 units are silent, constant or all NaN \(unit_id 104, 103\)",
    ),
}


REGISTERED = {
    "misspelt registrations": (
        lambda folder: (folder / "field_registrations.csv").rename(folder / "Field_registration.csv"),
        r"file 'Field_registration\.csv': is not read; did you mean 'field_registrations\.csv'\?",
        r"stack_coordinates\.csv: is not there",
    ),
    "column of registrations": (
        change_table("field_registrations.csv", lambda table: table.assign(reg_q=1)),
        r"field_registrations\.csv, column 'reg_q': not part of an export, not read",
    ),
    "field not registered": (
        change_table("field_registrations.csv", lambda table: table[:1]),
        r"field_registrations\.csv: field 2 is registered to no stack; none of its units \(3\) can be matched",
    ),
    "units at the edge": (
        change_table("units.csv", lambda table: table.assign(px_y=table.px_y.mask(table.unit_id < 102, 19.3))),
        r"units\.csv, columns px_x, px_y: 2 units lie beyond the center .* \(unit_id 101, 100\), without a position",
    ),
    "um per px": (
        change_table("field_registrations.csv", lambda table: table.assign(a11=table.a11 * 10, a22=[10, 0.2])),
        r"field_registrations\.csv, columns a11, a21, .*: field 1 is 10 times as large in stack a as in fields\.csv; "
        r"are they um per um\?",
    ),
    "line for a field": (
        change_table("field_registrations.csv", lambda table: table.assign(a12=[0, 1], a22=[1, 0])),
        r"field_registrations\.csv, columns a11, .*: field 2 is 0 times as large in stack a",
    ),
}


@pytest.mark.parametrize("form", ["traces", "responses", "registered"])
def test_nothing_to_remark(exports, form):
    assert find_remarks(read_scan(exports[form])) == []


@pytest.mark.parametrize("name", PLANTED)
def test_planted_remark_is_found(export, name):
    plant, message = PLANTED[name]
    plant(export)
    remarks = find_remarks(read_scan(export))
    allowed = 2 if name == "misspelt file" else 1  # the file is then missing, too
    assert len(remarks) == allowed, remarks
    assert re.match(message, remarks[0]), remarks[0]


@pytest.mark.parametrize("name", REGISTERED)
def test_remarks_on_registrations(exports, tmp_path, name):
    export = shutil.copytree(exports["registered"], tmp_path / "scan")
    plant, *messages = REGISTERED[name]
    plant(export)
    remarks = find_remarks(read_scan(export))
    assert len(remarks) == len(messages), remarks
    assert all(map(re.match, messages, remarks)), remarks


def test_all_remarks_at_once(export):
    for name in ("misspelt column", "no stack positions", "date without a time", "eye not tracked", "silent units"):
        PLANTED[name][0](export)
    assert len(find_remarks(read_scan(export))) == 5


def test_images_that_stand_on_their_side(tmp_path):
    (remark,) = find_remarks(
        read_scan(make_export(tmp_path / "scan", "responses", height_px=128, width_px=72, repeats=7))
    )
    assert remark.startswith("images.npy: images are 128 px high and 72 wide; are y and x exchanged?")


def test_silent_units_of_the_responses_form(exports, tmp_path):
    export = shutil.copytree(exports["responses"], tmp_path / "scan")
    change_array("responses.npy", (slice(None), 3), 0.0)(export)
    (remark,) = find_remarks(read_scan(export))
    assert remark.startswith("responses.npy: 1 unit is silent, constant or all NaN (unit_id 102)")


def test_filter_length_that_jitter_decides(tmp_path):
    (remark,) = find_remarks(read_scan(make_export(tmp_path / "scan", volume_s=0.125, repeats=7)))
    assert "0.5 s is 4 volumes of 0.125 s almost exactly" in remark
    assert "whether the filter has 7 or 9 samples" in remark


@pytest.mark.parametrize(
    ("n_trials", "message"),
    [
        ([1, 1, 1], "no image is repeated"),
        ([1, 2, 4], "none of the 2 repeated images has 5 trials (most: 4)"),
        ([1, 3, 4, 5, 9], "2 of 4 repeated images have fewer than 5 trials (fewest: 3)"),
        ([1, 5, 5], ""),
    ],
)
def test_repeats(n_trials, message):
    remarks = repeat_remarks(np.array(n_trials), "trials.csv")
    assert [message in remark for remark in remarks] == ([True] if message else [])


def test_quoted_names_after_spaces_are_no_unknown_columns(exports, tmp_path):
    folder = shutil.copytree(exports["traces"], tmp_path / "scan")
    header, *rows = (folder / "units.csv").read_text().splitlines()
    quoted = ", ".join(f'"{name}"' for name in header.split(","))
    (folder / "units.csv").write_text("\n".join([quoted, *rows]) + "\n")
    assert not [remark for remark in find_remarks(read_scan(folder)) if "units.csv" in remark and "column" in remark]
