"""A project folder to begin with: a config to edit, and a small scan as an example of an export."""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import neurostatic
from neurostatic.config import Simulation
from neurostatic.config.sections import REPLACED_WHOLE
from neurostatic.problems import InputError

EXAMPLE = "example"
# 40 cells, 300 trials: seconds to make, and enough for the demo's networks to find something.
SIMULATION = Simulation(n_cells=45, median_events=0.4, n_images=200, n_repeated=20, repeats=6)
OVERLAY_HEADER = """\
# A neurostatic project: what is run and how. Every key is checked before any job starts; a misspelt one is an error.
# It is laid over the config.yaml of the clone and holds its defaults; a key that is deleted here keeps the default.

"""
SECTIONS = {  # below the line of each section; the comment of that line is the default's
    "scans": f"""\
  {EXAMPLE}: scans/{EXAMPLE}
  # mouse7-day1: /data/mouse7/day1  # yours: from this folder, or from the root
""",
    "datasets": f"  {EXAMPLE}: [{EXAMPLE}]\n",
    "loops": f"""\
  # once the stimuli have been shown:
  # loop1:
  #   dataset: {EXAMPLE}
  #   source: {EXAMPLE}
  #   targets: {{{EXAMPLE}-day3: mei_vs_rf, {EXAMPLE}-day4: [mei_vs_gabor, mei_vs_natural]}}
  #   oracle: [{EXAMPLE}-day5]
""",
}
README = """\
A neurostatic project.

config.yaml      every setting with its unit; name your scans there
scans/{example}/   a complete raw export of a scan, made by a virtual mouse: what yours should look like
results/         will be made; results/report.html is the first thing to open

Check an export:    {check}
Run everything:     {run}
Up to a data set:   {run} results/datasets/{example}.zarr.zip
What is a file?     neurostatic describe FILE
"""


def init_project(folder: str | Path) -> str:
    """Make a project folder: config.yaml, README.txt and an example of a raw export.

    Returns:
        What was made and how to run it, as text.

    Raises InputError if the folder is there and not empty, or is the current one, if its parent is not there, or the
    package does not lie beside the workflow. Nothing is left behind.
    """
    folder = Path(folder).resolve()
    clone = clone_folder()
    _check_free(folder)
    commands = {name: shlex.join(words) for name, words in _commands(clone, folder).items()}
    with _made_whole(folder) as temporary:
        (temporary / "config.yaml").write_text(project_config((clone / "config.yaml").read_text("utf-8")), "utf-8")
        (temporary / "README.txt").write_text(README.format(example=EXAMPLE, **commands), "utf-8")
        _write_example(temporary / "scans" / EXAMPLE)
    return "\n".join(
        [
            f"{folder}: config.yaml, README.txt, scans/{EXAMPLE}",
            "check the scan:",
            f"  {commands['check']}",
            "run everything (2 to 5 minutes on a laptop):",
            f"  {commands['run']}",
        ]
    )


def project_config(default: str) -> str:
    """The config of a project from the text of the default config: other scans, data sets and loops, no simulation."""
    _, *sections = re.split(r"(?m)^(?=[a-z_]+:)", default)
    kept = [_with_example(section) for section in sections if not section.startswith("simulation:")]
    return OVERLAY_HEADER + "".join(kept)


def _with_example(section: str) -> str:
    name = section.partition(":")[0]
    if name not in REPLACED_WHOLE:
        return section
    first = section.splitlines()[0]
    key, hash_sign, comment = first.partition("#")
    if name == "loops":  # an overlay's empty section is written out
        key = f"{name}: {{}}".ljust(len(key))
    return f"{key}{hash_sign}{comment}\n{SECTIONS[name]}\n"


def clone_folder() -> Path:
    """Folder of the clone that this package is part of.

    Raises InputError if the package is installed alone, without the workflow.
    """
    clone = Path(neurostatic.__file__).resolve().parents[1]
    for name in ("Snakefile", "config.yaml"):
        if not (clone / name).is_file():
            raise InputError(
                f"{clone}: has no {name}; the workflow is needed, not the package alone: clone the repository and "
                "install it with `pip install --editable .`"
            )
    return clone


def _check_free(folder: Path) -> None:
    if folder == Path.cwd():
        raise InputError(f"{folder}: is the current folder; name another one, it will be made")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: is there already, and not an empty folder")
    if not folder.parent.is_dir():
        raise InputError(f"{folder.parent}: no such folder")


def _commands(clone: Path, folder: Path) -> dict[str, list[str]]:
    run = ["snakemake", "--snakefile", str(clone / "Snakefile"), "--directory", str(folder)]
    run += ["--configfile", str(folder / "config.yaml"), "--cores", "all"]
    return {"check": ["neurostatic", "check", str(folder / "scans" / EXAMPLE)], "run": run}


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, renamed to it if the block succeeds, else removed."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, folder)  # an empty folder may be there
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_example(folder: Path) -> None:
    from neurostatic.simulation.mouse import natural_session, simulate_scan  # only here: it loads torch

    simulate_scan(SIMULATION, natural_session(SIMULATION), folder)
