"""One key of a section: its default, and what is allowed."""

import dataclasses


def key(default=dataclasses.MISSING, *, low=None, high=None, choices=None, empty=False):
    """A config key: its default (none: it must be given) and what is allowed; `empty`: a list may have no values."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "choices": choices, "empty": empty})
