from pathlib import Path

import numpy as np
import pytest
import torch
from exports import make_export
from golden import NETWORK_F

import neurostatic
from neurostatic.config import DataConfig, Preprocessing
from neurostatic.data import build_dataset, open_multi_dataset, read_scan
from neurostatic.fitting import TierTensors, predict
from neurostatic.models import CorePlusReadout, save_bad, save_network
from neurostatic.problems import InputError, NoModelError
from neurostatic.store import write_arrays

FORMAT_1 = Path(__file__).with_name("model_format_1.pt")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A data set, and the path of a model of it whose units differ."""
    folder = tmp_path_factory.mktemp("recorded")
    scan = read_scan(make_export(folder / "scan", "responses", n_single=60, height_px=10, width_px=12))
    write_arrays(build_dataset(scan, Preprocessing(height_px=10, width_px=12)), folder / "a.zarr.zip", {})
    member = open_multi_dataset({"a": folder / "a.zarr.zip"}, DataConfig(layer="all"))["a"]
    n_units = len(member.unit_id)
    network = CorePlusReadout(NETWORK_F, {"a": n_units}, (1, 10, 12))
    generator = torch.Generator().manual_seed(0)
    network.initialize({"a": torch.rand(n_units, generator=generator)}, generator)
    with torch.no_grad():
        network.readout["a"].features.normal_(generator=generator)
    save_network(network, folder / "1.pt", {"a": member.unit_id}, {"a": member.normalization.to_dict()}, {})
    return member, network, folder / "1.pt"


@pytest.mark.parametrize("eye_pos", ["trial", "mean", None])
@pytest.mark.parametrize("behavior", ["trial", "mean", None])
def test_a_model_file_predicts_what_was_recorded_from_what_was_recorded(recorded, eye_pos, behavior):
    """Gray levels, pupil in px and running in cm/s go in, and responses as recorded come out."""
    member, network, path = recorded
    trials = member.trials("train")
    raw = {"eye_pos": member.data.pupil_center.values[trials], "behavior": member.data.behavior.values[trials]}
    given = {"eye_pos": eye_pos, "behavior": behavior}
    given = {name: raw[name] if value == "trial" else value for name, value in given.items()}
    images = member.data.images.values[member.image_index("train")]
    model = neurostatic.load(path)
    predicted = model(images, **given, batch_size=7)
    assert predicted.dims == ("image", "unit") and predicted.unit_id.values.tolist() == member.unit_id.tolist()
    expected = predict(network, "a", TierTensors.of(member, "train", torch.device("cpu")), eye_pos, behavior)
    np.testing.assert_allclose(predicted * member.normalization.response_factor, expected.numpy(), atol=2e-5)
    np.testing.assert_allclose(model(images[:, None], **given), predicted, atol=1e-5)  # with the dimension of channels


def test_one_eye_and_behavior_for_all_images(recorded):
    member, _, path = recorded
    model = neurostatic.load(path)
    images = member.data.images.values[:3]
    eye, behavior = member.data.pupil_center.values[5], member.data.behavior.values[5]
    one = model(images, eye, behavior)
    each = model(images, np.tile(eye, (3, 1)), np.tile(behavior, (3, 1)))
    np.testing.assert_allclose(one, each, rtol=1e-6)
    assert not np.allclose(one, model(images))
    assert model(images[:0]).shape == (0, len(member.unit_id))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 144, 256), {}, r"images: the model sees 1 channel\(s\) of 10 x 12 px, got an array of shape \(2, 1, 144"),
        ((10, 12), {}, "images: the model sees"),
        ((2, 3, 10, 12), {}, r"1 channel\(s\)"),
        ((2, 10, 12), {"eye_pos": [1.0]}, r"eye_pos: \(2,\) or \(2, 2\) is needed for 2 images, got the shape \(1,\)"),
        ((2, 10, 12), {"eye_pos": [[1.0, 1.0]] * 3}, r"eye_pos: .* got the shape \(3, 2\)"),
        ((2, 10, 12), {"behavior": "trial"}, "behavior: None, 'mean' or numbers, got 'trial'"),
        ((2, 10, 12), {"behavior": [1.0, np.nan, 0.0]}, "behavior: some values are not finite"),
        ((2, 10, 12), {"scan": "b"}, "scan: one of a is needed, got 'b'"),
    ],
)
def test_what_does_not_fit_is_an_error(recorded, shape, options, message):
    with pytest.raises(InputError, match=message):
        neurostatic.load(recorded[2])(np.zeros(shape), **options)


def test_images_that_are_not_finite_are_an_error(recorded):
    with pytest.raises(InputError, match="images: some values are not finite"):
        neurostatic.load(recorded[2])(np.full((1, 10, 12), np.nan))


def test_with_several_scans_one_must_be_named(recorded, tmp_path):
    member = recorded[0]
    normalization = member.normalization.to_dict() | {"response_factor": [2.0, 2.0]}
    network = CorePlusReadout(NETWORK_F, {"a": 2, "b": 2}, (1, 10, 12))
    save_network(network, tmp_path / "1.pt", {"a": [1, 2], "b": [3, 4]}, dict.fromkeys("ab", normalization), {})
    model = neurostatic.load(tmp_path / "1.pt")
    assert model.scans == ["a", "b"]
    with pytest.raises(InputError, match="scan: one of a, b is needed, got None"):
        model(np.zeros((1, 10, 12)))
    assert model(np.zeros((1, 10, 12)), scan="b").unit_id.values.tolist() == [3, 4]


def test_a_model_file_of_the_first_format_is_a_function_too():
    """It does not say the size of its images; what it predicts is divided by its response factors (.5, .25, 2)."""
    model = neurostatic.load(FORMAT_1)
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 10))
    response = model(images, "mean", "mean")
    with torch.no_grad():
        normalized = torch.as_tensor((images - 110) / 50, dtype=torch.float32)[:, None]
        behavior = torch.tensor([[1.0, 0.0, 0.3]])  # means (2, 0, 3) times (.5, 2, .1)
        expected = model.model.network(normalized, "a", torch.zeros(1, 2), behavior)
    np.testing.assert_allclose(response, expected.numpy() / np.array([0.5, 0.25, 2.0]), rtol=1e-6)


def test_a_file_that_cannot_be_used_says_why(tmp_path):
    with pytest.raises(InputError, match=r"1\.pt: no such file"):
        neurostatic.load(tmp_path / "1.pt")
    save_bad("it diverged", tmp_path / "1.pt", {})
    with pytest.raises(NoModelError, match="no model, it diverged"):
        neurostatic.load(tmp_path / "1.pt")
    network = CorePlusReadout(NETWORK_F, {"a": 1}, (1, 10, 12))
    save_network(network, tmp_path / "1.pt", {"a": [1]}, {"a": {"contrast": 1.0}}, {})
    with pytest.raises(InputError, match=r"1\.pt: its normalization is not understood .*train again"):
        neurostatic.load(tmp_path / "1.pt")
