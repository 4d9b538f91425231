"""Positions in structural stacks: of pixels, of units by the registration of their field, of whole exports."""

import shutil

import numpy as np
import pandas as pd
import pytest
from damages import change_line, change_table, remove, set_cell, write
from exports import make_export

from neurostatic.cli import main
from neurostatic.data import read_scan, read_stack_coordinates, read_structure_matches, scan_verdict
from neurostatic.data.registration import register_units, stack_coordinates
from neurostatic.data.scans.stacks import require_stacks
from neurostatic.problems import InputError

AFFINE = np.array([[1, 0.1], [0, 1], [0.02, -0.03]])
OFFSET_UM = np.array([100, 200, 300])
POSITIONS = ["x_um", "y_um", "z_um"]


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """An export of which the fields are registered to a stack."""
    return make_export(tmp_path_factory.mktemp("exports") / "registered", registered=True)


@pytest.fixture
def export(registered, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(registered, tmp_path / "scan")


def registration(stack, field, affine, offset_um):
    names = ["a11", "a21", "a31", "a12", "a22", "a32", "reg_x_um", "reg_y_um", "reg_z_um"]
    values = [*affine[:, 0], *affine[:, 1], *offset_um]
    return {"stack": stack, "field": field} | dict(zip(names, values, strict=True))


def by_unit(table):
    return table.sort_values(["stack", "unit_id"], ignore_index=True)


def grid_of(px_height, px_width, um_height, um_width):
    """(y, x, 2) places x, y in um of a field's pixels in its own plane."""
    y, x = np.mgrid[:px_height, :px_width]
    plane = np.eye(3)[:, :2]
    placed = stack_coordinates(x.ravel(), y.ravel(), px_height, px_width, um_height, um_width, plane, np.zeros(3))
    assert (placed[:, 2] == 0).all()
    return placed[:, :2].reshape(px_height, px_width, 2)


def test_grid_of_a_field_is_centered():
    grid = grid_of(4, 6, 4.0, 6.0)
    np.testing.assert_allclose(grid[0, 0], [-2.5, -1.5])
    np.testing.assert_allclose(grid[3, 5], [2.5, 1.5])


def test_grid_has_one_pixel_size_per_axis():
    grid = grid_of(4, 6, 8.0, 3.0)
    np.testing.assert_allclose(np.diff(grid[:, 0, 1]), 2.0)
    np.testing.assert_allclose(np.diff(grid[0, :, 0]), 0.5)
    np.testing.assert_allclose(grid.mean((0, 1)), 0.0, atol=1e-12)


def test_affine_registration():
    px_x, px_y = [2.5, 0, 4, 6], [1.5, 0, 1, 0]
    expected = [[100, 200, 300], [97.35, 198.5, 299.995], [101.45, 199.5, 300.045]]
    placed = stack_coordinates(px_x, px_y, 4, 6, 4.0, 6.0, AFFINE, OFFSET_UM)
    np.testing.assert_allclose(placed[:3], expected, rtol=1e-5)
    assert np.isnan(placed[3]).all()  # outside the field: nowhere
    published = stack_coordinates(px_x, px_y, 4, 6, 4.0, 6.0, AFFINE, OFFSET_UM, outside_um=0.0)
    np.testing.assert_allclose(published, [*expected, [0, 0, 0]], rtol=1e-5)


def test_registration_names_all_wrong_shapes():
    with pytest.raises(InputError, match="2 problems"):
        stack_coordinates([1, 2], [1], 4, 6, 4.0, 6.0, AFFINE.T, OFFSET_UM)


UNITS = pd.DataFrame({"unit_id": [8, 3, 5, 4, 9], "field": [1, 2, 1, 1, 1], "px_x": [2.5, 0, 0, 4, 6],
                      "px_y": [1.5, 0, 0, 1, 0]})  # fmt: skip
FIELDS = pd.DataFrame({"field": [2, 1], "px_height": [3, 4], "px_width": [3, 6], "um_height": [6.0, 4.0],
                       "um_width": [9.0, 6.0]})  # fmt: skip
REGISTRATIONS = pd.DataFrame(
    [
        registration("b", 1, AFFINE, OFFSET_UM),
        registration("a", 2, np.array([[0, 1], [1, 0], [0, 0]]), [10, 20, 30]),
        registration("a", 1, AFFINE, OFFSET_UM + 1),
    ]
)


def test_units_of_every_field_in_every_stack():
    placed = register_units(UNITS, FIELDS, REGISTRATIONS)
    assert placed.columns.tolist() == ["stack", "unit_id", *POSITIONS]
    assert placed["stack"].tolist() == ["b"] * 4 + ["a"] * 5  # field 2 is not in stack b
    assert placed["unit_id"].tolist() == [8, 5, 4, 9, 8, 3, 5, 4, 9]
    golden = np.array([[100, 200, 300], [97.35, 198.5, 299.995], [101.45, 199.5, 300.045], [np.nan] * 3])
    np.testing.assert_allclose(placed[POSITIONS][:4], golden, rtol=1e-5)
    np.testing.assert_allclose(placed[POSITIONS].iloc[[4, 6, 7, 8]], golden + 1, rtol=1e-5)
    np.testing.assert_allclose(placed[POSITIONS].iloc[5], [8, 17, 30])  # pixels of 3 x 2 um; x and y swapped


def test_all_problems_of_registrations_at_once():
    with pytest.raises(InputError) as error:
        register_units(UNITS.drop(columns="px_y"), FIELDS, REGISTRATIONS.drop(columns=["a12", "stack"]))
    for part in ("3 problems", "'px_y' of the units", "'a12' of the registrations", "'stack' of the registrations"):
        assert part in str(error.value)
    twice = pd.concat([REGISTRATIONS, REGISTRATIONS[:1]])
    with pytest.raises(InputError) as error:
        register_units(UNITS, pd.concat([FIELDS[1:], FIELDS[1:]]), twice)
    for part in ("3 problems", "field 1 has more", "field 1 is registered to stack b more than once", "field 2 is reg"):
        assert part in str(error.value)
    with pytest.raises(InputError, match="no field is registered to a stack"):
        register_units(UNITS, FIELDS, REGISTRATIONS[:0])


def test_identity_gives_the_positions_that_an_export_may_give_itself(registered, tmp_path):
    given = read_scan(make_export(tmp_path / "given"))
    computed = read_scan(registered)
    assert given.field_registrations is None and len(computed.field_registrations) == 2
    assert computed.stack_coordinates["unit_id"].tolist() == computed.units["unit_id"].tolist()
    assert computed.stack_coordinates.columns.tolist() == ["stack", "unit_id", *POSITIONS]
    given, computed = by_unit(given.stack_coordinates), by_unit(computed.stack_coordinates)
    pd.testing.assert_frame_equal(computed[given.columns], given, rtol=1e-12)


def test_rotation_gives_the_positions_that_an_export_may_give_itself(export):
    """Two stacks, in each of which the two fields are turned and tilted by angles of their own."""
    rng = np.random.default_rng(3)
    units = pd.read_csv(export / "units.csv")
    rows, tables = [], []
    for stack in ("first", "second"):
        for field, of_field in units.groupby("field"):
            turn, tilt = rng.uniform(-1, 1, 2)
            center_um = rng.uniform(-500, 500, 3)
            x_um, y_um = of_field["px_x"] * 10 - 145, of_field["px_y"] * 10 - 95  # from the center of 30 x 20 pixels
            turned_x, turned_y = x_um * np.cos(turn) - y_um * np.sin(turn), x_um * np.sin(turn) + y_um * np.cos(turn)
            places = [turned_x, turned_y * np.cos(tilt), turned_y * np.sin(tilt)]
            table = pd.DataFrame(dict(zip(POSITIONS, places, strict=True))) + center_um
            tables.append(table.assign(stack=stack, unit_id=of_field["unit_id"]))
            rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            affine = np.diag([1, np.cos(tilt)]) @ rotation
            affine = np.vstack([affine, np.sin(tilt) * rotation[1]])
            rows.append(registration(stack, field, affine, center_um))
    pd.DataFrame(rows).to_csv(export / "field_registrations.csv", index=False)
    computed = read_stack_coordinates(export)
    pd.testing.assert_frame_equal(read_scan(export).stack_coordinates, computed)
    (export / "field_registrations.csv").unlink()
    pd.concat(tables).to_csv(export / "stack_coordinates.csv", index=False)
    given = read_stack_coordinates(export)
    pd.testing.assert_frame_equal(read_scan(export).stack_coordinates, given)
    pd.testing.assert_frame_equal(by_unit(computed)[given.columns], by_unit(given), rtol=1e-9)
    assert len(given) == 12 and given[POSITIONS].notna().all(axis=None)


def test_a_unit_outside_its_field_has_no_position(export):
    """The outer half of the outermost pixel is in the field, but beyond the pixels' centers."""
    set_cell("units.csv", "px_x", 3, "29.3")(export)
    placed = read_scan(export).stack_coordinates.set_index("unit_id")
    assert placed.loc[104, POSITIONS].isna().all()
    assert placed.drop(104)[POSITIONS].notna().all(axis=None)
    set_cell("units.csv", "px_x", 3, "29")(export)
    assert read_scan(export).stack_coordinates[POSITIONS].notna().all(axis=None)


def test_check_says_what_was_found(export, capsys):
    second = pd.read_csv(export / "field_registrations.csv").assign(stack="b")
    change_table("field_registrations.csv", lambda first: pd.concat([first, second[:1]]))(export)
    assert main(["check", str(export)]) == 0
    text = capsys.readouterr().out
    assert [line.split() for line in text.splitlines() if line.split()[:1] == ["stacks"]] == [["stacks", "2"]]
    assert "closed loop" not in text
    verdict = scan_verdict(read_scan(export))
    assert verdict["counts"]["stacks"] == 2 and verdict["counts"]["structure_matched"] == 6
    assert {"field_registrations.csv", "structure_matches.csv"} <= set(verdict["files"])
    set_cell("field_registrations.csv", "field", 3, "5")(export)
    assert main(["check", str(export)]) == 1
    assert "row 3: field 5 is not in fields.csv (1, 2)" in capsys.readouterr().err


def test_positions_are_read_without_the_rest_of_an_export(export, tmp_path):
    """Only of the tables and columns that are needed."""
    expected = read_scan(export).stack_coordinates
    for path in export.iterdir():
        if path.name not in ("units.csv", "fields.csv", "field_registrations.csv"):
            path.unlink()
    change_table("units.csv", lambda t: t[["unit_id", "field", "px_x", "px_y"]])(export)
    change_table("fields.csv", lambda t: t.drop(columns="z_um"))(export)
    pd.testing.assert_frame_equal(read_stack_coordinates(export), expected)
    given = make_export(tmp_path / "given")
    for path in given.iterdir():
        if path.name != "stack_coordinates.csv":
            path.unlink()
    assert read_stack_coordinates(given)["unit_id"].tolist() == [105, 104, 103, 102, 101, 100]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            remove("field_registrations.csv"),
            r"neither stack_coordinates\.csv nor field_registrations\.csv is there, one of them is needed",
        ),
        (
            write("stack_coordinates.csv", b"stack,unit_id,x_um,y_um,z_um\na,100,1,2,3\n"),
            r"1 problem\n.*field_registrations\.csv: is there, and so is stack_coordinates\.csv; give one of them",
        ),
        (remove("fields.csv"), r"1 problem\n.*fields\.csv: file is missing; field_registrations\.csv needs it"),
        (remove("units.csv"), r"1 problem\n.*units\.csv: file is missing; field_registrations\.csv needs it"),
        (set_cell("units.csv", "px_x", 4, "?"), r"1 problem\n.*units\.csv, column px_x, row 4: found '\?'"),
        (set_cell("units.csv", "unit_id", 4, "105"), r"1 problem\n.*units\.csv, column unit_id, row 4: 105 is there"),
        (set_cell("fields.csv", "field", 3, "1"), r"1 is there already(?s:.*)field 2 is not in fields\.csv \(1, 1\)"),
        (set_cell("field_registrations.csv", "field", 2, "7"), r"row 2: field 7 is not in fields\.csv \(1, 2\)"),
        (set_cell("field_registrations.csv", "field", 3, "1"), r"row 3: \(a, 1\) is there already \(row 2\)"),
        (set_cell("field_registrations.csv", "a11", 3, "NaN"), r"column a11, row 3: found 'NaN', allowed is a number"),
        (change_line("field_registrations.csv", 1, str.upper), r"row 1: names none of the columns stack, field, a11"),
    ],
)
def test_what_cannot_be_placed(export, spoil, message):
    spoil(export)
    with pytest.raises(InputError, match=message) as error:
        read_stack_coordinates(export)
    assert str(export) in str(error.value)


def test_given_positions_are_checked(tmp_path):
    export = make_export(tmp_path / "scan")
    set_cell("stack_coordinates.csv", "unit_id", 4, "105")(export)
    set_cell("stack_coordinates.csv", "z_um", 5, "deep")(export)
    with pytest.raises(InputError, match=r"2 problems\n.*z_um, row 5: found 'deep'.*\n.*row 4: \(a, 105\) is there"):
        read_stack_coordinates(export)


def test_structural_cells(export):
    matches = read_structure_matches(export)
    assert matches.columns.tolist() == ["stack", "unit_id", "sunit_id", "iou", "distance_um"]
    assert matches["sunit_id"].tolist() == [2105, 2104, 2103, 2102, 2101, 2100]
    pd.testing.assert_frame_equal(read_scan(export).structure_matches, matches)
    set_cell("structure_matches.csv", "iou", 2, "1.01")(export)
    set_cell("structure_matches.csv", "unit_id", 4, "104")(export)
    with pytest.raises(InputError, match=r"2 problems\n.*iou, row 2: found '1.01'.*\n.*row 4: \(a, 104\) is there"):
        read_structure_matches(export)
    (export / "structure_matches.csv").unlink()
    assert read_scan(export).structure_matches is None
    with pytest.raises(InputError, match=r"structure_matches\.csv is not there"):
        read_structure_matches(export)


def test_a_scan_of_a_loop_needs_what_cells_are_matched_by(tmp_path):
    export = make_export(tmp_path / "scan")
    whole = read_scan(export)
    for method in ("proximity", "structure"):
        require_stacks(whole, method)
    for file in ("stack_coordinates.csv", "structure_matches.csv"):
        (export / file).unlink()
    without = read_scan(export)
    with pytest.raises(InputError, match=r"neither stack_coordinates.csv nor field_registrations.csv is there"):
        require_stacks(without, "proximity")
    with pytest.raises(InputError, match=r"structure_matches.csv is not there"):
        require_stacks(without, "structure")
