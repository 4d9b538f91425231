"""Floor 6, inspection: what the `neurostatic` command says of files, and the project folder that it begins."""

from neurostatic.inspection.checking import check
from neurostatic.inspection.describing import describe
from neurostatic.inspection.projects import init_project

__all__ = ["check", "describe", "init_project"]
