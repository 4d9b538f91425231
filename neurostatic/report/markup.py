"""The few kinds of HTML on the page. Everything that is handed in is plain text and is escaped here."""

import base64
import html
import io
import math
from collections.abc import Sequence
from urllib.parse import quote

from matplotlib.figure import Figure

NONE = "–"


class Link(str):
    """A path relative to the page: where a table shows it, it leads to the file."""


def number(value: float, form: str = ".3f") -> str:
    """A number as text, a dash where there is none."""
    return NONE if math.isnan(value) else format(value, form)


def p_value(p: float) -> str:
    """A p or q value to three digits."""
    return number(p, ".3g")


def percent(fraction: float) -> str:
    """A fraction in percent."""
    return NONE if math.isnan(fraction) else f"{100 * fraction:.0f} %"


def count(n: int, singular: str, plural: str = "") -> str:
    """'1 unit', '2 units'."""
    return f"{n} {singular if n == 1 else plural or singular + 's'}"


def sentence(text: str) -> str:
    """Text with a capital first letter and a full stop."""
    return capital(text) + "."


def capital(text: str) -> str:
    """Text with a capital first letter."""
    return text[:1].upper() + text[1:]


def heading(title: str) -> str:
    """Heading within a section."""
    return f"<h3>{html.escape(title)}</h3>\n"


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{html.escape(text)}</p>\n"


def bullets(lines: list[str]) -> str:
    """A list."""
    return "<ul>\n" + "".join(f"<li>{html.escape(line)}</li>\n" for line in lines) + "</ul>\n"


def table(columns: list[str], rows: Sequence[Sequence[object]], title: str, caption: str = "") -> str:
    """A table and its caption; cells of several lines keep them, side by side with those of their neighbors."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>\n" for row in rows)
    return f"<figure>\n<table>\n<tr>{head}</tr>\n{body}</table>\n{_caption(title, caption)}</figure>\n"


def _cell(value: object) -> str:
    text = html.escape(str(value))
    if isinstance(value, Link):
        return f'<td><a href="{html.escape(quote(value))}">{text}</a></td>'
    return f'<td class="lines">{text}</td>' if "\n" in text else f"<td>{text}</td>"


def figure(drawing: Figure, title: str, caption: str) -> str:
    """A figure as an embedded PNG, with a caption that says how to read it."""
    picture = base64.b64encode(png(drawing)).decode()
    image = f'<img alt="{html.escape(title)}" src="data:image/png;base64,{picture}">'
    return f"<figure>\n{image}\n{_caption(title, caption)}</figure>\n"


def _caption(title: str, caption: str) -> str:
    return f"<figcaption><strong>{html.escape(title)}</strong> {html.escape(caption)}</figcaption>\n"


def png(drawing: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=drawing.dpi)
    return buffer.getvalue()


def folded(title: str, content: str) -> str:
    """Something that opens on a click."""
    return f"<details><summary>{html.escape(title)}</summary>\n{content}</details>\n"


def section(anchor: str, title: str, *parts: str) -> str:
    """A section of the page."""
    return f'<section id="{anchor}">\n<h2>{html.escape(title)}</h2>\n{"".join(parts)}</section>\n'
