"""The report: one HTML file that opens offline."""

import string
from importlib import resources
from pathlib import Path

from neurostatic.report.markup import count
from neurostatic.report.methods import methods_section, origin_section
from neurostatic.report.results import Results
from neurostatic.report.sections_closed_loop import closed_loop_section
from neurostatic.report.sections_data import data_section, oracle_section
from neurostatic.report.sections_models import models_section
from neurostatic.report.sections_stimuli import meis_section, stimuli_section
from neurostatic.report.sections_summary import summary_section
from neurostatic.report.sections_truth import truth_section
from neurostatic.store import written_whole

SECTIONS = (
    summary_section, data_section, oracle_section, models_section, meis_section, stimuli_section,
    closed_loop_section, truth_section, methods_section,
)  # fmt: skip


def write_page(results: Results, path: str | Path) -> None:
    """Write the report: every figure embedded, nothing loaded from elsewhere, no script."""
    sections = [make(results) for make in SECTIONS] + [origin_section(results, str(Path(path).parent))]
    template = string.Template(resources.files("neurostatic.report").joinpath("page.html").read_text("utf-8"))
    counts = [
        count(len(results.scans), "scan"),
        count(len(results.datasets), "data set"),
        count(len(results.loops), "closed loop"),
    ]
    page = template.substitute(
        subtitle=", ".join(counts),
        contents="".join(_entry(section) for section in sections),
        sections="".join(sections),
    )
    with written_whole(path) as temporary:
        temporary.write_text(page, "utf-8")


def _entry(section: str) -> str:
    """Line of the contents that leads to a section."""
    anchor = section.split('id="', 1)[1].split('"', 1)[0]
    title = section.split("<h2>", 1)[1].split("</h2>", 1)[0]
    return f'<a href="#{anchor}">{title}</a>\n'
