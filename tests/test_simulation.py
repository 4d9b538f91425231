"""The virtual mouse: 40 cells that see 120 natural images on day 1 and 12 stimuli on day 3."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import skimage.io
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.ndimage import shift
from scipy.spatial.distance import cdist, pdist

from neurostatic.config import Simulation
from neurostatic.data import build_dataset, read_scan
from neurostatic.simulation import (
    closed_loop_session,
    drive_ratio,
    evoked_by,
    matches_correct,
    natural_session,
    simulate_scan,
    single_trial_ceiling,
)
from neurostatic.simulation.cortex import true_meis
from neurostatic.simulation.mouse import virtual_cortex
from neurostatic.simulation.photos import crop_photos, load_photos
from neurostatic.statistics import pearson
from neurostatic.store import InputError

CONFIG = Simulation(n_cells=40, n_images=120, n_repeated=8, repeats=6, lost_fraction=0.2)
Y, X = np.mgrid[:36, :64].astype(float)
PHASES_DEG = range(0, 360, 45)
MANIFEST = pd.DataFrame({"image_class": ["mei", "rf"] * 6, "image_id": np.arange(12) // 2, "other": 0})
STIMULI_PX = np.random.default_rng(0).integers(0, 256, (12, 144, 256), dtype=np.uint8)


@pytest.fixture(scope="module")
def day1(tmp_path_factory):
    """Folder of the export, and the truth."""
    folder = tmp_path_factory.mktemp("day1")
    return folder, simulate_scan(CONFIG, natural_session(CONFIG), folder)


@pytest.fixture(scope="module")
def day3(tmp_path_factory):
    folder = tmp_path_factory.mktemp("day3")
    return folder, simulate_scan(CONFIG, closed_loop_session(CONFIG, 3, MANIFEST, STIMULI_PX), folder)


@pytest.fixture(scope="module")
def cortex():
    return virtual_cortex(CONFIG)


@pytest.fixture(scope="module")
def crops_px():
    """200 natural images at the cells' resolution."""
    crops = crop_photos(load_photos(), 200, 144, 256, np.random.default_rng(0))
    return crops.reshape(200, 36, 4, 64, 4).mean((2, 4))


def at_contrast(images_px, contrast_px=11.0):
    """Images (..., y, x) of mean 128 px and one standard deviation, clipped to 0-255."""
    for _ in range(10):
        deviation = images_px - images_px.mean((-2, -1), keepdims=True)
        gain = contrast_px / deviation.std((-2, -1), keepdims=True)
        images_px = (128 + gain * deviation).clip(0, 255)
    return images_px


def evoked(cortex, images_px):
    """Response (cell,) of each cell to its own image of (cell, y, x)."""
    return cortex.evoked(torch.tensor(images_px, dtype=torch.float32)[None])[0].numpy()


def gratings(cortex, phase_deg=0.0, contrast_px=40.0, length=np.inf, width=np.inf):
    """(cell, y, x): each cell's preferred grating under a Gaussian, in units of the receptive field's size."""
    images = []
    for cell in cortex.cells.itertuples():
        theta = np.deg2rad(cell.orientation_deg)
        across = (X - cell.rf_x_px) * np.cos(theta) + (Y - cell.rf_y_px) * np.sin(theta)
        along = (Y - cell.rf_y_px) * np.cos(theta) - (X - cell.rf_x_px) * np.sin(theta)
        wave = np.cos(2 * np.pi * across / cell.wavelength_px + np.deg2rad(cell.phase_deg + phase_deg))
        size_px = 0.4 * cell.wavelength_px
        images.append(wave * np.exp(-((along / (length * size_px)) ** 2 + (across / (width * size_px)) ** 2) / 2))
    return 128 + contrast_px * np.array(images)


def somata(scan):
    return scan.units[scan.units.mask_type == "soma"].set_index("unit_id")


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_day_1_is_a_valid_export(day1):
    folder, truth = day1
    scan = read_scan(folder)
    assert scan.form == "traces" and scan.info["stim_type"] == "imagenet" and scan.info["mei_source"] == 1
    assert scan.images.shape == (120, 144, 256)
    shown = scan.trials.groupby("image_id").size()
    assert (shown[:8] == 6).all() and (shown[8:] == 1).all() and len(shown) == 120
    assert scan.trials.image_id.tolist() != sorted(scan.trials.image_id)
    assert_array_equal(truth.unit_id, somata(scan).index)
    assert_array_equal(truth.trial_idx, scan.trials.trial_idx)
    assert scan.stack_coordinates.groupby("stack").unit_id.agg(set).tolist() == [set(truth.unit_id.values)] * 3


def test_a_closed_loop_day_shows_exactly_the_stimuli(day3):
    scan = read_scan(day3[0])
    assert scan.info["stim_type"] == "mei" and scan.info["day"] == 3 and scan.info["mei_source"] == 0
    assert_array_equal(scan.images, STIMULI_PX)
    assert scan.image_table[["image_class", "image_id"]].values.tolist() == MANIFEST.iloc[:, :2].values.tolist()
    assert (scan.trials.groupby(["image_class", "image_id"]).size() == CONFIG.closed_loop_repeats).all()
    assert scan.trials.condition_hash.nunique() == 12
    assert "true_mei" not in day3[1]


def test_blemishes(day1, day3):
    """Dropped flips, trials thrown out, blinks and a lost pupil, masks that are no somata; never in the truth."""
    scan = read_scan(day1[0])
    flips = pd.concat([scan.trials, read_scan(day3[0]).trials])
    assert 0 < flips.flip_onset_s.isna().sum() < 0.03 * len(flips)
    assert 0 < flips.excluded.sum() < 0.03 * len(flips)
    assert set(flips.exclusion_comment[flips.excluded]) == {"monitor flicker"}
    lost = scan.eye.radius_px.isna()
    assert lost.sum() >= 200 and lost.mean() < 0.3
    assert_array_equal(scan.eye.center_x_px.isna(), lost)
    assert (lost.astype(int).diff() == 1).sum() > 1  # the lost pupil, and blinks
    assert set(scan.units.mask_type) > {"soma"} and len(scan.units) > len(somata(scan))
    assert np.isfinite(day1[1].rate).all()


def test_a_seed_decides_every_bit_of_every_file(day1, tmp_path):
    np.random.seed(7)
    torch.manual_seed(7)
    again = simulate_scan(CONFIG, natural_session(CONFIG), tmp_path / "again")
    assert files(tmp_path / "again") == files(day1[0])
    assert again.identical(day1[1])

    other = dataclasses.replace(CONFIG, seed=2)
    simulate_scan(other, natural_session(other), tmp_path / "other")
    same = {name for name, content in files(tmp_path / "other").items() if content == files(day1[0])[name]}
    assert same == {"scan.yaml", "images.csv", "fields.csv", "area_masks.npz", "monitor_calibration.csv"}


def test_the_cells_are_the_same_on_every_day(day1, day3):
    """Some are lost and some are new; each keeps its nature; ids are permuted and the field of view is displaced."""
    first, later = (truth.swap_dims(unit="cell_id") for _, truth in (day1, day3))
    common = np.intersect1d(first.cell_id, later.cell_id)
    assert set(first.cell_id.values) - set(common) and set(later.cell_id.values) - set(common) and len(common) > 15
    natures = [name for name in later.data_vars if later[name].dims == ("cell_id",)]
    assert {"kind", "x_um", "z_um", "rf_x_px", "orientation_deg", "events", "evoked_scale"} <= set(natures)
    for name in natures:
        assert_array_equal(first[name].sel(cell_id=common), later[name].sel(cell_id=common))
    ids = np.array([truth.unit_id.sel(cell_id=common) for truth in (first, later)])
    assert np.mean(ids[0] == ids[1]) < 0.2 and abs(np.corrcoef(ids.argsort(1).argsort(1))[0, 1]) < 0.6
    tables = [somata(read_scan(folder))[["um_x", "um_y"]] for folder, _ in (day1, day3)]
    displaced = tables[1].loc[ids[1]].to_numpy() - tables[0].loc[ids[0]].to_numpy()
    assert_allclose(displaced, np.broadcast_to(np.median(displaced, 0), displaced.shape), atol=4)  # clipped at the rim
    assert 0.1 < np.linalg.norm(np.median(displaced, 0)) < 15


def test_somata_are_apart_and_every_registration_has_its_own_error(day1):
    folder, truth = day1
    true_um = np.stack([truth[name] for name in ("x_um", "y_um", "z_um")], 1)
    assert pdist(true_um).min() >= 14
    errors = []
    for _, stack in read_scan(folder).stack_coordinates.groupby("stack"):
        placed = stack.set_index("unit_id").loc[truth.unit_id.values, ["x_um", "y_um", "z_um"]]
        errors.append(placed.to_numpy() - true_um)
    of_fields = np.mean(errors, 1)
    assert pdist(of_fields).max() > CONFIG.stack_error_um
    assert np.std(errors - of_fields[:, None]) == pytest.approx(CONFIG.stack_error_um, rel=0.15)


def test_the_nearest_soma_is_the_same_cell(day1, day3):
    """By one registration of both days; matches that are off by one are all wrong."""
    (first, source), (later, target) = day1, day3
    stacks = [read_scan(folder).stack_coordinates.query("stack == 'stack-1'") for folder in (first, later)]
    positions = [stack[["x_um", "y_um", "z_um"]].to_numpy() for stack in stacks]
    apart = cdist(*positions)
    near = np.flatnonzero(apart.min(1) < 10)
    ids = stacks[1].unit_id.to_numpy()
    matches = pd.DataFrame({"src_unit_id": stacks[0].unit_id.to_numpy()[near], "unit_id": ids[apart[near].argmin(1)]})
    assert len(matches) > 15
    assert matches_correct(source, target, matches).mean() > 0.9
    off_by_one = matches.assign(unit_id=np.roll(matches.unit_id, 1))
    assert matches_correct(source, target, off_by_one).mean() < 0.1


def test_what_was_recorded_is_what_the_cells_did(day1):
    """The truth predicts the data set's trials, as clocks, delays and ids agree; that of the next trial does not."""
    folder, truth = day1
    scan = read_scan(folder)
    undelayed = dataclasses.replace(scan, units=scan.units.assign(ms_delay=0.0))
    data, early = build_dataset(scan), build_dataset(undelayed)

    def ceiling(data, off_by=0):
        trial_idx = np.roll(data.trial_idx.values, off_by)
        return single_trial_ceiling(truth, data.responses.values, trial_idx, data.unit_id.values)

    right = ceiling(data)
    assert right.unit_id.tolist() == data.unit_id.values.tolist() == truth.unit_id.values.tolist()
    assert 0.3 < right.noiseless_correlation.median() < 0.8
    assert right.noiseless_correlation.mean() > ceiling(early).noiseless_correlation.mean()
    assert ceiling(data, off_by=1).noiseless_correlation.abs().mean() < 0.15


def test_rate_is_events_times_gain_times_evoked_by_the_image_on_the_retina(day1, cortex):
    """The image moves against the gaze by 0.25 px a px of the eye video; gain follows pupil and running."""
    data = build_dataset(read_scan(day1[0]))
    truth = day1[1].isel(trial=np.searchsorted(day1[1].trial_idx, data.trial_idx))
    expected = (truth.rate / truth.gain / truth.events).values
    shifts_px = -0.25 * (data.pupil_center.values - (320, 240))[:, ::-1]
    images_px = data.images.values[data.image_index.values]
    correlations = []
    for sign in (1, 0, -1):
        moved = [shift(image, sign * by, order=1, cval=128) for image, by in zip(images_px, shifts_px, strict=True)]
        found = cortex.take(truth.cell_id.values).evoked(torch.tensor(np.array(moved))).numpy()
        correlations.append(pearson(found, expected))
        assert sign != 1 or np.median(abs(found - expected)) < 0.03
    assert correlations[0].min() > 0.98 and (correlations[0] > np.maximum(*correlations[1:])).all()
    gain = np.log(truth.gain).mean("unit")
    for channel in ("pupil_radius", "treadmill"):
        assert np.corrcoef(gain, data.behavior.sel(behavior_channel=channel))[0, 1] > 0.5


def test_true_meis_meet_the_constraint_and_are_a_maximum(cortex, day1, crops_px):
    """No perturbation, no own filter, no natural image and no grating at that contrast drives a cell more."""
    truth = day1[1]
    meis, best = truth.true_mei.values.astype(float), truth.true_mei_evoked.values
    assert_allclose(meis.mean((1, 2)), 128, atol=1)
    assert_allclose(meis.std((1, 2)), CONFIG.mei_contrast_px, rtol=0.01)
    assert meis.min() >= 0 and meis.max() <= 255
    seen = cortex.take(truth.cell_id.values)
    assert_allclose(evoked(seen, meis), best, rtol=1e-4)

    rng = np.random.default_rng(0)
    for size_px in (0.3, 1, 3, 10):
        for _ in range(10):
            noise = rng.normal(0, size_px, meis.shape)
            assert (evoked(seen, at_contrast(meis + noise)) <= 1.01 * best).all()
    for images in (seen.filters[:, 0].reshape(meis.shape).numpy(), *(gratings(seen, p, 40, 1, 1) for p in PHASES_DEG)):
        assert (evoked(seen, at_contrast(images)) <= 1.01 * best).all()
    longer = true_meis(seen, CONFIG.mei_contrast_px, seed=5, n_starts=2, n_steps=400)[1].numpy()
    assert (longer <= 1.01 * best).all()
    natural = seen.evoked(torch.tensor(at_contrast(crops_px), dtype=torch.float32)).numpy()
    assert (natural.max(0) <= best).all() and np.median(natural.max(0) / best) < 0.5


def test_drive_ratio(day1):
    """1 for the true MEI at any contrast and in any order, 0 for gray, little for another cell's or a shuffled MEI."""
    truth = day1[1]
    meis, ids = truth.true_mei.values.astype(float), truth.unit_id.values
    assert_allclose(drive_ratio(truth, ids, meis), 1, atol=1e-3)
    order = np.random.default_rng(0).permutation(len(ids))
    assert_allclose(drive_ratio(truth, ids[order], 100 + 0.5 * (meis[order] - 128)), 1, atol=1e-3)
    assert_allclose(drive_ratio(truth, ids, np.full_like(meis, 128)), 0, atol=1e-6)
    assert np.median(drive_ratio(truth, ids, np.roll(meis, 1, 0))) < 0.3
    assert np.median(drive_ratio(truth, ids, np.random.default_rng(0).permuted(meis, axis=2))) < 0.3


def test_cells_behave_as_their_kind_says(cortex):
    kind = cortex.cells.kind.to_numpy()
    gray = evoked(cortex, np.full((40, 36, 64), 128.0))
    by_phase = np.array([evoked(cortex, gratings(cortex, phase_deg)) for phase_deg in PHASES_DEG])
    assert set(kind) == {"linear", "simple", "complex", "end_stopped"}

    assert (by_phase.min(0) > 0.95 * by_phase.max(0))[kind == "complex"].all()  # phase does not matter
    assert (by_phase[0] > 1)[kind != "end_stopped"].all()
    assert (by_phase[4] == 0)[kind == "simple"].all() and (gray == 0)[kind == "simple"].all()  # sign reversed
    up, down = (evoked(cortex, gratings(cortex, phase_deg, 1.0)) - gray for phase_deg in (0, 180))
    assert (up > 0.1 * gray)[kind == "linear"].all()
    assert_allclose(up[kind == "linear"], -down[kind == "linear"], rtol=0.01)

    by_length = np.array([evoked(cortex, gratings(cortex, length=length, width=1)) for length in (0.5, 1, 2, 4, 8)])
    relative = by_length / by_length.max(0)
    assert (relative[1] == 1)[kind == "end_stopped"].all() and (relative[-1] < 0.2)[kind == "end_stopped"].all()
    assert (relative[-1] > 0.9)[kind != "end_stopped"].all()


def test_evoked_responses(cortex, day1, crops_px):
    """Mean one over natural images; the truth alone gives them; contrast divides them; luminance alone is nothing."""
    natural = cortex.evoked(torch.tensor(crops_px, dtype=torch.float32))
    assert_allclose(natural.mean(0), 1, atol=0.4)
    own = natural[np.arange(day1[1].sizes["unit"]), day1[1].cell_id.values]
    assert_allclose(evoked_by(day1[1], crops_px[: len(own)]), own, rtol=1e-4, atol=1e-5)
    center = gratings(cortex, length=1, width=1)
    checks = np.where((X + Y) % 2, 60, -60)  # too fine for every filter
    assert (evoked(cortex, center + checks) < 0.9 * evoked(cortex, center)).all()
    bright, gray = (evoked(cortex, np.full((40, 36, 64), level)) for level in (200.0, 128.0))
    assert_allclose(bright, gray, atol=0.01)


def test_photos_of_the_user(tmp_path):
    """Crops of the one photo in the folder, at both scales; it may have 16 bits, or an alpha channel."""
    photo = np.zeros((320, 560), np.uint8)
    photo[:, 280:] = 200
    skimage.io.imsave(tmp_path / "photo.png", photo, check_contrast=False)
    (tmp_path / "notes.txt").write_text("not a photo")
    session = natural_session(dataclasses.replace(CONFIG, photos=str(tmp_path)))
    assert session.images_px.shape == (120, 144, 256) and session.images_px.dtype == np.uint8
    assert (session.images_px.std((1, 2)) >= 14.9).all() and set(np.unique(session.images_px)) <= {0, 100, 200}

    skimage.io.imsave(tmp_path / "deep.png", photo * np.uint16(257), check_contrast=False)
    Image.fromarray(np.stack([photo, np.full_like(photo, 255)], -1), "LA").save(tmp_path / "transparent.png")
    assert_array_equal(load_photos(str(tmp_path)), [photo] * 3)


def test_settings_that_cannot_be_used(tmp_path):
    def session(**changes):
        natural_session(dataclasses.replace(CONFIG, **changes))

    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(InputError, match="no folder with images"):
            session(photos=str(folder))
    skimage.io.imsave(tmp_path / "small.png", np.eye(100, dtype=np.uint8), check_contrast=False)
    with pytest.raises(InputError, match="no photo holds a crop of 144 x 256 px"):
        session(photos=str(tmp_path))
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.png"):
        session(photos=str(tmp_path))
    with pytest.raises(InputError, match="n_repeated"):
        session(n_repeated=121)
