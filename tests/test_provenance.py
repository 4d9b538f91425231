"""The hash of the code a script rests on: comments do not matter, a change anywhere below does."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neurostatic.provenance import code_of, commit, provenance
from neurostatic.store import checksum

ROOT = Path(__file__).parents[1]
NOT_DECLARED = {"CNN_CORES", "CORES", "MODULATORS", "PUBLISHED_CORES", "READOUTS", "SHIFTERS", "Network"}
HASH = "import sys; from neurostatic.provenance import code_of; print(code_of(sys.argv[1]))"


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "neurostatic", tmp_path / "neurostatic", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def hash_of(copy: Path, rule: str) -> str:
    script = copy / "workflow" / "scripts" / f"{rule}.py"
    return subprocess.run(
        [sys.executable, "-c", HASH, script], env={**os.environ, "PYTHONPATH": str(copy)}, cwd=copy,
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_comments_and_docstrings_do_not_count(copy):
    before = hash_of(copy, "make_masks")
    path = copy / "neurostatic" / "stimuli" / "masks.py"
    text = path.read_text()
    assert text.startswith('"""')
    path.write_text('"""Another docstring."""\n# a comment\n' + text.split('"""', 2)[2])
    assert hash_of(copy, "make_masks") == before


@pytest.mark.parametrize(
    ("module", "changed", "same"),
    [
        ("stimuli/masks.py", "make_masks", "make_meis"),
        ("stimuli/meis.py", "make_meis", "make_masks"),
        ("models/cores.py", "train_model", "compute_confusion"),  # two imports below the script
        ("closed_loop/confusion.py", "compute_confusion", "train_model"),
        ("config/networks.py", "train_model", "import_scan"),
        ("store.py", "build_dataset", None),
    ],
)
def test_a_change_reaches_the_scripts_that_rest_on_it_and_no_other(copy, module, changed, same):
    before = {rule: hash_of(copy, rule) for rule in (changed, same) if rule}
    path = copy / "neurostatic" / module
    path.write_text(path.read_text() + "\n\nNEW_CONSTANT = 1\n")
    assert hash_of(copy, changed) != before[changed]
    if same:
        assert hash_of(copy, same) == before[same]


def test_a_new_setting_is_no_change_of_code(copy):
    """It reaches the jobs that have it as a param; what works with settings is imported from where it stands."""
    before = {rule: hash_of(copy, rule) for rule in ("train_model", "simulate_scan")}
    path = copy / "neurostatic/config/sections.py"
    declared = path.read_text()
    changed = declared.replace("class Training:\n", "class Training:\n    new: int = key(1)\n")
    assert changed != declared
    path.write_text(changed)
    assert {rule: hash_of(copy, rule) for rule in before} == before
    for file in [*(ROOT / "neurostatic").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]:
        if file.parent.name != "config":
            imported = re.findall(r"^from neurostatic\.config import ([^(\n]+|\([^)]+\))", file.read_text(), re.M)
            assert not set(re.findall(r"\w+", " ".join(imported))) & NOT_DECLARED, file


def test_reading_the_code_does_not_import_it():
    subprocess.run(
        [
            sys.executable, "-c",
            "import sys; from neurostatic.provenance import code_of; "
            f"code_of({str(ROOT / 'workflow' / 'scripts' / 'train_model.py')!r}); assert 'torch' not in sys.modules",
        ],
        check=True,
    )  # fmt: skip


def test_provenance_names_commit_versions_inputs_and_config(tmp_path):
    (tmp_path / "in.csv").write_text("a\n1\n")
    made = provenance({"x": 1}, {"in.csv": checksum(tmp_path / "in.csv")}, 7, "cpu")
    assert made["seed"] == 7 and made["device"] == "cpu" and made["config"] == {"x": 1}
    assert made["inputs"]["in.csv"] == hashlib.sha256(b"a\n1\n").hexdigest()
    assert {"python", "torch", "snakemake"} <= set(made["versions"])
    assert set(commit()) == {"commit", "dirty"}
    assert made["config_sha256"] != provenance({"x": 2}, {}, 7, "cpu")["config_sha256"]


def test_code_of_is_stable():
    script = ROOT / "workflow" / "scripts" / "select_units.py"
    assert code_of(script) == code_of(script)


def test_only_the_code_makes_a_commit_changed(copy):
    """A project folder or an overlay in the clone does not; a module that is new or edited does."""

    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=copy, check=True)

    def dirty():
        ask = "from neurostatic.provenance import commit; print(commit()['dirty'])"
        run = subprocess.run([sys.executable, "-c", ask], env={**os.environ, "PYTHONPATH": str(copy)}, cwd=copy,
                             capture_output=True, text=True, check=True)  # fmt: skip
        return run.stdout.strip() == "True"

    (copy / ".gitignore").write_text("__pycache__/\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "all")
    (copy / "mouse7").mkdir()
    (copy / "mouse7/config.yaml").write_text("scans: {}")
    (copy / "mine.yaml").write_text("scans: {}")
    assert not dirty()
    (copy / "neurostatic/new.py").write_text("")
    assert dirty()
    (copy / "neurostatic/new.py").unlink()
    script = copy / "workflow/scripts/make_masks.py"
    script.write_text(script.read_text() + "\n# a comment\n")
    assert dirty()
