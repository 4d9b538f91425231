import dataclasses
import itertools
import math
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from neurostatic.config import (
    CORES,
    MODULATORS,
    PUBLISHED_CORES,
    READOUTS,
    SHIFTERS,
    Config,
    Network,
    check_config,
    read_config,
)
from neurostatic.problems import InputError

ROOT = Path(__file__).parents[1]
DAY3 = {"day3": "mei_vs_rf"}
SCANS = {
    "scans": {"day1": "raw/day1", "day3": "simulate"},
    "datasets": {"mouse1": ["day1"]},
    "loops": {"loop1": {"dataset": "mouse1", "source": "day1", "targets": DAY3}},
}
GRID = """
core: [StackedLinearGaussianLaplace, GaussianLaplace]
gamma_hidden: [0.1, 1.0]
gamma_input: [50, 100]
downsample: [true, false]
"""  # the 64 models: the published values of the rest are the defaults, the four seeds are training.seeds


def problems_of(**sections):
    """The lines of the one error that checking these sections raises."""
    with pytest.raises(InputError) as error:
        check_config({**SCANS, **sections})
    return str(error.value)


def write(path, sections):
    path.write_text(sections if isinstance(sections, str) else yaml.safe_dump(sections))
    return path


def test_a_small_config_has_the_published_defaults():
    config = check_config(SCANS)
    assert config.networks == {core: Network(core=core) for core in PUBLISHED_CORES}
    assert config.training.seeds == (1009, 1215, 2606, 99999)
    assert config.training.learning_rates == (0.005, 0.001)
    assert (config.training.max_epochs, config.training.batch_size, config.training.patience) == (500, 60, 10)
    network = config.networks["GaussianLaplace"]
    assert (network.hidden_channels, network.input_kern, network.hidden_kern) == (32, 15, 7)
    assert (network.layers, network.skip, network.scale_n) == (3, 3, 5)
    assert (network.gauss_sigma, network.gauss_bias, network.gamma_features) == (0.5, 0, 1)
    assert config.loops["loop1"].targets == {"day3": ("mei_vs_rf",)}
    assert config.datasets == {"mouse1": ("day1",)}


def test_every_value_has_the_type_of_its_key():
    config = check_config({**SCANS, "training": {"tolerance": "1e-6", "seeds": 7, "learning_rates": [1, 2]}})
    assert config.training.tolerance == 1e-6  # YAML reads 1e-6 as text
    assert config.training.seeds == (7,)
    assert all(isinstance(rate, float) for rate in config.training.learning_rates)


def test_the_64_models_are_one_block():
    """Section 7.2 of the published grid: 8 cores x 2 readouts = 16 networks, x 4 seeds = 64."""
    config = check_config({**SCANS, "networks": yaml.safe_load(GRID)})
    expected = {
        Network(core=core, gamma_hidden=hidden, gamma_input=smooth, downsample=downsample)
        for core, hidden, smooth, downsample in itertools.product(
            PUBLISHED_CORES, (0.1, 1.0), (50.0, 100.0), (True, False)
        )
    }
    assert len(config.networks) == 16 and set(config.networks.values()) == expected
    assert len(config.networks) * len(config.training.seeds) == 64
    for name, network in config.networks.items():
        assert name.startswith(f"{network.core}-gamma_hidden-{network.gamma_hidden:g}-gamma_input-")
        assert name.endswith(f"downsample-{str(network.downsample).lower()}")


def published_grid():
    return yaml.safe_load((ROOT / "workflow" / "config" / "cores.yaml").read_text())["networks"]


def test_the_175_cores_can_be_written_in_blocks():
    """G28: rows of each type, in the order of section 7.1; with the published restriction and seeds, 64 models."""
    config = check_config({**SCANS, "networks": published_grid()})
    networks = list(config.networks.values())
    rows = {
        "Stacked2d": 4, "ModStacked2d": 16, "Linear": 1, "ModLinear": 6, "SigmoidLaplace": 32,
        "LinearSigmoidLaplace": 12, "GaussianLaplace": 64, "StackedLinearGaussianLaplace": 16,
        "LinearGaussianLaplace": 24,
    }  # fmt: skip
    assert dict(Counter(network.core for network in networks)) == rows and len(set(networks)) == 175
    assert list(rows) == list(dict.fromkeys(network.core for network in networks))
    mod = dict(input_kern=(11, 15), hidden_kern=(3, 7), gamma_hidden=(0.1, 1.0), gamma_input=(50.0, 100.0))
    linear = dict(input_kern=(13, 19, 23), gamma_input=(50.0, 100.0))
    gauss = dict(gauss_sigma=(0.5, 1.0), gauss_bias=(0.0, 0.5))
    grids = {
        "ModStacked2d": mod,
        "Linear": dict(input_kern=(13,)),
        "ModLinear": dict(input_kern=(13, 19, 23), laplace_padding=(0, 1)),
        "SigmoidLaplace": mod | dict(sigmoid_scale=(1.0, 2.0)),
        "LinearSigmoidLaplace": linear | dict(sigmoid_scale=(1.0, 2.0)),
        "GaussianLaplace": mod | gauss,
        "StackedLinearGaussianLaplace": dict(gamma_hidden=(0.1, 1.0), gamma_input=(50.0, 100.0)) | gauss,
        "LinearGaussianLaplace": linear | gauss,
    }
    expected = [
        Network(core=core, **dict(zip(grid, values, strict=True)))
        for core, grid in grids.items()
        for values in itertools.product(*grid.values())
    ]
    for in_kern, hid_kern, gamma_hidden, skip in ((7, 3, 0.1, 3), (18, 1, 0.0, 3), (7, 7, 0.1, 0), (13, 7, 0.1, 0)):
        expected.append(Network("Stacked2d", 32, in_kern, hid_kern, skip=skip, gamma_hidden=gamma_hidden))
    assert set(networks) == set(expected)
    with_readouts = [{**block, "downsample": [True, False]} for block in published_grid()]
    restricted = [
        network
        for network in check_config({**SCANS, "networks": with_readouts}).networks.values()
        if network.core in PUBLISHED_CORES
        and (network.gauss_bias, network.gauss_sigma, network.input_kern, network.hidden_kern) == (0, 0.5, 15, 7)
    ]
    assert len(restricted) * len(config.training.seeds) == 64
    block = check_config({**SCANS, "networks": yaml.safe_load(GRID)})
    assert set(restricted) == set(block.networks.values())


def test_a_setting_that_does_not_matter_makes_no_other_network():
    """Its name, its settings and itself are the same: nothing is trained twice, or anew."""
    block = {"core": ["GaussianLaplace", "Linear"], "sigmoid_scale": [1, 2], "pool_steps": [1, 2], "skip": 2}
    config = check_config({**SCANS, "networks": block})
    assert list(config.networks) == ["GaussianLaplace", "Linear"]
    assert config.networks["Linear"] == Network(core="Linear")
    network = config.networks["GaussianLaplace"]
    assert network.settings()["skip"] == 2 and "sigmoid_scale" not in network.settings()
    assert Network(**network.settings()) == network


def test_names_tell_networks_apart():
    blocks = [
        {"core": ["GaussianLaplace", "Identity"], "readout": ["FullGaussian2d", "SpatialTransformerPyramid2d"]},
        {"core": "GaussianLaplace", "shifter": "none", "scale_n": [3, 5]},
    ]
    names = list(check_config({**SCANS, "networks": blocks}).networks)
    assert names == [
        "GaussianLaplace-FullGaussian2d-shifter-mlp",
        "GaussianLaplace-SpatialTransformerPyramid2d-scale_n-5-shifter-mlp",
        "Identity-FullGaussian2d",
        "Identity-SpatialTransformerPyramid2d",
        "GaussianLaplace-SpatialTransformerPyramid2d-scale_n-3-shifter-none",
        "GaussianLaplace-SpatialTransformerPyramid2d-scale_n-5-shifter-none",
    ]


def test_names_are_file_names_and_never_the_same():
    """They match the wildcard of the Snakefile, however large or close the numbers."""
    (pattern,) = re.findall(r'network="(.*?)"', (ROOT / "Snakefile").read_text())
    block = {"gamma_input": [50, 1e6, 1e20], "gamma_hidden": [0.1234567, 0.1234568, 1e-7]}
    names = list(check_config({**SCANS, "networks": block}).networks)
    assert len(names) == 2 * 3 * 3 and all(re.fullmatch(pattern, name) for name in names)
    assert "GaussianLaplace-gamma_hidden-0.1234567-gamma_input-1000000" in names


def test_a_part_that_there_is_not_is_an_error():
    with pytest.raises(ValueError, match=r"readout: one of SpatialTransformerPyramid2d, .*got 'FullGaussian2D'"):
        Network(readout="FullGaussian2D")


def test_an_overlay_replaces_blocks_of_networks(tmp_path):
    base = write(tmp_path / "config.yaml", {**SCANS, "networks": [{"gamma_input": 50}, {"gamma_input": 70}]})
    config = read_config(base, {"networks": {"gamma_input": 100}})
    assert {network.gamma_input for network in config.networks.values()} == {100}
    with pytest.raises(InputError, match=r"networks\.nonsense: unknown key"):
        read_config(base, {"networks": {"nonsense": 3}})


def test_every_part_has_settings_that_exist():
    names = {field.name for field in dataclasses.fields(Network)}
    used = {name for kinds in (CORES, READOUTS, SHIFTERS, MODULATORS) for kind in kinds.values() for name in kind}
    assert used | {"core", "readout", "shifter", "modulator", "nonlinearity"} == names


def test_the_default_config_lists_every_key_of_a_network():
    listed = yaml.safe_load((ROOT / "config.yaml").read_text())["networks"]
    assert list(listed) == [field.name for field in dataclasses.fields(Network)]


def test_an_unknown_key_is_an_error_with_a_suggestion():
    assert "training.batchsize: unknown key; did you mean 'batch_size'?" in problems_of(training={"batchsize": 60})
    assert "trainings: unknown key; did you mean 'training'?" in problems_of(trainings={})
    assert "networks.gama_input: unknown key; did you mean 'gamma_input'?" in problems_of(networks={"gama_input": 50})
    assert "masks.zzz: unknown key; known keys: deviation_factor," in problems_of(masks={"zzz": 1})
    loops = {"loop1": {**SCANS["loops"]["loop1"], "target": "day3"}}
    assert "loops.loop1.target: unknown key; did you mean 'targets'?" in problems_of(loops=loops)


@pytest.mark.parametrize(
    ("section", "content", "message"),
    [
        ("training", {"batch_size": "sixty"}, "training.batch_size: expected int, found 'sixty'"),
        ("training", {"batch_size": 60.0}, "training.batch_size: expected int, found 60.0"),
        ("training", {"batch_size": True}, "training.batch_size: expected int, found True"),
        ("training", {"tolerance": "small"}, "training.tolerance: expected float, found 'small'"),
        ("training", {"tolerance": True}, "training.tolerance: expected float, found True"),
        ("training", {"seeds": [1009, None]}, "training.seeds: expected int, found None"),
        ("training", [1], "training: expected keys and values, found [1]"),
        ("meis", {"blur": 1}, "meis.blur: expected bool, found 1"),
        ("data_config", {"layer": 4}, "data_config.layer: expected str, found 4"),
        ("scans", {"day1": "raw", "day3": None}, "scans.day3: expected str, found None"),
        ("scans", ["day1"], "scans: expected keys and values, found ['day1']"),
        ("datasets", {"mouse1": [["day1"]]}, "datasets.mouse1: expected str, found ['day1']"),
        ("loops", {"loop1": "day3"}, "loops.loop1: expected keys and values, found 'day3'"),
        ("networks", {"positive": "no"}, "networks.positive: expected bool, found 'no'"),
    ],
)
def test_a_wrong_type_is_an_error(section, content, message):
    assert message in problems_of(**{section: content})


@pytest.mark.parametrize(
    ("section", "content", "message"),
    [
        ("training", {"patience": 0}, "training.patience: 0 is below the least allowed value 1"),
        ("training", {"seeds": [1, -1]}, "training.seeds: -1 is below the least allowed value 0"),
        ("training", {"seeds": []}, "training.seeds: is empty, at least one value is needed"),
        ("training", {"tolerance": math.nan}, "training.tolerance: is not a number"),
        ("meis", {"norm_px": "nan"}, "meis.norm_px: is not a number"),
        ("selection", {"percentile": 101}, "selection.percentile: 101.0 is above the largest allowed value 100.0"),
        ("networks", {"core": "Gaussian"}, "networks.core: 'Gaussian' is not one of GaussianLaplace, Stacked"),
        ("networks", {"gamma_input": [50, -1]}, "networks.gamma_input: -1.0 is below the least allowed value 0.0"),
        ("networks", {"gamma_input": []}, "networks.gamma_input: is empty, at least one value is needed"),
        ("networks", {"hidden_kern": [7, 6]}, "networks.hidden_kern: 6 is even"),
        ("networks", {"input_kern": 37}, "networks.input_kern: 37 px is larger than the images (36 x 64 px)"),
        ("networks", {"shifter": "Affine"}, "networks.shifter: 'Affine' is not one of MLP, StaticAffine2d, none"),
        ("networks", {"laplace_padding": 2}, "networks.laplace_padding: 2 is above the largest allowed value 1"),
        ("networks", [{"core": "Linear"}, {"gamma_input": -1}], "networks[1].gamma_input: -1.0 is below the least"),
        ("networks", [{"core": "Linear"}, "cnn"], "networks[1]: expected keys and values, found 'cnn'"),
        ("networks", [], "networks: is empty, at least one network is needed"),
        (
            "networks",
            {"core": ["Linear", "Stacked2d"], "input_kern": 2},
            "input_kern: Linear needs at least 3 px",
        ),
        ("training", {"seeds": [1, 2, 1]}, "training.seeds: 1 is there twice"),
        ("networks", [{"layer": 2}], "networks.layer: unknown key; did you mean 'layers'?"),
        (
            "networks",
            {"readout": "SpatialTransformerPooled2d", "pool_steps": 5},
            "networks.pool_steps: maps of 22 x 50 px cannot be halved 5 times",
        ),
    ],
)
def test_a_value_out_of_range_is_an_error(section, content, message):
    assert message in problems_of(**{section: content})


def test_the_values_at_the_ends_of_a_range_are_allowed():
    config = check_config({**SCANS, "selection": {"percentile": 100, "top_fraction": 0}, "training": {"patience": 1}})
    assert (config.selection.percentile, config.selection.top_fraction, config.training.patience) == (100, 0, 1)


def test_both_the_cnn_and_the_linear_model_are_needed():
    for cores in ("GaussianLaplace", ["Linear", "Identity"]):
        message = problems_of(networks={"core": cores})
        assert "networks.core: a CNN (GaussianLaplace, SigmoidLaplace, Stacked2d, ModStacked2d) and a lin" in message
    config = check_config({**SCANS, "networks": {"core": ["Stacked2d", "Identity"]}})
    assert [network.model_type for network in config.networks.values()] == ["cnn", "linear"]


LOOP = SCANS["loops"]["loop1"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"datasets": {}, "loops": {}}, "datasets: is empty"),
        ({"datasets": {"mouse1": ["day1", "day2"]}}, "datasets.mouse1: scan 'day2' is not in scans"),
        (
            {"loops": {"l": {"dataset": "mouse2", "source": "day1", "targets": DAY3}}},
            "'mouse2' is not in datasets",
        ),
        (
            {"loops": {"l": {"dataset": "mouse1", "source": "day3", "targets": DAY3}}},
            "'day3' is not a scan of",
        ),
        (
            {"loops": {"l": {"dataset": "mouse1", "source": "day1", "targets": {"day4": "mei_vs_rf"}}}},
            "'day4' is not in scans",
        ),
        ({"loops": {"l": {"dataset": "mouse1", "source": "day1", "targets": ["day3"]}}}, "expected names and values"),
        (
            {"loops": {"l": {"dataset": "mouse1", "source": "day1", "targets": {"day3": "rf"}}}},
            "is not one of mei_vs_rf",
        ),
        ({"stimuli": {"sets": ["mei_vs_gabor"]}}, "loops.loop1.targets.day3: mei_vs_rf is not among stimuli.sets"),
        ({"stimuli": {"sets": ["mei_vs_rf"], "target": "mei_vs_gabor"}}, "stimuli.target: mei_vs_gabor is not among"),
        (
            {"stimuli": {"shifts_px": [-1, 1]}},
            "stimuli.shifts_px: [-1, 1]: different numbers, 0 among them, are needed",
        ),
        ({"stimuli": {"shifts_px": [0, 0]}}, "stimuli.shifts_px: [0, 0]: different numbers, 0 among them, are needed"),
        ({"meis": {"eye": ["mean", "1 2 3"]}}, "meis.eye: '1 2 3' is not none, mean or 2 numbers (pupil_x pupil_y)"),
        ({"meis": {"behavior": ["none", "none"]}}, "meis.behavior: 'none' is there twice"),
        ({"natural": {"kinds": ["unmasked"]}}, "natural.kinds: the stimulus set mei_vs_natural needs tight"),
        ({"natural": {"kinds": ["tight", "tight"]}}, "natural.kinds: a kind is there twice"),
        ({"natural": {"images": ""}}, "natural.images: is empty; it is scan or a folder"),
        ({"loops": {"l": {"dataset": "mouse1", "source": "day1"}}}, "loops.l.targets: is missing"),
        (
            {"loops": {"l": {**LOOP, "targets": {"day3": ["mei_vs_rf"] * 2}}}},
            "targets.day3: a stimulus set is there twice",
        ),
        (
            {
                "loops": {"l": {**LOOP, "targets": {"day3": ["mei_vs_rf", "mei_vs_gabor"]}}},
                "stimuli": {"shifts_px": [0, 1]},
            },
            "loops.l.targets.day3: mei_vs_rf with stimuli.shifts_px and mei_vs_gabor give one name to two images",
        ),
        ({"loops": {"l": {**LOOP, "oracle": ["day4"]}}}, "loops.l.oracle: scan 'day4' is not in scans"),
        ({"loops": {"l": {**LOOP, "oracle": ["day3"]}}}, "loops.l.oracle: scan 'day3' is a target, or is there twice"),
        ({"loops": {"l": {**LOOP, "targets": {"day1": "mei_vs_rf"}}}}, "'day1' is the source and a later scan as well"),
        ({"matching": {"one_to_one": True}}, "matching.one_to_one: needs a finite matching.max_distance_um"),
        ({"matching": {"one_to_one": True, "max_distance_um": 0}}, "needs a finite matching.max_distance_um above 0"),
        (
            {"matching": {"method": "structure", "one_to_one": True, "max_distance_um": 9}},
            "matching.one_to_one: is for the method proximity only",
        ),
        ({"loops": {"l/1": SCANS["loops"]["loop1"]}}, "name 'l/1': only letters, digits, '-' and '_' are allowed"),
        ({"scans": {**SCANS["scans"], "mäus": "raw"}}, "name 'mäus': only letters, digits"),
        ({"scans": {**SCANS["scans"], "a.b": "raw"}}, "name 'a.b': only letters, digits"),
        ({"scans": {**SCANS["scans"], "a_fit": "raw"}}, "name 'a_fit': may not end in _models, _fit"),
        ({"loops": {"l_left_out": SCANS["loops"]["loop1"]}}, "name 'l_left_out': may not end in _models"),
        (
            {"simulation": {"n_images": 59, "n_repeated": 60}},
            "simulation.n_repeated: 60 is more than simulation.n_images, 59",
        ),
    ],
)
def test_a_broken_reference_is_an_error(sections, message):
    assert message in problems_of(**sections)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Config)])
@pytest.mark.parametrize("content", [5, "text", [1]])
def test_a_section_that_is_no_mapping_is_an_error(name, content):
    assert re.search(rf"{name}(\[0\])?: expected keys and values, found ", problems_of(**{name: content}))


def test_all_problems_come_in_one_message():
    message = problems_of(
        unit={},
        training={"patience": 0, "batch_size": "sixty", "epochs": 3},
        networks={"gamma_input": [-1, 50], "gamma_hidden": [0.1, 1.0]},
        datasets={"mouse1": ["day1", "day2"]},
        loops={
            "loop1": {"dataset": "mouse3", "source": "day1", "targets": DAY3},
            "loop2": {"dataset": "mouse1"},
        },
    )
    expected = [
        "unit: unknown key",
        "training.patience: 0 is below",
        "training.batch_size: expected int",
        "training.epochs: unknown key",
        "networks.gamma_input: -1.0 is below",
        "datasets.mouse1: scan 'day2'",
        "loops.loop1.dataset: 'mouse3'",
        "loops.loop2.source: is missing",
        "loops.loop2.targets: is missing",
    ]
    assert message.startswith(f"config: {len(expected)} problems")
    lines = message.splitlines()[1:]
    assert len(lines) == len(expected)  # the grid's problem is said once
    for wanted in expected:
        assert any(wanted in line for line in lines), wanted


def test_an_overlay_replaces_single_keys_and_lists_of_names_as_a_whole(tmp_path):
    path = write(tmp_path / "config.yaml", {**SCANS, "training": {"patience": 4, "seeds": [1, 2]}})
    overlay = {
        "training": {"seeds": [5]},
        "meis": {"iterations": 10},
        "scans": {"other": "raw/other"},
        "datasets": {"mouse2": ["other"]},
        "loops": {},
    }
    config = read_config(path, overlay)
    assert config.training.seeds == (5,) and config.training.patience == 4
    assert config.meis.iterations == 10
    assert config.scans == {"other": "raw/other"}
    assert config.datasets == {"mouse2": ("other",)} and config.loops == {}
    assert read_config(path).training.seeds == (1, 2)
    with pytest.raises(InputError, match="scan 'day1' is not in scans"):
        read_config(path, {"scans": {"other": "raw/other"}})
    with pytest.raises(InputError, match="unknown key"):
        read_config(path, {"training": {"seed": 5}})


def test_a_file_that_is_no_config_is_an_input_error(tmp_path):
    path = tmp_path / "config.yaml"
    cases = ["- a\n- b\n", "text", "a: [1,", b"\xff\xfe\xfa", {**SCANS, "training": [1]}]
    for content in cases:
        path.write_bytes(content) if isinstance(content, bytes) else write(path, content)
        with pytest.raises(InputError):
            read_config(path, {"training": {"seeds": [1]}})
    with pytest.raises(InputError, match=r"nothing\.yaml"):
        read_config(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match="datasets: is empty"):
        read_config(write(path, ""))


def test_every_key_has_a_default_and_a_comment_where_it_is_read():
    """All sections but the lists of names can be left out, and are documented dataclasses."""
    for field in dataclasses.fields(Config):
        if dataclasses.is_dataclass(field.type):
            assert field.type.__doc__ and dataclasses.is_dataclass(field.type())
