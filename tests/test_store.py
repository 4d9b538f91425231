"""Files are written whole or not at all, and say where they come from."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from neurostatic.problems import InputError, report_problems
from neurostatic.store import read_arrays, read_provenance, read_table, write_arrays, write_table, written_whole

ARRAYS = xr.Dataset(
    {"responses": (("trial", "unit"), np.arange(6, dtype=np.float32).reshape(3, 2))},
    coords={"unit_id": ("unit", [7, 3]), "layer": ("unit", ["L2/3", "L4"])},
    attrs={"dropped": 2},
)


def test_arrays_come_back_as_they_were(tmp_path):
    write_arrays(ARRAYS, tmp_path / "new" / "a.zarr.zip", {"seed": 5})
    back = read_arrays(tmp_path / "new" / "a.zarr.zip")
    np.testing.assert_array_equal(back.responses, ARRAYS.responses)
    assert back.responses.dims == ("trial", "unit") and back.responses.dtype == np.float32
    assert back.layer.values.tolist() == ["L2/3", "L4"] and back.layer.dtype.kind == "U"
    assert back.attrs["dropped"] == 2
    assert read_provenance(tmp_path / "new" / "a.zarr.zip") == {"seed": 5}


def test_equal_arrays_make_equal_files_without_double_entries(tmp_path):
    for name in ("a", "b"):
        write_arrays(ARRAYS, tmp_path / name, {"seed": 5})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    names = zipfile.ZipFile(tmp_path / "a").namelist()
    assert len(names) == len(set(names))


def test_nothing_is_left_of_a_write_that_fails(tmp_path):
    with pytest.raises(RuntimeError), written_whole(tmp_path / "a.csv") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(RuntimeError), written_whole(tmp_path / "a.csv") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.csv").read_text() == "old"


def test_tables_keep_their_provenance_beside_them(tmp_path):
    write_table(pd.DataFrame({"area": ["NA", None], "n": [1, 2]}), tmp_path / "t.csv", {"commit": "abc"})
    table = read_table(tmp_path / "t.csv", ("area", "n"))
    assert table.area[0] == "NA" and pd.isna(table.area[1])
    assert read_provenance(tmp_path / "t.csv") == {"commit": "abc"}
    assert json.loads((tmp_path / "t.csv.json").read_text()) == {"commit": "abc"}


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "bad.zarr.zip").write_bytes(b"PK no")
    for path in (tmp_path / "bad.zarr.zip", tmp_path / "absent.zarr.zip"):
        with pytest.raises(InputError, match=path.name):
            read_arrays(path)
    with pytest.raises(InputError, match=r"absent\.csv: no such file"):
        read_table(tmp_path / "absent.csv")
    write_table(pd.DataFrame({"a": [1]}), tmp_path / "t.csv", {})
    with pytest.raises(InputError, match=r"2 problems\n  - column .b. is missing\n  - column .c."):
        read_table(tmp_path / "t.csv", ("a", "b", "c"))


def test_no_problems_no_error():
    report_problems("config", [])


def test_names_stay_text(tmp_path):
    """A scan may be called 101 or 1e3; an empty name is missing."""
    table = pd.DataFrame({"scan": ["101", "1e3", None], "owner_scan": ["7", "8", "9"], "unit_id": [1, 2, 3]})
    write_table(table, tmp_path / "t.csv", {})
    found = read_table(tmp_path / "t.csv")
    assert found.scan.tolist()[:2] == ["101", "1e3"] and found.scan.isna().tolist() == [False, False, True]
    assert found.owner_scan.tolist() == ["7", "8", "9"] and found.unit_id.tolist() == [1, 2, 3]
