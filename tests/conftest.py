"""One thread for all tests: two test runs side by side then cost no more than their sum. And what many tests need."""

import fcntl
import io
from pathlib import Path

import pytest
import torch
from exports import make_export
from projects import SMALL, copy_of_the_project, snakemake

from neurostatic.report import markup

torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """What takes longest first: SLURM, then all that runs Snakemake; another worker has the rest meanwhile."""
    items.sort(key=lambda item: (item.path.name != "test_slurm.py", item.get_closest_marker("loop") is None))


@pytest.fixture
def quick_pictures(monkeypatch):
    """Figures are drawn, every artist once, but small and as they lie: their layout is most of the time of a page."""

    def png(drawing):
        drawing.set_layout_engine("none")
        buffer = io.BytesIO()
        drawing.savefig(buffer, format="png", dpi=20)
        return buffer.getvalue()

    monkeypatch.setattr(markup, "png", png)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A valid export of each form, to be copied by a test that spoils it."""
    base = tmp_path_factory.mktemp("exports")
    return {form: make_export(base / form, form) for form in ("traces", "responses")}


@pytest.fixture(scope="session")
def finished_loop(tmp_path_factory, request) -> Path:
    """A project in which the small loop has run, made once for all workers: to be copied, not to be changed."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # of pytest-xdist, each of which has a folder of its own in a common one
        folder = folder.parent
    with open(folder / "loop.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder /= "loop"
        if not folder.exists():
            copy_of_the_project(folder)
            run = snakemake(folder, *SMALL)
            assert run.returncode == 0, run.stdout + run.stderr
        assert (folder / "results/report.html").exists(), "the small loop failed in another worker"
    return folder
