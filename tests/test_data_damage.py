"""Random damage to exports and trees: a data set comes out whole, or a message, and never anything else.

Set DAMAGE_EXAMPLES to look at more examples than usual, at random ones each time.
"""

import os
import shutil
import tempfile
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from exports import make_export
from hypothesis import event, given, settings
from hypothesis import strategies as st
from test_data_importers import make_tree, zipped

from neurostatic.config import Preprocessing
from neurostatic.data import build_dataset, read_scan, read_sensorium, scan_verdict
from neurostatic.data.scans.remarks import find_remarks
from neurostatic.problems import InputError
from neurostatic.store import read_arrays, write_arrays

MANY = os.environ.get("DAMAGE_EXAMPLES")
SIZE = Preprocessing(height_px=9, width_px=16)
OPTIONS = (SIZE, replace(SIZE, luminance=True), replace(SIZE, response_dtype="float16"))
CELLS = (
    "", "nan", "NaN", "inf", "-inf", "0", "-1", "1", "2", "1.5", "7", "100", "1e30", "1e300", "-1e300", "1e-320",
    "1e999", "123456789012345678901234567890", "text", "True", "soma", "a,b", '"', '""', "é", "\0", "\t", " 3 ",
    "1_0", "٣", "0x10", "2019-13-01", "2019-03-10T00:00:00+01:00", "a\nb", "x" * 200,
)  # fmt: skip
NUMBERS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-320, 1e30, 1e38, 1e39, 1e300, -1e300)
DTYPES = ("<f4", ">f4", "<f8", ">f8", "<f2", "<i8", "<i2", "|u1", "<u8", "|b1", "<c8", "<U3", "|S2", "<M8[s]", "|O")
KEYS = (
    "animal_id", "session", "scan_idx", "stim_type", "loop_group", "day", "mei_source", "timestamp", "remark",
)  # fmt: skip
VALUES = (None, True, -1, 0, 1, 10**30, 1.5, float("nan"), "", "mei", "2019-03-11", [1, 2], {"a": 1}, "é" * 99)


def examples(number):
    """As many examples as fit into the tests, always the same ones; or more, at random."""
    many = {"max_examples": int(MANY)} if MANY else {"max_examples": number, "derandomize": True}
    return settings(deadline=None, database=None, **many)


def damage_bytes(draw, path):
    """Flip, insert or delete bytes; the first ones matter most."""
    content = bytearray(path.read_bytes())
    for _ in range(draw(st.integers(1, 3))):
        end = draw(st.sampled_from([80, 200, len(content)]))
        at = draw(st.integers(0, max(0, min(end, len(content)) - 1)))
        way = draw(st.sampled_from(["flip", "set", "insert", "delete"]))
        if way == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=9))
        elif way == "delete":
            del content[at : at + draw(st.integers(1, 9))]
        elif content:
            content[at] = content[at] ^ (1 << draw(st.integers(0, 7))) if way == "flip" else draw(st.integers(0, 255))
    path.write_bytes(content)


def damage_file(draw, path):
    """Cut, empty, remove, rename or swap files, or put a folder there."""
    content = path.read_bytes()
    way = draw(st.sampled_from(["cut", "empty", "remove", "rename", "swap", "copy", "folder", "longer"]))
    others = sorted(other for other in path.parent.iterdir() if other.is_file())
    if way == "cut":
        path.write_bytes(content[: draw(st.integers(0, len(content)))])
    elif way == "empty":
        path.write_bytes(b"")
    elif way == "longer":
        path.write_bytes(content + draw(st.binary(min_size=1, max_size=9)))
    elif way == "rename":
        path.rename(path.with_name(path.name.upper()))
    elif way in ("swap", "copy"):
        other = draw(st.sampled_from(others))
        path.write_bytes(other.read_bytes())
        if way == "swap":
            other.write_bytes(content)
    else:
        path.unlink()
        if way == "folder":
            path.mkdir()


def damage_cells(draw, path):
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.integers(0, len(table) - 1))
        table.iloc[row, draw(st.integers(0, table.shape[1] - 1))] = draw(st.sampled_from(CELLS))
    table.to_csv(path, index=False)


def damage_rows(draw, path):
    """Drop, repeat, swap or turn rows of a table."""
    header, *rows = path.read_text().splitlines()
    first, second = sorted(draw(st.lists(st.integers(0, len(rows) - 1), min_size=2, max_size=2)))
    way = draw(st.sampled_from(["drop", "repeat", "swap", "turn", "blank", "short", "long"]))
    if way == "drop":
        del rows[first : second + 1]
    elif way == "repeat":
        rows[second:second] = rows[first : second + 1]
    elif way == "swap":
        rows[first], rows[second] = rows[second], rows[first]
    elif way == "turn":
        rows[first : second + 1] = rows[first : second + 1][::-1]
    else:
        rows[first] = {"blank": "", "short": rows[first].rpartition(",")[0], "long": rows[first] + ",1"}[way]
    path.write_text("\n".join([header, *rows]) + "\n")


def damage_columns(draw, path):
    """Rename, drop, repeat, swap or fill a column."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    first, second = (draw(st.sampled_from(list(table.columns))) for _ in range(2))
    way = draw(st.sampled_from(["rename", "drop", "repeat", "swap", "fill", "empty", "scale"]))
    if way == "rename":
        table = table.rename(columns={first: second + draw(st.sampled_from(["", "_s", " "]))})
    elif way == "drop":
        table = table.drop(columns=first)
    elif way == "repeat":
        table = pd.concat([table, table[[first]]], axis=1)
    elif way == "swap":
        table = table.rename(columns={first: second, second: first})
    elif way == "scale":
        numbers = pd.to_numeric(table[first], errors="coerce")
        table[first] = draw_scaled(draw, numbers)
    else:
        table[first] = "" if way == "empty" else draw(st.sampled_from(CELLS))
    table.to_csv(path, index=False)


def draw_scaled(draw, numbers):
    """Shifted, scaled, turned or rounded times."""
    factor = draw(st.sampled_from([1, 1, -1, 0, 1e-3, 1e3, 1.01, 2, 1e-9, 1e9, 1e25]))
    return numbers * factor + draw(st.sampled_from([0, 0, 1, -1, 5, 1000.5, -1000.5, 1e9]))


def damage_array(draw, path):
    """Another type, another shape, other entries."""
    array = np.load(path)
    way = draw(st.sampled_from(["dtype", "shape", "entries", "turn", "fortran", "part", "repeat", "order", "scale"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the damage itself
        if way == "dtype":
            array = array.astype(draw(st.sampled_from(DTYPES)))
        elif way == "shape":
            array = draw(st.sampled_from([array[None], array[..., None], array.ravel(), array[:0], array.ravel()[0]]))
        elif way == "turn":
            array = array.T
        elif way == "fortran":
            array = np.asfortranarray(array)
        elif way in ("part", "repeat", "order"):
            axis = draw(st.integers(0, array.ndim - 1))
            n = array.shape[axis]
            chosen = {
                "part": slice(*sorted((draw(st.integers(0, n)), draw(st.integers(0, n))))),
                "repeat": np.sort(np.append(np.arange(n), draw(st.integers(0, n - 1)))),
                "order": draw(st.permutations(range(n))),
            }[way]
            array = array[(slice(None),) * axis + (chosen,)]
        else:
            array = array.astype(float) if draw(st.booleans()) else array
            if way == "scale":
                array = draw_scaled(draw, array).astype(array.dtype)
            for _ in range(draw(st.integers(1, 3)) if way == "entries" else 0):
                array[tuple(draw(st.integers(0, n - 1)) for n in array.shape)] = draw(st.sampled_from(NUMBERS))
    np.save(path, array, allow_pickle=True)


def damage_info(draw, path):
    info = yaml.safe_load(path.read_text())
    key = draw(st.sampled_from(KEYS))
    if draw(st.booleans()):
        info[key] = draw(st.sampled_from(VALUES))
    else:
        info.pop(key, None)
    path.write_text(yaml.safe_dump(info, allow_unicode=True))


def damage(draw, root):
    """One to three damages to the files below a folder; a file too damaged for a finer damage gets another one."""
    for _ in range(draw(st.integers(1, 3))):
        files = sorted(path for path in root.rglob("*") if path.is_file())
        if not files:
            return
        path = draw(st.sampled_from(files))
        finer = {
            ".csv": [damage_cells, damage_cells, damage_rows, damage_columns],
            ".npy": [damage_array] * 3,
            ".yaml": [damage_info] * 2,
        }
        way = draw(st.sampled_from([damage_bytes, damage_file, *finer.get(path.suffix, [])]))
        try:
            way(draw, path)
        except Exception:  # of numpy, pandas or yaml: the file was too damaged already
            path.write_bytes(b"")


def come_out(read, folder):
    """The data set as it was stored, or None after a message; warnings, other errors and other files are failures."""
    store = folder / "scan.zarr.zip"
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            dataset = read()
            write_arrays(dataset, store, {})
        except InputError as error:
            assert_one_problem_a_line(str(error))
            assert list(folder.iterdir()) == []  # no store, whole or not, and nothing temporary
            dataset = None
    assert [str(warning.message) for warning in seen] == []
    event("refused" if dataset is None else "written")
    if dataset is None:
        return None
    assert list(folder.iterdir()) == [store]
    stored = read_arrays(store)
    for name in ("responses", "behavior", "pupil_center", "images"):
        assert np.isfinite(stored[name].values).all()
    assert stored.responses.equals(dataset.responses)
    return stored


def assert_one_problem_a_line(message):
    title, *lines = message.split("\n")
    assert title.strip() and title.isprintable()
    if lines:
        assert title.endswith(f": {len(lines)} problem{'s' if len(lines) > 1 else ''}")
    for line in lines:
        assert line.startswith("  - ") and len(line) > 10 and line.isprintable(), repr(line)


def read_as_check_does(folder, options):
    scan = read_scan(folder)
    dataset = build_dataset(scan, options)
    find_remarks(scan)
    scan_verdict(scan)
    return dataset


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    base = tmp_path_factory.mktemp("exports")
    small = {"n_single": 8, "n_repeated": 2, "repeats": 3, "n_units": 4, "height_px": 9, "width_px": 16}
    return {
        ("traces", True): make_export(base / "a", "traces", **small),
        ("traces", False): make_export(base / "b", "traces", area_columns=True, registered=True, **small),
        ("responses", True): make_export(base / "c", "responses", **small),
        ("responses", False): make_export(base / "d", "responses", area_columns=True, optional_files=False, **small),
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("trees") / "static5-6-7", 9, 16)


@pytest.mark.parametrize("form", ["traces", "responses"])
@examples(150)
@given(st.data())
def test_damaged_exports(exports, form, data):
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "scan"
        shutil.copytree(exports[form, data.draw(st.booleans())], folder)
        damage(data.draw, folder)
        (Path(base) / "out").mkdir()
        options = data.draw(st.sampled_from(OPTIONS))
        come_out(lambda: read_as_check_does(folder, options), Path(base) / "out")


@pytest.mark.parametrize("as_zip", [False, True])
@examples(75)
@given(st.data())
def test_damaged_trees(tree, as_zip, data):
    with tempfile.TemporaryDirectory() as base:
        source = Path(base) / tree.name
        shutil.copytree(tree, source)
        if not as_zip or data.draw(st.booleans()):
            damage(data.draw, source)
        if as_zip:
            source = zipped(source, Path(base) / f"{tree.name}.zip")
            if data.draw(st.booleans()):
                data.draw(st.sampled_from([damage_bytes, damage_file]))(data.draw, source)
        (Path(base) / "out").mkdir()
        come_out(lambda: read_sensorium(source, SIZE), Path(base) / "out")


@pytest.mark.parametrize("after", [0, 1, 7, 40])
def test_a_full_disk_leaves_the_old_store_or_none(exports, tmp_path, monkeypatch, after):
    """Whatever stops the writing: nothing new under the final name, nothing temporary beside it."""
    dataset = build_dataset(read_scan(exports["responses", True]), SIZE)
    store = tmp_path / "scan.zarr.zip"
    write_arrays(dataset.isel(trial=[0]), store, {})
    before = store.read_bytes()
    written, write = [], zipfile.ZipFile.writestr

    def full(*arguments):
        written.append(arguments)
        if len(written) > after:
            raise OSError(28, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    for path in (store, tmp_path / "new.zarr.zip"):
        written.clear()
        with pytest.raises(OSError, match="No space left"):
            write_arrays(dataset, path, {})
    assert list(tmp_path.iterdir()) == [store] and store.read_bytes() == before


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_tree_that_changes_while_it_is_read(tree, tmp_path, as_zip):
    """Responses are read again when the store is written."""
    source = shutil.copytree(tree, tmp_path / "tree")
    if as_zip:
        source = zipped(source, tmp_path / "tree.zip")
    dataset = read_sensorium(source, SIZE)
    if as_zip:
        source.write_bytes(source.read_bytes()[:-30])
    else:
        np.save(source / "data/responses/3.npy", np.zeros(3))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"changed while it was read|neither a folder nor a readable zip file"):
        write_arrays(dataset, tmp_path / "out" / "scan.zarr.zip", {})
    assert list((tmp_path / "out").iterdir()) == []
