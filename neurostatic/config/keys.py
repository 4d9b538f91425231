"""One key of a section: its default, and what is allowed."""

import dataclasses
from typing import Any


def key(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    empty: bool = False,
) -> Any:
    """A config key: its default (none: it must be given) and what is allowed; `empty`: a list may have no values."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "choices": choices, "empty": empty})
