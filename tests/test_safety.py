"""Files from elsewhere are data: nothing in them is executed, and no name in them leads out of a folder.

Each attack, if it worked, would make the file `struck`. Zip archives are attacked in test_data_importers.py.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from exports import make_export
from PIL import Image
from projects import copy_of_the_project, snakemake

from neurostatic.cli import main
from neurostatic.config import read_config
from neurostatic.config.reading import read_sections
from neurostatic.data.importers.sensorium import read_sensorium
from neurostatic.data.scans import read_scan
from neurostatic.fitting.checkpoints import Checkpoint
from neurostatic.inspection.describing import describe
from neurostatic.models import load_network
from neurostatic.problems import InputError
from neurostatic.stimuli.files import MANIFEST_COLUMNS, check_shown, image_checksum, read_set

ROOT = Path(__file__).parents[1]
YAML_TAG = "!!python/object/apply:os.system ['touch {}']"


class Striking:
    """An object whose unpickling makes a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.fixture
def struck(tmp_path) -> Path:
    file = tmp_path / "struck"
    yield file
    assert not file.exists()


def pickled(file: Path) -> np.ndarray:
    return np.array([Striking(file)], dtype=object)


def test_the_attacks_would_work(tmp_path):
    """Whoever reads these files without care is struck."""
    path, file = tmp_path / "a.npy", tmp_path / "struck"
    np.save(path, pickled(file), allow_pickle=True)
    np.load(path, allow_pickle=True)
    assert file.exists()
    file.unlink()
    torch.save({"weights": Striking(file)}, tmp_path / "a.pt")
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert file.exists()
    file.unlink()
    yaml.unsafe_load(YAML_TAG.format(file))
    assert file.exists()


@pytest.mark.parametrize("name", ["images.npy", "traces.npy", "frame_times_stim.npy", "frame_times_behavior.npy"])
def test_a_pickled_array_in_an_export(struck, tmp_path, name):
    export = make_export(tmp_path / "export")
    np.save(export / name, pickled(struck), allow_pickle=True)
    with pytest.raises(InputError, match=name):
        read_scan(export)


def test_a_pickled_archive_in_an_export(struck, tmp_path):
    export = make_export(tmp_path / "export")
    np.savez(export / "area_masks.npz", area_names=pickled(struck), field_1=pickled(struck))
    with pytest.raises(InputError, match=r"area_masks\.npz: not a readable"):
        read_scan(export)


def test_a_pickled_array_in_a_sensorium_tree(struck, tmp_path):
    (tmp_path / "tree/meta/trials").mkdir(parents=True)
    np.save(tmp_path / "tree/meta/trials/tiers.npy", pickled(struck), allow_pickle=True)
    with pytest.raises(InputError, match="Object arrays cannot be loaded"):
        read_sensorium(tmp_path / "tree")


def test_a_pickled_array_that_is_described(struck, tmp_path):
    np.save(tmp_path / "a.npy", pickled(struck), allow_pickle=True)
    with pytest.raises((InputError, ValueError), match=r"a\.npy|Object arrays"):
        describe(tmp_path / "a.npy")


def test_a_pickled_model(struck, tmp_path):
    torch.save({"format": 2, "weights": Striking(struck)}, tmp_path / "1.pt")
    with pytest.raises(InputError, match="not a readable model file"):
        load_network(tmp_path / "1.pt")


def test_a_pickled_checkpoint(struck, tmp_path):
    torch.save({"training": "of this", "state": Striking(struck)}, tmp_path / "1.checkpoint")
    assert Checkpoint(tmp_path / "1.checkpoint", "of this").read() is None


def test_tags_of_yaml(struck, tmp_path):
    (tmp_path / "mine.yaml").write_text(f"scans: {YAML_TAG.format(struck)}\n")
    with pytest.raises(InputError, match="not a readable YAML file"):
        read_sections(tmp_path / "mine.yaml")
    with pytest.raises(InputError, match="not a readable YAML file"):
        read_config(tmp_path / "mine.yaml", overlay={})
    export = make_export(tmp_path / "export")
    (export / "scan.yaml").write_text(f"animal_id: {YAML_TAG.format(struck)}\n")
    with pytest.raises(InputError, match=r"scan\.yaml: not a readable YAML file"):
        read_scan(export)


@pytest.mark.parametrize("name", ["../struck", "/tmp/a", "a; touch struck", "$(touch struck)", "a b", ".", ""])
def test_names_that_become_files(struck, name):
    for sections in ({"scans": {name: "a"}}, {"datasets": {name: ["mouse1-day1"]}}, {"loops": {name: {}}}):
        with pytest.raises(InputError, match="only letters, digits, '-' and '_' are allowed"):
            read_config(ROOT / "config.yaml", overlay=sections)


@pytest.mark.loop
def test_sources_that_are_shell_text(tmp_path):
    """Where a scan comes from is any path, and no more than a path."""
    project, source = tmp_path / "project", "$(touch struck); `touch struck` & touch struck"
    copy_of_the_project(project)
    make_export(project / source, "responses")
    overlay = {"scans": {"a": source}, "datasets": {"d": ["a"]}, "loops": {}}
    (project / "hostile.yaml").write_text(yaml.safe_dump(overlay))
    run = snakemake(project, "--configfile", "hostile.yaml", "--", "results/datasets/a.zarr.zip")
    assert run.returncode == 0, run.stdout + run.stderr
    assert (project / "results/datasets/a.zarr.zip").is_file() and not list(tmp_path.rglob("struck"))


@pytest.mark.parametrize("file", ["../secret.png", "{folder}/secret.png", "mei/../../secret.png", "mei/$(id).png"])
def test_a_manifest_leads_nowhere_else(tmp_path, file):
    image = np.full((4, 4), 7, np.uint8)
    Image.fromarray(image).save(tmp_path / "secret.png")
    (tmp_path / "set/mei").mkdir(parents=True)
    row = {"image_class": "mei", "image_id": 0, "file": file.format(folder=tmp_path), "sha256": image_checksum(image)}
    manifest = pd.DataFrame([{**dict.fromkeys(MANIFEST_COLUMNS, 0), **row}])
    manifest.to_csv(tmp_path / "set/manifest.csv", index=False)
    with pytest.raises(InputError, match="column file: allowed are names such as"):
        read_set(tmp_path / "set")
    with pytest.raises(InputError, match="column file: allowed are names such as"):
        check_shown(tmp_path / "set", pd.DataFrame({"image_class": ["mei"], "image_id": [0]}), image[None], "a")


def test_names_of_images_and_areas_are_only_names(tmp_path, monkeypatch, capsys):
    """image_class and brain_area may be any text: they are compared and shown, no more."""
    export = make_export(tmp_path / "export", "responses", image_class="../../$(touch struck)", area_columns=True)
    units = pd.read_csv(export / "units.csv").assign(brain_area="<b>V1</b>")
    units.to_csv(export / "units.csv", index=False)
    monkeypatch.chdir(tmp_path)
    main(["check", str(export)])
    told = capsys.readouterr()
    assert "<b>V1</b>" in told.out + told.err and "Traceback" not in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
