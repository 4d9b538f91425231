"""Where a result comes from, in words."""

from typing import Any

from neurostatic.inspection.layout import named

SHORT = 12  # characters of a commit or checksum that are shown
MOST_INPUTS = 12
PATH_WIDTH = 64


def origin_lines(provenance: dict[str, Any] | None, why_none: str = "") -> list[str]:
    """The provenance of a result as `neurostatic.provenance` made it; what an older one lacks is left out.

    Args:
        provenance: None if there is none.
        why_none: is said in that case.
    """
    if not provenance:
        return [f"made by: unknown{why_none and f' ({why_none})'}"]
    changed = " (with changes that were not committed)" if provenance.get("dirty") else ""
    pairs = [
        ("rule", provenance.get("config", {}).get("rule", "-")),
        ("commit", f"{str(provenance.get('commit', '-'))[:SHORT]}{changed}"),
        ("seed", "none" if provenance.get("seed") is None else provenance["seed"]),
        ("device", provenance.get("device", "-")),
    ]
    versions = {"neurostatic": provenance.get("neurostatic"), **provenance.get("versions", {})}
    pairs.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    inputs = list(provenance.get("inputs", {}).items())
    shown = [f"{_end_of(path)}  {short(checksum)}" for path, checksum in inputs[:MOST_INPUTS]]
    if len(inputs) > MOST_INPUTS:
        shown.append(f"and {len(inputs) - MOST_INPUTS} more files")
    pairs += [("from" if i == 0 else "", line) for i, line in enumerate(shown)]
    return ["made by", *named(pairs)]


def short(checksum: str) -> str:
    """The beginning of a checksum."""
    return checksum[:SHORT]


def _end_of(path: str) -> str:
    """A path of at most 64 characters: its end says more than its beginning."""
    return path if len(path) <= PATH_WIDTH else "..." + path[3 - PATH_WIDTH :]
