"""Preprocessing: the published sets by name, images in color, through apertures and in cd/m2, and size."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from exports import make_export

from neurostatic.config import Preprocessing, read_config
from neurostatic.data import build_dataset, read_scan
from neurostatic.data.calibration import fit_gamma
from neurostatic.data.frames import aperture_mask
from neurostatic.problems import InputError
from neurostatic.store import read_arrays, write_arrays

ROOT = Path(__file__).parents[1]
# id: offset_s, duration_s, height_px, width_px, luminance (gamma), norm_tier, stats_per_input
PUBLISHED_SETS = {
    0: (0.05, 0.5, 36, 64, False, "train", False),
    2: (0.05, 0.5, 72, 128, False, "train", False),
    3: (0.05, 0.5, 36, 64, True, "train", False),
    4: (0.03, 0.5, 36, 64, False, "train", False),
    5: (0.05, 0.5, 36, 64, False, "all", True),
    6: (0.05, 0.5, 36, 64, False, "train", True),
    7: (0.05, 0.5, 36, 64, True, "train", True),
    9: (0.05, 0.5, 36, 64, False, "train", True),
    10: (0.05, 0.1, 36, 64, False, "train", True),
    11: (0.05, 0.2, 36, 64, False, "train", True),
    12: (0.05, 0.3, 36, 64, False, "train", True),
    13: (0.05, 0.4, 36, 64, False, "train", True),
    14: (0.05, 0.5, 36, 64, False, "test", True),
}


@pytest.mark.parametrize("number", PUBLISHED_SETS)
def test_published_sets(number):
    """Each overlay is its row of the published table, and changes nothing else. 1 and 8 are of another data source."""
    overlay = yaml.safe_load((ROOT / f"workflow/config/preprocessing/{number}.yaml").read_text())
    config, default = (read_config(ROOT / "config.yaml", overlay) for overlay in (overlay, {}))
    found, data = config.preprocessing, config.data_config
    window = (found.offset_s, found.duration_s, found.height_px, found.width_px, found.luminance)
    assert (*window, data.norm_tier, data.image_std == "images") == PUBLISHED_SETS[number]
    varied = ("offset_s", "duration_s", "height_px", "width_px", "luminance")
    assert replace(found, **{name: asdict(default.preprocessing)[name] for name in varied}) == default.preprocessing
    assert replace(data, norm_tier="train", image_std="pixels") == default.data_config


def test_every_overlay_is_tested():
    assert {int(path.stem) for path in (ROOT / "workflow/config/preprocessing").glob("*")} == set(PUBLISHED_SETS)


def test_the_default_is_the_published_set_0():
    assert read_config(ROOT / "config.yaml").preprocessing == Preprocessing()


def color_export(folder, **columns):
    """A responses-form export with images of three channels and the given columns of images.csv."""
    make_export(folder, "responses", height_px=72, width_px=128)
    table = pd.read_csv(folder / "images.csv")
    rng = np.random.default_rng(5)
    np.save(folder / "images.npy", rng.integers(0, 256, (len(table), 72, 128, 3), dtype=np.uint8))
    table.assign(**columns).to_csv(folder / "images.csv", index=False)
    return folder


def test_images_in_color(tmp_path):
    """Each channel is reduced as a gray image is; the store keeps the channels."""
    export = color_export(tmp_path / "scan")
    colored = build_dataset(read_scan(export))
    assert colored.images.dims == ("image", "channel", "y", "x") and colored.sizes["channel"] == 3
    images = np.load(export / "images.npy")
    for channel in range(3):
        np.save(export / "images.npy", np.ascontiguousarray(images[..., channel]))
        gray = build_dataset(read_scan(export))
        assert np.array_equal(colored.images.values[:, channel], gray.images.values)
        assert np.array_equal(colored.images_id, gray.images_id)
    write_arrays(colored, tmp_path / "color.zarr.zip", {})
    assert np.array_equal(read_arrays(tmp_path / "color.zarr.zip").images, colored.images)


def test_images_behind_apertures(tmp_path):
    n = 27
    aperture = {"aperture_transition": 0.05, "aperture_x": 0.1, "aperture_y": 0.0, "background_px": 128.0}
    radius = np.where(np.arange(n) % 2, 0.25, np.nan)
    aperture = {name: np.where(np.isnan(radius), np.nan, value) for name, value in aperture.items()}
    shown = build_dataset(read_scan(color_export(tmp_path / "a", aperture_r=radius, **aperture)))
    whole = build_dataset(read_scan(color_export(tmp_path / "b")))
    alpha = aperture_mask(36, 64, 0.25, 0.05, 0.1, 0.0)
    for image, image_id in enumerate(shown.images_id.values):
        expected = whole.images.values[image]
        if not np.isnan(radius[image_id - 1]):
            expected = (expected - 128) * alpha + 128
        assert shown.images.values[image] == pytest.approx(expected, abs=1e-4)
    with pytest.raises(InputError, match=r"images\.csv, columns aperture_r, .*, rows 2, 4, 6 and 11 more: an apert"):
        read_scan(color_export(tmp_path / "c", aperture_r=0.25, **aperture))
    with pytest.raises(InputError, match=r"has the columns aperture_r of an aperture; all of aperture_r, aperture_tr"):
        read_scan(color_export(tmp_path / "d", aperture_r=0.25))


def test_images_in_luminance(exports, tmp_path):
    """A px^gamma + offset of the monitor; the test export's is (px / 50)^2."""
    scan = read_scan(exports["responses"])
    gray = build_dataset(scan)
    light = build_dataset(scan, Preprocessing(luminance=True))
    assert light.images.attrs["units"] == "cd/m2" and gray.images.attrs["units"] == "px"
    assert light.images.values == pytest.approx((gray.images.values / 50) ** 2, rel=1e-3, abs=1e-3)
    table = scan.monitor_calibration
    assert light.attrs["calibration_gamma"] == fit_gamma(table.pixel_value, table.luminance_cd_m2).gamma
    assert light.attrs["calibration"] == "2019-03-10"
    bare = make_export(tmp_path / "bare", "responses", optional_files=False)
    with pytest.raises(InputError, match=r"scan bare: preprocessing\.luminance needs monitor_calibration\.csv"):
        build_dataset(read_scan(bare), Preprocessing(luminance=True))


def test_images_need_not_be_rounded(tmp_path):
    scan = read_scan(make_export(tmp_path / "scan", "responses", height_px=144, width_px=256))
    exact = build_dataset(scan, Preprocessing(round_px=False))
    assert (exact.images.values % 1 != 0).mean() > 0.5
    assert np.abs(exact.images.values - build_dataset(scan).images.values).max() <= 0.5


def test_tiers_by_hash_do_not_move_when_images_are_added(tmp_path):
    def tiers(n_single, **options):
        scan = read_scan(make_export(tmp_path / f"{n_single}", "responses", n_single=n_single))
        data = build_dataset(scan, Preprocessing(validation_fraction=0.3, **options))
        return dict(zip(data.image_id.values.tolist(), data.tier.values.tolist(), strict=True))

    few, many = (tiers(n, validation_split="threshold") for n in (40, 60))
    common = few.keys() & many.keys()
    assert len(common) > 30 and all(few[image] == many[image] for image in common)
    assert 0 < sum(tier == "validation" for tier in few.values()) < 25
    with pytest.raises(InputError, match="none of 26 images has 5 or more valid trials"):
        build_dataset(read_scan(make_export(tmp_path / "x", "responses")), Preprocessing(min_repeats=5))


@pytest.mark.parametrize("form", ["traces", "responses"])
def test_block_by_block_is_the_whole_to_the_last_bit(form, exports, tmp_path, monkeypatch):
    """NaN in traces, some at the borders of blocks, are filled from what lies beyond the block."""
    export = shutil.copytree(exports[form], tmp_path / "scan")
    if form == "traces":
        traces = np.load(export / "traces.npy")
        traces[0, 30:90] = np.nan
        traces[1, ::3] = np.nan
        traces[2, :40] = traces[3, -20:] = traces[4] = np.nan
        np.save(export / "traces.npy", traces)
    dataset = build_dataset(read_scan(export))
    whole = dataset.responses.values
    assert np.isfinite(whole).all() and dataset.dead.values.sum() == (form == "traces")
    for rows in (slice(0, 1), slice(5, 9), np.array([20, 3, 34]), 7):
        assert np.array_equal(dataset.responses[rows].values, whole[rows])
    assert np.array_equal(dataset.responses[3:9, [4, 0]].values, whole[3:9, [4, 0]])
    monkeypatch.setattr("neurostatic.data.responses.BLOCK_BYTES", 1)  # one unit at a time
    monkeypatch.setattr("neurostatic.store.WRITE_BYTES", 40)  # one or two trials at a time
    monkeypatch.setattr("neurostatic.store.CHUNK_BYTES", 60)
    write_arrays(build_dataset(read_scan(export)), tmp_path / "small.zarr.zip", {})
    assert np.array_equal(read_arrays(tmp_path / "small.zarr.zip").responses.values, whole)


def test_nothing_was_recorded_of_a_dead_unit(exports, tmp_path):
    """A constant or missing trace is dead; a unit that is silent in the trials only is not."""
    export = shutil.copytree(exports["traces"], tmp_path / "scan")
    traces = np.load(export / "traces.npy")
    traces[0], traces[1], traces[2, :10], traces[2, 10:] = 0.5, np.nan, 1.0, 0.0
    np.save(export / "traces.npy", traces)
    dataset = build_dataset(read_scan(export))
    assert dict(zip(dataset.unit_id.values.tolist(), dataset.dead.values.tolist(), strict=True)) == {
        101: False, 102: False, 103: False, 104: True, 105: True,
    }  # fmt: skip
    silent = dataset.responses.values[:, dataset.unit_id.values == 103]
    assert (silent == 0).all()


def test_variables_have_units(exports):
    dataset = build_dataset(read_scan(exports["traces"]))
    units = {name: dataset[name].attrs["units"] for name in ("images", "responses", "behavior", "um_x", "px_y")}
    assert units == {"images": "px", "responses": "a.u.", "behavior": "px, px/s, cm/s", "um_x": "um",
                     "px_y": "px of the field"}  # fmt: skip


def test_the_rule_of_2019_counts_what_was_shown(tmp_path):
    """Images shown more often than the median are test images, whatever is dropped of their trials."""
    export = make_export(tmp_path / "scan", "responses", n_single=9, n_repeated=3, repeats=4)
    trials = pd.read_csv(export / "trials.csv")
    counts = trials.image_id.map(trials.image_id.value_counts())
    lost = trials.image_id == trials.image_id[counts == 4].iloc[0]
    trials.loc[np.flatnonzero(lost)[1:], "excluded"] = True  # one of its four trials is left
    trials.to_csv(export / "trials.csv", index=False)
    data = build_dataset(read_scan(export), Preprocessing(tier_rule="2019"))
    test = set(data.image_id.values[data.tier.values == "test"].tolist())
    assert test == set(trials.image_id[counts == 4])
    current = build_dataset(read_scan(export))
    assert len(set(current.image_id.values[current.tier.values == "test"].tolist())) == 2
