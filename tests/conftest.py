"""One thread for all tests: two test runs side by side then cost no more than their sum. And a scan to test with."""

import pytest
import torch
from exports import make_export

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A valid export of each form, to be copied by a test that spoils it."""
    base = tmp_path_factory.mktemp("exports")
    return {form: make_export(base / form, form) for form in ("traces", "responses")}
