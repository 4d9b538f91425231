"""DataConfig: which units and trials of the data sets, in which units, and from which statistics."""

import sys

import numpy as np
import pytest
import xarray as xr
from exports import make_export

from neurostatic.config import DataConfig, Preprocessing
from neurostatic.data import build_dataset, normalization, open_multi_dataset, read_scan
from neurostatic.data.datasets import data_hash, measure_reliability, multi, trials_of_type
from neurostatic.problems import InputError
from neurostatic.store import read_arrays, write_arrays

A, B = [[0, 2], [4, 6]], [[1, 1], [1, 1]]  # of golden check G13
FRAME, MONET = "stimulus.Frame", "stimulus.MonetFrame"


def recorded(images, image_index, tiers, types=None, responses=None):
    """A data set of given images and trials, with what `normalization` reads."""
    rng = np.random.default_rng(0)
    n_trials = len(tiers)
    return xr.Dataset(
        {
            "images": (("image", "y", "x"), np.asarray(images, np.float32)),
            "responses": (("trial", "unit"), rng.gamma(2, 1, (n_trials, 3)) if responses is None else responses),
            "behavior": (("trial", "behavior_channel"), rng.normal(5, 1, (n_trials, 3))),
            "pupil_center": (("trial", "eye_axis"), rng.normal(100, 3, (n_trials, 2))),
        },
        {
            "image_index": ("trial", image_index),
            "tier": ("trial", np.array(tiers)),
            "stimulus_type": ("trial", np.array(types or [FRAME] * n_trials)),
        },
    )


def test_image_by_image():  # G13
    data = recorded([A, B], [0, 1], ["train"] * 2)
    by_image = normalization(data, DataConfig(image_std="images"))
    assert (by_image.image_mean, by_image.image_std) == pytest.approx((2, 1.1180340))
    assert normalization(data).image_std == pytest.approx(2.0)
    per_image = normalization(data, DataConfig(normalize_per_image=True))
    assert per_image.images(data.images.values)[0].tolist() == [[-1.5, -0.5], [0.5, 1.5]]
    assert normalization(data).images(data.images.values)[0].tolist() == [[-1, 0], [1, 2]]
    again = recorded([A, B], [0, 1, 1], ["train"] * 3)  # a picture counts as often as it is shown
    assert normalization(again, DataConfig(image_std="images")).image_std == pytest.approx(5**0.5 / 3)


def test_statistics_of_all_tiers_are_those_of_every_trial():  # G21: upstream took trials 0 and 1 only
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 255, (6, 4, 5)).astype(np.float32)
    data = recorded(images, np.arange(6), ["train", "test", "validation", "train", "test", "train"])
    everything = normalization(data, DataConfig(norm_tier="all"))
    assert everything.image_mean == pytest.approx(images.mean(dtype=float))
    assert everything.image_std == pytest.approx(images.astype(float).std(ddof=1))
    assert 1 / everything.response_factor == pytest.approx(data.responses.values.std(0, ddof=1))
    upstream = images[np.array([0, 1, 0, 1, 0, 1])].astype(float)
    assert everything.image_mean != pytest.approx(upstream.mean(), rel=1e-3)
    for tier, rows in (("train", [0, 3, 5]), ("test", [1, 4])):
        of_tier = normalization(data, DataConfig(norm_tier=tier))
        assert of_tier.image_mean == pytest.approx(images[rows].mean(dtype=float))
        assert of_tier.eye_mean == pytest.approx(data.pupil_center.values[rows].mean(0))


def test_statistics_of_one_stimulus_type():
    images = np.random.default_rng(2).uniform(0, 255, (4, 2, 2))
    data = recorded(images, [0, 1, 2, 3], ["train"] * 4, [FRAME, FRAME, MONET, MONET])
    assert normalization(data, DataConfig(stats_source=MONET)).image_mean == pytest.approx(images[2:].mean())
    assert normalization(data).image_mean == pytest.approx(images.mean())
    with pytest.raises(InputError, match=r"stats_source: 'stimulus\.TrippyFrame' was not shown; allowed: all, stim"):
        normalization(data, DataConfig(stats_source="stimulus.TrippyFrame"))


def test_statistics_do_not_depend_on_how_many_rows_are_read_at_a_time(monkeypatch):
    rng = np.random.default_rng(3)
    responses = (1000 + rng.gamma(2, 1, (300, 3))).astype(np.float32)  # far from zero, where sums of squares fail
    data = recorded(rng.uniform(0, 255, (300, 2, 2)), np.arange(300), ["train"] * 300, responses=responses)
    whole = normalization(data)
    room = sys.modules["neurostatic.data.datasets.normalization"]  # the package hands on the function of this name
    monkeypatch.setattr(room, "row_blocks", lambda table: [slice(0, 7), slice(7, 300)])
    parts = normalization(data)
    assert parts.response_factor == pytest.approx(whole.response_factor, rel=1e-12)
    assert 1 / parts.response_factor == pytest.approx(responses.astype(float).std(0, ddof=1), rel=1e-12)


def test_hash_of_the_published_database():  # G19
    paper = DataConfig(brain_area="V1", layer="L2/3")
    assert data_hash(paper) == "7572eed73113c993e7d1b92f83e270b4"
    excluded = DataConfig(brain_area="V1", layer="L2/3", exclude=("images", "responses"))
    assert data_hash(excluded) == "b0f5ea8687b052cfb6a9fc20036972d1"
    assert data_hash(DataConfig()) == "8e81b524720ed3b64fca6e59346a3822"
    swapped = DataConfig(brain_area="V1", layer="L2/3", exclude=("responses", "images"))
    assert data_hash(swapped) == data_hash(excluded)
    assert data_hash(paper, "MultipleAreasOneLayer") != data_hash(paper)


def test_trials_of_stimulus_types():
    shown = np.array([FRAME, MONET, FRAME, "stimulus.TrippyFrame"])
    wanted = {
        FRAME: [0, 2],
        f"~{FRAME}": [1, 3],
        f"{MONET}|stimulus.TrippyFrame": [1, 3],
        f"~{FRAME}|{FRAME}": [0, 1, 2, 3],
        "all": [0, 1, 2, 3],
    }
    assert {name: trials_of_type(shown, name).tolist() for name in wanted} == wanted
    with pytest.raises(InputError, match=r"no trial is 'Frame'; shown were stimulus\.Frame, stimulus\.MonetFrame"):
        trials_of_type(shown, "Frame")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Units 101, 103, 105 in L2/3 and 102, 104 in L4; 100 is an axon. Only 103 and 104 respond to images."""
    folder = tmp_path_factory.mktemp("stores")
    export = make_export(folder / "export", "responses", n_single=30, n_repeated=12, repeats=8, seed=3)
    scan = read_scan(export)
    responses = np.array(scan.responses)
    driven = scan.units.unit_id.isin([103, 104]).to_numpy()
    responses[:, driven] = 0.3 * responses[:, driven] + scan.trials.image_id.to_numpy()[:, None] % 7
    np.save(export / "responses.npy", responses)
    write_arrays(build_dataset(read_scan(export)), folder / "a.zarr.zip", {})
    return folder / "a.zarr.zip"


def chosen(store, **config):
    return open_multi_dataset({"a": store}, DataConfig(**{"brain_area": "all+unknown", "layer": "all", **config}))["a"]


def test_reliable_units(store):
    """AreaLayerReliable: those whose repeats agree; with shuffled responses there is none."""
    assert chosen(store).unit_id.tolist() == [101, 102, 103, 104, 105]
    assert chosen(store, reliable_p=0.002).unit_id.tolist() == [103, 104]
    assert chosen(store, reliable_p=0.002, layer="L4").unit_id.tolist() == [104]
    with pytest.raises(InputError, match=r"no unit in area 'LM\+V1' and layer 'L1' with p below 0\.002"):
        chosen(store, reliable_p=0.002, layer="L1", brain_area="LM+V1")


def test_a_scan_without_wanted_units_is_left_out_with_a_warning(store, tmp_path):  # G18
    units_elsewhere = read_arrays(store)
    units_elsewhere = units_elsewhere.assign_coords(layer=("unit", np.array(["L6"] * 5)))
    write_arrays(units_elsewhere, tmp_path / "b.zarr.zip", {})
    paths = {"b": tmp_path / "b.zarr.zip", "a": store}
    with pytest.warns(UserWarning, match=r"left out: scan b: no unit in area 'all' and layer 'L4'; areas: .*L6 5"):
        assert list(open_multi_dataset(paths, DataConfig(layer="L4"))) == ["a"]
    with pytest.raises(InputError, match=r"no scan has a unit.*\n.*scan b: no unit in .* 'L1'.*\n.*scan a: no unit"):
        open_multi_dataset(paths, DataConfig(layer="L1"))


def test_responses_too_large_for_memory_stay_in_the_store(store, monkeypatch):
    """What is read when it is asked for is what would have been in memory, units and trials chosen or not."""
    for config in ({}, {"layer": "L2/3"}, {"brain_area": "V1+LM", "exclude": ("responses",)}):
        plain = chosen(store, **config)
        monkeypatch.setattr(multi, "IN_MEMORY_BYTES", 100)
        stored = chosen(store, **config)
        monkeypatch.undo()
        assert plain.in_memory and not stored.in_memory
        for tier in ("train", "validation", "test", None):
            assert np.array_equal(stored.raw_responses(tier), plain.raw_responses(tier))
            assert np.array_equal(stored.responses(tier), plain.responses(tier))
        assert stored.normalization.to_dict() == plain.normalization.to_dict()
        assert not stored.in_memory  # looking has not loaded it


def test_float16_keeps_what_matters(store, tmp_path):
    export = make_export(tmp_path / "scan", "responses")
    full = build_dataset(read_scan(export))
    half = build_dataset(read_scan(export), Preprocessing(response_dtype="float16"))
    write_arrays(half, tmp_path / "half.zarr.zip", {})
    read = open_multi_dataset({"h": tmp_path / "half.zarr.zip"}, DataConfig("all+unknown", "all"))["h"]
    assert half.responses.dtype == np.float16 and read.raw_responses(None).dtype == np.float16
    assert read.raw_responses(None) == pytest.approx(full.responses.values, rel=2**-11, abs=3e-8)
    assert read.responses(None).dtype == np.float32
    factor = normalization(full).response_factor
    assert read.normalization.response_factor == pytest.approx(factor, rel=1e-3)


@pytest.mark.parametrize(
    ("scale", "spike", "loss"), [(1e-6, 0, "0.031"), (1e-6, 1.0, "0.031"), (1e6, 0, "inf"), (1, 1e5, "inf")]
)
def test_float16_is_refused_where_it_would_lose_responses(tmp_path, scale, spike, loss):
    """Of a unit whose responses are too small, too large, or have one too large; a spike elsewhere changes nothing."""
    export = make_export(tmp_path / "scan", "responses")
    responses = np.load(export / "responses.npy")
    responses[:, 2] *= scale  # unit 103
    responses[5 if scale < 1 else 7, 2] += spike  # trial 5 is excluded
    np.save(export / "responses.npy", responses)
    message = (
        rf"float16 does not hold the responses of 1 units, the first is unit 103 with .* error of {loss}\d* of them"
    )
    with pytest.raises(InputError, match=message):
        build_dataset(read_scan(export), Preprocessing(response_dtype="float16"))
    build_dataset(read_scan(export))


def test_a_value_far_from_every_trial_does_not_forbid_float16(tmp_path):
    export = make_export(tmp_path / "scan", "responses")
    responses = np.load(export / "responses.npy")
    responses[5, 2] = 1e6  # trial 5 is excluded
    np.save(export / "responses.npy", responses)
    assert build_dataset(read_scan(export), Preprocessing(response_dtype="float16")).responses.dtype == np.float16


def test_a_name_that_no_unit_has_is_said(store):
    with pytest.warns(UserWarning, match=r"data_config\.brain_area: no unit is of LMM; found: LM, V1"):
        assert chosen(store, brain_area="V1+LMM").unit_id.size


def test_reliability_of_several_scans(tmp_path):
    """Units of both scans with oracle and position; without five repeats of an image there is none."""
    stores = {}
    for name, repeats in (("one", 6), ("two", 6), ("few", 4)):
        export = make_export(tmp_path / name, "responses", repeats=repeats, n_repeated=4, seed=len(stores))
        stores[name] = tmp_path / f"{name}.zarr.zip"
        write_arrays(build_dataset(read_scan(export)), stores[name], {})
    members = open_multi_dataset({name: stores[name] for name in ("one", "two")}, DataConfig(layer="all"))
    table = measure_reliability(members)
    assert table.groupby("scan", sort=False).size().to_dict() == {s: len(m.unit_id) for s, m in members.items()}
    assert table.unit_id.tolist() == [unit for member in members.values() for unit in member.unit_id]
    assert table.oracle.between(-1, 1).all() and table.oracle.nunique() == len(table)
    first = members["one"].data
    assert table.px_x[0] == first.px_x.values[0] and table.um_width[0] == first.um_width.values[0]
    with pytest.raises(InputError, match="scan few: no image of the test tier has 5 valid repeats"):
        measure_reliability(open_multi_dataset({"few": stores["few"]}, DataConfig(layer="all")))
