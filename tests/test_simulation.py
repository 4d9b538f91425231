"""The virtual mouse: 40 cells that see 120 natural images on day 1 and 12 stimuli on day 3."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import skimage.io
import torch
import yaml
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.ndimage import shift
from scipy.spatial.distance import cdist, pdist

from neurostatic import simulation
from neurostatic.config import Simulation
from neurostatic.data import build_dataset, read_scan
from neurostatic.problems import InputError
from neurostatic.simulation.cortex import MONITOR_GAMMA, _place_cells, true_meis
from neurostatic.simulation.mouse import virtual_cortex
from neurostatic.simulation.photos import crop_photos, load_photos
from neurostatic.simulation.recording import draw_events
from neurostatic.simulation.recovery import true_responses
from neurostatic.simulation.truth import ceiling
from neurostatic.statistics import pearson

CONFIG = Simulation(n_cells=40, n_images=120, n_repeated=8, repeats=6, lost_fraction=0.2)
Y, X = np.mgrid[:36, :64].astype(float)
PHASES_DEG = range(0, 360, 45)
MANIFEST = pd.DataFrame({"image_class": ["mei", "rf"] * 6, "image_id": np.arange(12) // 2, "other": 0})
STIMULI_PX = np.random.default_rng(0).integers(0, 256, (12, 144, 256), dtype=np.uint8)


def record(session, folder):
    """The export as it is read, and the truth."""
    truth = simulation.simulate_scan(CONFIG, session, folder)
    return read_scan(folder), truth


@pytest.fixture(scope="module")
def day1(tmp_path_factory):
    return record(simulation.natural_session(CONFIG), tmp_path_factory.mktemp("day1"))


@pytest.fixture(scope="module")
def day3(tmp_path_factory):
    return record(simulation.closed_loop_session(CONFIG, 3, MANIFEST, STIMULI_PX), tmp_path_factory.mktemp("day3"))


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
    """(cell, y, x): each cell's preferred grating of light under a Gaussian, in units of the receptive field's size."""
    images = []
    for cell in cortex.cells.itertuples():
        theta = np.deg2rad(cell.orientation_deg)
        across = (X - cell.rf_x_px) * np.cos(theta) + (Y - cell.rf_y_px) * np.sin(theta)
        along = (Y - cell.rf_y_px) * np.cos(theta) - (X - cell.rf_x_px) * np.sin(theta)
        wave = np.cos(2 * np.pi * across / cell.wavelength_px + np.deg2rad(cell.phase_deg + phase_deg))
        size_px = 0.4 * cell.wavelength_px
        images.append(wave * np.exp(-((along / (length * size_px)) ** 2 + (across / (width * size_px)) ** 2) / 2))
    return 128 * (1 + MONITOR_GAMMA * contrast_px / 128 * np.array(images)) ** (1 / MONITOR_GAMMA)


def cells_of(scan, truth):
    """The somata that are cells, by unit_id."""
    somata = scan.units[scan.units.mask_type == "soma"].set_index("unit_id")
    assert somata.index.tolist() == [*truth.unit_id.values, truth.dead_unit_id]
    return somata.drop(index=truth.dead_unit_id)


def stacks_of(scan, truth):
    """(stack, unit, 3) position of every cell in every stack, NaN outside."""
    stacks = [stack.set_index("unit_id") for _, stack in scan.stack_coordinates.groupby("stack")]
    return np.array([stack.loc[truth.unit_id.values, ["x_um", "y_um", "z_um"]] for stack in stacks])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_day_1_is_a_valid_export(day1):
    scan, truth = day1
    assert scan.form == "traces" and scan.info["stim_type"] == "imagenet" and scan.info["mei_source"] == 1
    assert scan.images.shape == (120, 144, 256)
    assert scan.trials.groupby("image_id").size().tolist() == [6] * 8 + [1] * 112
    assert scan.trials.image_id.tolist() != sorted(scan.trials.image_id)
    assert (truth.unit_id == cells_of(scan, truth).index).all() and (truth.trial_idx == scan.trials.trial_idx).all()
    assert stacks_of(scan, truth).shape == (3, truth.sizes["unit"], 3)


def test_a_closed_loop_day_shows_exactly_the_stimuli(day3):
    scan, truth = day3
    assert scan.info["stim_type"] == "mei" and scan.info["day"] == 3 and scan.info["mei_source"] == 0
    assert_array_equal(scan.images, STIMULI_PX)
    assert scan.image_table[["image_class", "image_id"]].values.tolist() == MANIFEST.iloc[:, :2].values.tolist()
    assert (scan.trials.groupby(["image_class", "image_id"]).size() == CONFIG.closed_loop_repeats).all()
    assert scan.trials.condition_hash.nunique() == 24  # each image after a short and after a long blank
    assert "true_mei" not in truth


def test_a_seed_decides_every_bit_of_every_file(day1, tmp_path):
    np.random.seed(7)
    torch.manual_seed(7)
    scan, truth = record(simulation.natural_session(CONFIG), tmp_path / "again")
    assert files(scan.folder) == files(day1[0].folder) and truth.identical(day1[1])
    other = dataclasses.replace(CONFIG, seed=2)
    simulation.simulate_scan(other, simulation.natural_session(other), tmp_path / "other")
    same = {name for name, content in files(tmp_path / "other").items() if content == files(day1[0].folder)[name]}
    assert same == {"scan.yaml", "images.csv", "fields.csv", "area_masks.npz", "monitor_calibration.csv"}


def test_the_cells_are_the_same_on_every_day(day1, day3):
    """Some are lost and some are new; each keeps its nature; ids are permuted and the field of view is displaced."""
    first, later = (truth.swap_dims(unit="cell_id") for _, truth in (day1, day3))
    common = np.intersect1d(first.cell_id, later.cell_id)
    assert set(first.cell_id.values) - set(common) and set(later.cell_id.values) - set(common) and len(common) > 15
    natures = [name for name in later.data_vars if later[name].dims == ("cell_id",) and name != "ceiling"]
    assert {"kind", "brain_area", "layer", "z_um", "rf_x_px", "orientation_deg", "events"} <= set(natures)
    for name in natures:
        assert_array_equal(first[name].sel(cell_id=common), later[name].sel(cell_id=common))
    ids = np.array([truth.unit_id.sel(cell_id=common) for truth in (first, later)])
    assert np.mean(ids[0] == ids[1]) < 0.2 and abs(np.corrcoef(ids.argsort(1).argsort(1))[0, 1]) < 0.6
    tables = [cells_of(*day)[["um_x", "um_y"]] for day in (day1, day3)]
    displaced = tables[1].loc[ids[1]].to_numpy() - tables[0].loc[ids[0]].to_numpy()
    assert_allclose(displaced, np.broadcast_to(np.median(displaced, 0), displaced.shape), atol=4)  # clipped at the rim
    assert 0.1 < np.linalg.norm(np.median(displaced, 0)) < 15


def test_somata_are_apart_and_every_registration_has_its_own_error(day1):
    scan, truth = day1
    true_um = np.stack([truth[name] for name in ("x_um", "y_um", "z_um")], 1)
    assert pdist(true_um).min() >= 14
    errors = stacks_of(scan, truth) - true_um
    of_fields = np.nanmean(errors, 1)
    assert pdist(of_fields).max() > CONFIG.stack_error_um
    assert np.nanstd(errors - of_fields[:, None]) == pytest.approx(CONFIG.stack_error_um, rel=0.15)


def test_the_nearest_soma_is_the_same_cell(day1, day3):
    """By one registration of both days; matches that are off by one are all wrong."""
    (first, source), (later, target) = day1, day3
    stacks = [scan.stack_coordinates.query("stack == 'stack-1'").dropna() for scan in (first, later)]
    apart = cdist(*(stack[["x_um", "y_um", "z_um"]] for stack in stacks))
    near = np.flatnonzero(apart.min(1) < 10)
    ids = [stack.unit_id.to_numpy() for stack in stacks]
    matches = pd.DataFrame({"src_unit_id": ids[0][near], "unit_id": ids[1][apart[near].argmin(1)]})
    assert len(matches) > 15 and simulation.matches_correct(source, target, matches).mean() > 0.9
    off_by_one = matches.assign(unit_id=np.roll(matches.unit_id, 1))
    assert simulation.matches_correct(source, target, off_by_one).mean() < 0.1


def test_what_was_recorded_is_what_the_cells_did(day1, cortex):
    """The truth predicts the data set's trials, as clocks, delays and ids agree; that of the next trial does not.

    rate = events * gain * evoked(the image against the gaze by 0.25 px a px of the eye video).
    """
    scan, truth = day1
    data = build_dataset(scan)
    undelayed = build_dataset(dataclasses.replace(scan, units=scan.units.assign(ms_delay=0.0)))

    def ceiling(data, off_by=0):
        trial_idx = np.roll(data.trial_idx.values, off_by)
        return simulation.noiseless_correlations(truth, data.responses.values, trial_idx, data.unit_id.values)

    right = ceiling(data)
    assert right.unit_id.tolist() == data.unit_id.values.tolist() == [*truth.unit_id.values, truth.dead_unit_id]
    assert 0.3 < right.noiseless_correlation.median() < 0.8
    assert right.noiseless_correlation.mean() > ceiling(undelayed).noiseless_correlation.mean()
    assert ceiling(data, off_by=1).noiseless_correlation.abs().mean() < 0.15

    truth = truth.isel(trial=np.searchsorted(truth.trial_idx, data.trial_idx))
    expected = (truth.rate / truth.gain / truth.events).values
    shifts_px = -0.25 * (data.pupil_center.values - (320, 240))[:, ::-1]
    images_px = data.images.values[data.image_index.values]
    seen = cortex.take(truth.cell_id.values)
    found = []
    for sign in (1, 0, -1):
        moved = [shift(image, sign * by, order=1, cval=128) for image, by in zip(images_px, shifts_px, strict=True)]
        found.append(pearson(seen.evoked(torch.tensor(np.array(moved))).numpy(), expected))
    assert found[0].min() > 0.98 and (found[0] > np.maximum(*found[1:])).all()
    gain = np.log(truth.gain).mean("unit")
    for channel in ("pupil_radius", "treadmill"):
        assert np.corrcoef(gain, data.behavior.sel(behavior_channel=channel))[0, 1] > 0.5


def test_the_ceiling_is_what_the_rate_reaches(day1):
    """In as many trials as one likes; the data set's responses stay below; the rates of other units get nowhere."""
    scan, truth = day1
    rng = np.random.default_rng(0)
    rate = np.tile(truth.rate.values.astype(float), (300, 1))
    spontaneous = truth.spontaneous_fraction * truth.events.values
    mass = draw_events(rate + spontaneous, rng)
    error = pearson(rate, mass) - truth.ceiling.values
    assert np.abs(error).max() < 0.02 and abs(error.mean()) < 0.003
    assert 0.3 < truth.ceiling.mean() < 0.8 and truth.ceiling.max() < 1
    assert np.abs(pearson(np.roll(rate, 1, 1), mass) - truth.ceiling.values).mean() > 0.2
    assert_allclose(ceiling(rate, spontaneous, shape=1e9), 1 / np.sqrt(1 + (rate + spontaneous).mean(0) / rate.var(0)))
    assert ceiling(np.ones((5, 1)), np.zeros(1)) == 0

    data = build_dataset(scan)
    cells = data.isel(unit=~data.dead.values)
    found = simulation.noiseless_correlations(
        truth, cells.responses.values, cells.trial_idx.values, cells.unit_id.values
    )
    reached = found.noiseless_correlation
    assert 0.85 * truth.ceiling.mean() < reached.mean() < truth.ceiling.mean() + 0.02
    assert np.corrcoef(reached, truth.ceiling)[0, 1] > 0.8


def test_nothing_that_goes_wrong_moves_what_does_not(day1):
    """Cells, schedule, events, masks, clocks and registrations of this mouse, as they were once it saw light."""
    scan, truth = day1
    assert_array_equal([truth.unit_id[:5], truth.cell_id[:5]], [[6, 19, 20, 21, 25], [17, 16, 2, 5, 32]])
    assert scan.trials.image_id[:6].tolist() == [4, 41, 0, 0, 15, 19]
    assert_allclose(scan.trials.flip_onset_s[[1, 80, 159]], [3.236469, 74.8777, 146.051105], atol=1e-6)
    assert_allclose(np.nansum(scan.traces[:5, 100:300], 1), [29.2793, 0.0, 8.8835, 60.0312, 0.7436], rtol=1e-3)
    assert_allclose(scan.frame_times_stim[[0, 5000]], [2.49991538, 104.16664468], atol=1e-7)
    assert_allclose(scan.frame_times_behavior[[0, 5000]], [39.69998700, 141.36873433], atol=1e-7)
    registered_um = [(289.034, 249.452, 228.897), (286.674, 247.104, 233.531), (291.567, 245.002, 228.739)]
    assert_allclose(stacks_of(scan, truth)[:, 0], registered_um, atol=1e-3)


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
    for size_px in np.repeat((0.3, 1, 3, 10), 10):
        assert (evoked(seen, at_contrast(meis + rng.normal(0, size_px, meis.shape))) <= 1.01 * best).all()
    for images in (seen.filters[:, 0].reshape(meis.shape).numpy(), *(gratings(seen, p, 40, 1, 1) for p in PHASES_DEG)):
        assert (evoked(seen, at_contrast(images)) <= 1.01 * best).all()
    assert (true_meis(seen, CONFIG.mei_contrast_px, 5, n_starts=2, n_steps=400)[1].numpy() <= 1.01 * best).all()
    natural = seen.evoked(torch.tensor(at_contrast(crops_px)).float()).numpy().max(0)
    assert (natural <= best).all() and np.median(natural / best) < 0.5


def test_as_many_cells_as_a_config_allows_find_a_place():
    """3,000 somata 14 um apart; of 5,000 the last would be looked for without end."""
    cells = _place_cells(3000, np.random.default_rng(1))
    assert len(cells) == 3000 and pdist(cells[["x_um", "y_um", "z_um"]]).min() >= 14


def test_no_image_has_no_true_response(day1):
    """A loop whose source owns no image of a set."""
    _, truth = day1
    manifest = pd.DataFrame({"owner_unit_id": [], "image_class": []}).astype({"owner_unit_id": int})
    found = true_responses(truth, manifest, np.zeros((0, 144, 256)))
    assert found.empty and list(found) == ["unit_id", "kind", "image_class", "evoked"]
    assert simulation.drive_ratio(truth, np.zeros(0, int), np.zeros((0, 36, 64))).shape == (0,)


def test_days_of_seconds_and_of_the_next_month(day1, tmp_path):
    """The shortest day has room for every blemish, a shorter one is refused; and the 32nd is in February."""
    manifest = pd.DataFrame({"image_class": "multi_cnn_mei", "image_id": [0]})
    images = np.random.default_rng(0).integers(0, 256, (1, 144, 256), dtype=np.uint8)
    short, config = (dataclasses.replace(CONFIG, closed_loop_repeats=repeats) for repeats in (19, 20))
    with pytest.raises(InputError, match="19 presentations are too few, at least 20 are needed"):
        simulation.simulate_scan(short, simulation.closed_loop_session(short, 32, manifest, images), tmp_path)
    assert not list(tmp_path.iterdir())
    simulation.simulate_scan(config, simulation.closed_loop_session(config, 32, manifest, images), tmp_path)
    read_scan(tmp_path)
    assert yaml.safe_load((tmp_path / "scan.yaml").read_text())["timestamp"] == "2026-02-01T10:30:00"


def test_drive_ratio(day1):
    """1 for the true MEI at any contrast and in any order, 0 for gray, little for another cell's or a shuffled MEI."""
    truth = day1[1]
    meis, ids = truth.true_mei.values.astype(float), truth.unit_id.values
    assert_allclose(simulation.drive_ratio(truth, ids, meis), 1, atol=1e-3)
    order = np.random.default_rng(0).permutation(len(ids))
    assert_allclose(simulation.drive_ratio(truth, ids[order], 100 + 0.5 * (meis[order] - 128)), 1, atol=1e-3)
    assert_allclose(simulation.drive_ratio(truth, ids, np.full_like(meis, 128)), 0, atol=1e-6)
    assert np.median(simulation.drive_ratio(truth, ids, np.roll(meis, 1, 0))) < 0.3
    assert np.median(simulation.drive_ratio(truth, ids, np.random.default_rng(0).permuted(meis, axis=2))) < 0.3


def test_cells_behave_as_their_kind_says(cortex):
    kind = cortex.cells.kind.to_numpy()
    gray = evoked(cortex, np.full((40, 36, 64), 128.0))
    by_phase = np.array([evoked(cortex, gratings(cortex, phase_deg)) for phase_deg in PHASES_DEG])
    assert set(kind) == {"linear", "simple", "complex", "end_stopped", "curved"}
    # phase does not matter
    assert (by_phase.min(0) > 0.95 * by_phase.max(0))[np.isin(kind, ["complex", "curved"])].all()
    assert (by_phase[0] > 1)[np.isin(kind, ["linear", "simple", "complex"])].all()
    assert (by_phase[4] == 0)[kind == "simple"].all() and (gray == 0)[kind == "simple"].all()  # sign reversed
    up, down = (evoked(cortex, gratings(cortex, phase_deg, 1.0)) - gray for phase_deg in (0, 180))
    assert (up > 0.1 * gray)[kind == "linear"].all()
    assert_allclose(up[kind == "linear"], -down[kind == "linear"], rtol=0.01)
    by_length = np.array([evoked(cortex, gratings(cortex, length=length, width=1)) for length in (0.5, 1, 2, 4, 8)])
    relative = by_length / by_length.max(0)
    assert (relative[1] == 1)[kind == "end_stopped"].all() and (relative[-1] < 0.2)[kind == "end_stopped"].all()
    assert (relative[-1] > 0.9)[np.isin(kind, ["linear", "simple", "complex"])].all()
    filters = cortex.filters[:, 0::2].reshape(40, 3, 36, 64).numpy()  # center and ends, even
    arc, bent_away = (evoked(cortex, at_contrast(filters[:, [0, 1, 2]].sum(1) - k * filters[:, 0])) for k in (0, 2))
    parts = np.max([evoked(cortex, at_contrast(filters[:, part])) for part in range(3)], 0)
    assert (arc > 1.3 * parts)[kind == "curved"].all()  # no bar does what the curve does
    assert (arc > 2 * bent_away)[kind == "curved"].all()  # all parts of it count with their sign


def test_evoked_responses(cortex, day1, crops_px):
    """Mean one over natural images; the truth alone gives them; contrast divides them; luminance alone is nothing."""
    natural = cortex.evoked(torch.tensor(crops_px, dtype=torch.float32))
    assert_allclose(natural.mean(0), 1, atol=0.4)
    own = natural[range(day1[1].sizes["unit"]), day1[1].cell_id.values.tolist()]
    assert_allclose(simulation.evoked_by(day1[1], crops_px[: len(own)]), own, rtol=1e-4, atol=1e-5)
    center = gratings(cortex, length=1, width=1)
    checks = np.where((X + Y) % 2, 60, -60)  # too fine for every filter
    assert (evoked(cortex, center + checks) < 0.9 * evoked(cortex, center)).all()
    assert_allclose(*(evoked(cortex, np.full((40, 36, 64), level)) for level in (200.0, 128.0)), atol=0.01)


def test_photos_of_the_user(tmp_path):
    """Crops of the one photo in the folder, at both scales; it may have 16 bits, or an alpha channel."""
    photo = np.zeros((320, 560), np.uint8)
    photo[:, 280:] = 200
    skimage.io.imsave(tmp_path / "photo.png", photo, check_contrast=False)
    (tmp_path / "notes.txt").write_text("not a photo")
    session = simulation.natural_session(dataclasses.replace(CONFIG, photos=str(tmp_path)))
    assert session.images_px.shape == (120, 144, 256) and session.images_px.dtype == np.uint8
    assert (session.images_px.std((1, 2)) >= 14.9).all() and set(np.unique(session.images_px)) <= {0, 100, 200}

    skimage.io.imsave(tmp_path / "deep.png", photo * np.uint16(257), check_contrast=False)
    Image.fromarray(np.stack([photo, np.full_like(photo, 255)], -1), "LA").save(tmp_path / "transparent.png")
    assert_array_equal(load_photos(str(tmp_path)), [photo] * 3)


def test_settings_that_cannot_be_used(tmp_path):
    def refused(message, **changes):
        with pytest.raises(InputError, match=message):
            simulation.natural_session(dataclasses.replace(CONFIG, **changes))

    refused("no folder with images", photos=str(tmp_path / "missing"))
    refused("no folder with images", photos=str(tmp_path))
    skimage.io.imsave(tmp_path / "small.png", np.eye(100, dtype=np.uint8), check_contrast=False)
    refused("no photo holds a crop of 144 x 256 px", photos=str(tmp_path))
    (tmp_path / "broken.png").write_bytes(b"no image")
    refused(r"broken\.png", photos=str(tmp_path))
    flat = tmp_path / "flat"
    flat.mkdir()
    skimage.io.imsave(flat / "wall.png", np.full((200, 300), 90, np.uint8), check_contrast=False)
    refused("crops in a row are flatter than 15", photos=str(flat))
