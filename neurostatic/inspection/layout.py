"""Plain text in columns, no line longer than 100 characters."""

import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 100
INDENT = "  "
LONGEST_NAME = 32


def named(pairs: Iterable[tuple[str, object]]) -> list[str]:
    """One line a pair of name and value, aligned; long values go on below themselves."""
    texts = [(cut(name, LONGEST_NAME), str(value)) for name, value in pairs]
    column = max((len(name) for name, _ in texts), default=0) + len(INDENT)
    lines = []
    for name, value in texts:
        first = f"{INDENT}{name:<{column}}"
        lines += textwrap.wrap(
            value or "-", WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
        )
    return lines


def columns(rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows of cells in aligned columns; a row that is too long ends in three dots."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = [INDENT + INDENT.join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
    return [cut(line.rstrip()) for line in lines]


def bullets(texts: Iterable[str]) -> list[str]:
    """A list of sentences."""
    return [
        line
        for text in texts
        for line in textwrap.wrap(
            text, WIDTH, initial_indent=f"{INDENT}- ", subsequent_indent=INDENT * 2, break_on_hyphens=False
        )
    ]


def plural(n: int, what: str) -> str:
    """'1 scan', '2 scans'."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def cut(text: str, width: int = WIDTH) -> str:
    """A text of at most `width` characters."""
    return text if len(text) <= width else text[: width - 3] + "..."
