import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from neurostatic.config import Stimuli
from neurostatic.data.calibration import MonitorCalibration
from neurostatic.data.frames import area_resize
from neurostatic.problems import InputError
from neurostatic.stimuli import files
from neurostatic.stimuli.files import check_shown, read_set, write_set
from neurostatic.stimuli.luminance import luminance_chain, match_luminance, upscale, upscale_mask
from neurostatic.stimuli.sets import (
    mei_vs_gabor_set,
    mei_vs_natural_set,
    mei_vs_rf_set,
    quality_table,
    within_tolerance,
)
from neurostatic.store import read_table

Y, X = np.mgrid[:36, :64].astype(float)
LEVELS = np.arange(0, 256, 15)
MONITOR = MonitorCalibration(LEVELS, 0.4 + 42 * (LEVELS / 255) ** 1.7)
UNITS = pd.DataFrame({"scan": "5-1-2", "unit_id": [11, 12, 13, 14], "hu_rank": [1, np.nan, 0, 150]})


def read_png(path):
    return np.array(Image.open(path))


def write_png(path, image):
    Image.fromarray(image).save(path)


def gabor(phase, cx):
    return 120 + 70 * np.exp(-((X - cx) ** 2 + (Y - 17) ** 2) / 50) * np.cos((X - cx) * 0.7 + phase)


CNN = np.stack([gabor(0.3 * i, 20 + 5 * i) for i in range(4)])
LINEAR = np.stack([gabor(2 + 0.3 * i, 22 + 5 * i) for i in range(4)])


@pytest.fixture(scope="module")
def stimuli():
    def respond(images, rows):
        return images.mean(axis=(1, 2)) + rows

    return mei_vs_rf_set(UNITS, CNN, LINEAR, MONITOR, respond_paired=respond)


def test_pairs_share_an_id_in_order_of_rank_and_shift(stimuli):
    manifest = stimuli.manifest
    assert list(manifest.columns) == list(files.MANIFEST_COLUMNS)
    assert len(manifest) == len(stimuli.images) == len(stimuli.qc) == 2 * 2 * 9
    cnn, linear = (manifest[manifest["image_class"] == c] for c in ("multi_cnn_mei", "multi_lin_rf"))
    same = ["image_id", "owner_scan", "owner_unit_id", "x_shift", "y_shift"]
    assert_array_equal(cnn[same], linear[same])
    assert cnn["image_id"].tolist() == list(range(18))
    # rank 0, then rank 1; rank 150 and no rank stay out
    assert cnn["owner_unit_id"].tolist() == [13] * 9 + [11] * 9
    assert cnn[["x_shift", "y_shift"]].values.tolist()[:4] == [[-1, -1], [-1, 0], [-1, 1], [0, -1]]
    assert cnn["file"].tolist()[3] == "multi_cnn_mei/03.png"


def test_images_are_matched_then_shifted(stimuli):
    manifest = stimuli.manifest
    assert stimuli.images.dtype == np.uint8 and stimuli.images.shape[1:] == (144, 256)
    centered = luminance_chain(CNN[2], MONITOR).image
    for place, row in manifest.query("image_class == 'multi_cnn_mei' and owner_unit_id == 13").iterrows():
        image = np.roll(np.roll(centered, 4 * row["x_shift"], axis=1), 4 * row["y_shift"], axis=0)
        assert_array_equal(stimuli.images[place], image)
        assert row["sha256"] == hashlib.sha256(image.tobytes()).hexdigest()
    linear = manifest.query("image_class == 'multi_lin_rf' and owner_unit_id == 11")
    centered = linear.query("x_shift == 0 and y_shift == 0").index[0]
    assert_array_equal(stimuli.images[centered], luminance_chain(LINEAR[0], MONITOR).image)


def test_prediction_is_of_the_rounded_image_by_its_owner(stimuli):
    rows = stimuli.manifest["owner_unit_id"].map({11: 0, 13: 2})
    expected = area_resize(stimuli.images, 36, 64, rounded=False).mean(axis=(1, 2)) + rows
    assert_allclose(stimuli.manifest["predicted_response"], expected)
    without = mei_vs_rf_set(UNITS, CNN, LINEAR, MONITOR, Stimuli(shifts_px=(0,)))
    assert without.manifest["predicted_response"].isna().all() and len(without.images) == 4


def test_every_image_is_at_the_target_after_rounding(stimuli):
    assert stimuli.qc["ok"].all()
    shown = MONITOR.luminance(stimuli.images)
    assert_allclose(stimuli.qc["mean_cd_m2"], shown.mean(axis=(1, 2)))
    assert_allclose(stimuli.qc["contrast_cd_m2"], shown.std(axis=(1, 2)))
    assert_allclose(stimuli.qc["mean_cd_m2"], 10, rtol=0.05)
    assert_allclose(stimuli.qc["contrast_cd_m2"], 2, rtol=0.05)


def test_tolerance_is_five_percent():
    assert [within_tolerance(m, 10) for m in (10.4, 10.6, 10)] == [True, False, True]
    assert [within_tolerance(c, 2) for c in (2.0, 1.91, 1.89)] == [True, True, False]


def test_quality_table_sees_a_darkened_image(stimuli):
    darker = np.clip(stimuli.images[:2], 1, 254)
    darker[1] = np.maximum(darker[1], 20) - 12
    darker[1, 0, :] = 0
    qc = quality_table(darker, stimuli.manifest[:2], MONITOR, 10, 2)
    assert qc["mean_ok"].tolist() == [True, False] and qc["ok"].tolist() == [True, False]
    assert qc["clipped_fraction"].tolist() == [0, pytest.approx(1 / 144)]


def test_images_that_miss_the_target_are_all_named():
    flat_cnn, flat_linear = CNN.copy(), LINEAR.copy()
    flat_cnn[2], flat_linear[0] = 7.0, 120.0
    with pytest.raises(InputError) as error:
        mei_vs_rf_set(UNITS, flat_cnn, flat_linear, MONITOR, Stimuli(shifts_px=(0, 1)))
    message = str(error.value)
    assert "2 problems" in message
    assert "multi_cnn_mei 0, 1, 2, 3 (scan 5-1-2, unit 13): mean" in message
    assert "multi_lin_rf 4, 5, 6, 7 (scan 5-1-2, unit 11): mean" in message
    assert "contrast 0.000 cd/m2 (target 2 +- 5%)" in message
    with pytest.raises(InputError, match=r"(?s)4 problems.*target 20 \+- 5%"):
        mei_vs_rf_set(UNITS, CNN, LINEAR, MONITOR, Stimuli(contrast_cd_m2=20.0, shifts_px=(0,)))


def test_all_faults_of_the_input_are_named():
    units = UNITS.assign(hu_rank=[0, 0, 1, 2], unit_id=[1, 1, 3, 4])
    broken = LINEAR.copy()
    broken[3, 0, 0] = np.nan
    with pytest.raises(InputError) as error:
        mei_vs_rf_set(units, CNN, broken, MONITOR, Stimuli(shifts_px=(-1, 1)))
    message = str(error.value)
    assert "4 problems" in message
    for said in (
        "hu_rank [0] given more than once",
        "a unit (scan, unit_id)",
        "0 among them",
        "unit 4 is not finite",
    ):
        assert said in message


@pytest.mark.parametrize(
    ("units", "linear", "said"),
    [
        (UNITS.drop(columns="hu_rank"), LINEAR, "column 'hu_rank' of units is missing"),
        (UNITS, LINEAR[:3], r"needed are \(4 units, y, x\) images"),
        (UNITS, LINEAR[:, :20], "in the size of the MEIs"),
        (UNITS.assign(hu_rank=np.nan), LINEAR, "no unit has a hu_rank below 150"),
        (UNITS.assign(hu_rank="first"), LINEAR, "hu_rank must be a number or empty"),
        (UNITS.assign(hu_rank=[0, 0.5, 1, 2]), LINEAR, "hu_rank must be whole, from 0"),
        (UNITS.assign(hu_rank=[-1, 0, 1, 2]), LINEAR, "hu_rank must be whole, from 0"),
        (UNITS.assign(unit_id=["a", "b", "c", "d"]), LINEAR, "unit_id must be a whole number"),
    ],
)
def test_bad_input_is_refused(units, linear, said):
    with pytest.raises(InputError, match=said):
        mei_vs_rf_set(units, CNN, linear, MONITOR)


def test_labelled_meis_off_by_one_are_refused():
    labels = {"unit_id": ("unit", UNITS["unit_id"]), "scan": ("unit", UNITS["scan"])}
    linear = xr.DataArray(LINEAR, dims=("unit", "y", "x"), coords=labels)
    assert len(mei_vs_rf_set(UNITS, CNN, linear, MONITOR, Stimuli(shifts_px=(0,))).images) == 4
    with pytest.raises(InputError, match="multi_lin_rf: coordinate 'unit_id' is not in the order"):
        mei_vs_rf_set(UNITS, CNN, linear.roll(unit=1, roll_coords=True), MONITOR)


def test_a_monitor_too_dark_is_refused():
    dark = MonitorCalibration(LEVELS, 0.4 + 8 * (LEVELS / 255) ** 1.7)
    with pytest.raises(InputError, match="cannot be shown"):
        mei_vs_rf_set(UNITS, CNN, LINEAR, dark)


def files_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_written_set_reads_back(stimuli, tmp_path):
    folder = tmp_path / "stimuli" / "mei_vs_rf"
    write_set(stimuli, folder, {"seed": 1})
    manifest, images = read_set(folder)
    assert_array_equal(images, stimuli.images)
    pd.testing.assert_frame_equal(manifest, stimuli.manifest, check_dtype=False)
    assert files_under(folder) == set(manifest["file"]) | set(files.TABLES)
    assert read_png(folder / "multi_lin_rf" / "17.png").shape == (144, 256)
    assert read_table(folder / "qc.csv")["ok"].all()
    assert os.listdir(folder.parent) == ["mei_vs_rf"]


def test_files_of_an_earlier_run_go(stimuli, tmp_path):
    folder = tmp_path / "mei_vs_rf"
    write_set(stimuli, folder, {})
    small = mei_vs_rf_set(UNITS, CNN, LINEAR, MONITOR, Stimuli(shifts_px=(0,)))
    write_set(small, folder, {})
    assert files_under(folder) == set(small.manifest["file"]) | set(files.TABLES)
    (folder / "manifest.csv").unlink()  # as a workflow does before it runs a rule again
    write_set(small, folder, {})
    assert len(read_set(folder)[1]) == 4


def test_a_failure_while_writing_leaves_the_earlier_set(stimuli, tmp_path, monkeypatch):
    folder = tmp_path / "mei_vs_rf"
    write_set(stimuli, folder, {})
    before = files_under(folder)

    save = Image.Image.save

    def full_disk(image, path):
        if path.name == "05.png":
            raise OSError("no space left")
        save(image, path)

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_set(stimuli, folder, {})
    assert files_under(folder) == before and os.listdir(tmp_path) == ["mei_vs_rf"]
    with pytest.raises(OSError, match="no space left"):
        write_set(stimuli, tmp_path / "fresh", {})
    assert os.listdir(tmp_path) == ["mei_vs_rf"]


def test_a_folder_with_other_files_is_left_alone(stimuli, tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.docx"):
        write_set(stimuli, tmp_path, {})
    assert files_under(tmp_path) == {"thesis.docx"}
    (tmp_path / "thesis.docx").rename(tmp_path / "figure.png")
    (tmp_path / "plots").mkdir()
    (tmp_path / "figure.png").rename(tmp_path / "plots/figure.png")
    with pytest.raises(InputError, match=r"plots/figure\.png"):
        write_set(stimuli, tmp_path, {})
    assert files_under(tmp_path) == {"plots/figure.png"}


def test_reading_names_every_damaged_image(stimuli, tmp_path):
    folder = tmp_path / "set"
    write_set(stimuli, folder, {})
    changed = read_png(folder / "multi_cnn_mei" / "00.png").copy()
    changed[0, 0] += 1
    write_png(folder / "multi_cnn_mei" / "00.png", changed)
    (folder / "multi_cnn_mei" / "01.png").unlink()
    (folder / "multi_cnn_mei" / "02.png").write_bytes(b"not a picture")
    write_png(folder / "multi_cnn_mei" / "03.png", np.zeros((144, 256, 3), np.uint8))
    write_png(folder / "multi_cnn_mei" / "04.png", np.zeros((36, 64), np.uint8))
    with pytest.raises(InputError) as error:
        read_set(folder)
    message = str(error.value)
    assert "5 problems" in message
    for said in (
        "00.png: the pixels differ",
        "01.png: not a readable",
        "02.png: not a readable",
        "03.png: not an 8-bit",
    ):
        assert f"multi_cnn_mei/{said}" in message
    with pytest.raises(InputError, match="no such file"):
        read_set(tmp_path / "nowhere")


def drawn_gabor(phase, cx):
    return np.exp(-((X - cx) ** 2 + (Y - 17) ** 2) / 50) * np.cos((X - cx) * 0.7 + phase)


GABORS = np.stack([drawn_gabor(i, 22 + 5 * i) for i in range(4)])
MASKS = np.stack([np.exp(-((X - 20 - 5 * i) ** 2 + (Y - 17) ** 2) / 60) for i in range(4)])
NATURAL = np.random.default_rng(0).integers(20, 236, (4, 144, 256)).astype(float)


def test_meis_against_gabors():
    """Gabors are in luminance already: only their mean and contrast are set. No shifts."""
    gabor_set = mei_vs_gabor_set(UNITS, CNN, GABORS, MONITOR)
    assert gabor_set.manifest.image_class.tolist() == ["multi_cnn_mei"] * 2 + ["gabor"] * 2
    assert gabor_set.manifest.image_id.tolist() == [0, 1, 0, 1]
    assert gabor_set.manifest.owner_unit_id.tolist() == [13, 11] * 2
    assert_array_equal(gabor_set.images[0], luminance_chain(CNN[2], MONITOR).image)
    assert_array_equal(gabor_set.images[2], match_luminance(upscale(GABORS[2], 4), MONITOR).image)
    assert gabor_set.qc["ok"].all()


def test_masked_meis_against_natural_images_behind_the_same_mask():
    natural = mei_vs_natural_set(UNITS, CNN, NATURAL, MASKS, MONITOR)
    assert natural.manifest.image_class.tolist() == ["masked_mei"] * 2 + ["masked_imagenet"] * 2
    assert_array_equal(natural.images[1], luminance_chain(CNN[0], MONITOR, mask=MASKS[0]).image)
    expected = match_luminance(MONITOR.luminance(NATURAL[0]), MONITOR, mask=upscale_mask(MASKS[0], 4)).image
    assert_array_equal(natural.images[3], expected)
    assert natural.qc["ok"].all()
    background = natural.images[:, :4, -4:]  # outside the mask there is only the mean
    assert np.ptp(background.reshape(4, -1), axis=1).max() <= 1
    with pytest.raises(InputError, match=r"masked_imagenet: images of 36 x 64 px, 144 x 256 px are needed"):
        mei_vs_natural_set(UNITS, CNN, NATURAL[:, :36, :64], MASKS, MONITOR)
    with pytest.raises(InputError, match="tight mask: image of scan 5-1-2, unit 13 is not finite"):
        mei_vs_natural_set(UNITS, CNN, NATURAL, np.where(np.arange(4)[:, None, None] == 2, np.nan, MASKS), MONITOR)
    labels = {"unit_id": ("unit", UNITS["unit_id"][::-1]), "scan": ("unit", UNITS["scan"])}
    with pytest.raises(InputError, match="tight mask: coordinate 'unit_id' is not in the order"):
        mei_vs_natural_set(UNITS, CNN, NATURAL, xr.DataArray(MASKS, dims=("unit", "y", "x"), coords=labels), MONITOR)


def test_a_set_is_made_in_any_size():
    large = mei_vs_gabor_set(UNITS, CNN, GABORS, MONITOR, Stimuli(zoom=7.5), respond_paired=lambda images, rows: rows)
    assert large.images.shape == (4, 270, 480) and large.qc["ok"].all()
    assert large.manifest.predicted_response.tolist() == [2, 0, 2, 0]


def test_a_set_has_at_most_so_many_units():
    units = UNITS.assign(hu_rank=[0, 1, 2, 3])
    chosen = mei_vs_gabor_set(units, CNN, GABORS, MONITOR, Stimuli(max_units=2)).manifest.owner_unit_id
    assert chosen.tolist() == [11, 12, 11, 12]


def test_a_set_made_again_is_the_same(tmp_path):
    for name in ("first", "second"):
        write_set(mei_vs_gabor_set(UNITS, CNN, GABORS, MONITOR), tmp_path / name, {})
    write_set(mei_vs_gabor_set(UNITS, CNN, GABORS, MONITOR), tmp_path / "first", {})
    contents = [
        {f: (tmp_path / name / f).read_bytes() for f in files_under(tmp_path / name)} for name in ("first", "second")
    ]
    for content in contents:
        content.pop("manifest.csv.json"), content.pop("qc.csv.json")  # they hold the time
    assert contents[0] == contents[1] and len(contents[0]) == 6


def test_a_scan_that_was_shown_other_images_is_refused(stimuli, tmp_path):
    """By their pixels: the same names may be of another set, or of one that was made anew."""
    manifest, images = stimuli.manifest, stimuli.images
    write_set(stimuli, tmp_path / "set", {})
    others = pd.DataFrame({"image_class": ["photo", "multi_cnn_mei"], "image_id": [0, 999]})
    table = pd.concat([others, manifest[["image_class", "image_id"]]], ignore_index=True)
    shown = np.concatenate([np.zeros((2, 144, 256), np.uint8), images])
    assert check_shown(tmp_path / "set", table, shown, "day3") == len(manifest)
    assert check_shown(tmp_path / "set", table, shown[:, ::2, ::2], "day3") == 0  # shown in another size
    with pytest.raises(InputError, match=r"day3: shows images of class photo, but .* are multi_cnn_mei, multi_l"):
        check_shown(tmp_path / "set", table.assign(image_class="photo"), shown, "day3")
    swapped = shown.copy()
    swapped[[2, 3]] = swapped[[3, 2]]
    with pytest.raises(InputError, match=r"(?s)scan day3: images that differ .*multi_cnn_mei 0\n.*multi_cnn_mei 1$"):
        check_shown(tmp_path / "set", table, swapped, "day3")


def test_a_unit_has_one_id_in_every_set():
    """A unit without a Gabor is left out of one set; the image of the other keeps its name."""
    whole = mei_vs_rf_set(UNITS, CNN, LINEAR, MONITOR, Stimuli(shifts_px=(0,))).manifest
    left = [0, 1, 3]  # all but the unit of rank 0
    fewer = mei_vs_gabor_set(UNITS.iloc[left], CNN[left], GABORS[left], MONITOR).manifest
    names = ["image_class", "image_id", "owner_unit_id", "sha256"]
    (both,) = whole[names].merge(fewer[names], on=names[:2]).itertuples()
    assert both.image_id == 1 and both.owner_unit_id_x == both.owner_unit_id_y == 11
    assert both.sha256_x == both.sha256_y
