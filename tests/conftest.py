"""One thread for all tests: two test runs side by side then cost no more than their sum. And a scan to test with."""

import io

import pytest
import torch
from exports import make_export

from neurostatic.report import markup

torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """The small loop first: it takes longest, and another worker has the rest meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("loop") is None)


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
