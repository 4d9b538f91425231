"""One key of a section: its default, and what is allowed."""

import dataclasses


def key(default, *, low=None, high=None, choices=None, empty=False):
    """A config key with its default and what is allowed; `empty`: a list may have no values."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "choices": choices, "empty": empty})
