"""What an export says of structural stacks: positions of units, registrations of fields, cells that units are."""

from pathlib import Path

import pandas as pd

from neurostatic.data.registration import PLACE_COLUMNS, SIZE_COLUMNS, register_units
from neurostatic.data.scans import contract
from neurostatic.data.scans.tables import find_duplicates, find_unknown, known_rows, read_columns
from neurostatic.problems import InputError, report_problems

COORDINATES, REGISTRATIONS, MATCHES = "stack_coordinates.csv", "field_registrations.csv", "structure_matches.csv"


def has_positions(folder: str | Path) -> bool:
    """Whether an export says where its units are in stacks."""
    return any((Path(folder) / name).is_file() for name in (COORDINATES, REGISTRATIONS))


def read_stack_coordinates(folder: str | Path) -> pd.DataFrame:
    """Positions of units in stacks: given by an export, or computed from the registrations of its fields.

    Reads and checks stack_coordinates.csv; or field_registrations.csv with units.csv and fields.csv.

    Returns:
        stack (text), unit_id, x_um, y_um, z_um; NaN where a unit has no position in a stack.

    Raises InputError that lists every problem, or says that neither file is there.
    """
    folder = Path(folder)
    problems: list[str] = []
    given = (folder / COORDINATES).is_file()
    if not has_positions(folder):
        raise InputError(f"{folder}: neither {COORDINATES} nor {REGISTRATIONS} is there, one of them is needed")
    coordinates = read_columns(folder / COORDINATES, contract.STACK_COORDINATES, problems)
    registrations = read_columns(folder / REGISTRATIONS, contract.FIELD_REGISTRATIONS, problems)
    units = fields = None
    if not given:
        problems += [
            f"{name}: file is missing; {REGISTRATIONS} needs it"
            for name in ("units.csv", "fields.csv")
            if not (folder / name).is_file()
        ]
        units = read_columns(folder / "units.csv", {name: contract.UNITS[name] for name in PLACE_COLUMNS}, problems)
        fields = read_columns(folder / "fields.csv", {name: contract.FIELDS[name] for name in SIZE_COLUMNS}, problems)
        problems += find_duplicates(units, "units.csv", ["unit_id"])
        problems += find_duplicates(fields, "fields.csv", ["field"])
    problems += find_stack_problems(folder, coordinates, registrations, None, units, fields)
    report_problems(f"scan export {folder}", problems)
    if coordinates is None:
        return register_units(units, fields, registrations)
    return coordinates.reset_index(drop=True)


def require_stacks(scan: contract.Scan, method: str) -> None:
    """Refuse an export without the file by which cells of a loop are matched.

    Args:
        method: 'proximity' (positions in stacks) or 'structure' (cells of a structural stack).

    Raises InputError.
    """
    if method == "structure" and scan.structure_matches is None:
        raise InputError(f"{scan.folder}: {MATCHES} is not there; cells of a closed loop are matched by it")
    if method == "proximity" and scan.stack_coordinates is None:
        raise InputError(
            f"{scan.folder}: neither {COORDINATES} nor {REGISTRATIONS} is there; one is needed to match cells of a loop"
        )


def read_structure_matches(folder: str | Path) -> pd.DataFrame:
    """Which cell of a structural stack each unit of an export is (Func2StructMatching).

    Reads and checks structure_matches.csv.

    Returns:
        stack (text), unit_id, sunit_id, iou (0 to 1), distance_um of the unit to the center of that cell.

    Raises InputError that lists every problem, or says that the file is not there.
    """
    folder = Path(folder)
    problems: list[str] = []
    if not (folder / MATCHES).is_file():
        raise InputError(f"{folder}: {MATCHES} is not there, it is needed")
    matches = read_columns(folder / MATCHES, contract.STRUCTURE_MATCHES, problems)
    problems += find_stack_problems(folder, None, None, matches, None, None)
    if matches is not None:
        matches = matches.reset_index(drop=True)
    report_problems(f"scan export {folder}", problems)
    return matches


def find_stack_problems(
    folder: Path,
    coordinates: pd.DataFrame | None,
    registrations: pd.DataFrame | None,
    matches: pd.DataFrame | None,
    units: pd.DataFrame | None,
    fields: pd.DataFrame | None,
) -> list[str]:
    """Contradictions in the tables of stacks, indexed by line; None for a table that is not there or not read."""
    problems = []
    if (folder / COORDINATES).exists() and (folder / REGISTRATIONS).exists():
        problems.append(f"{REGISTRATIONS}: is there, and so is {COORDINATES}; give one of them")
    for file, table in ((COORDINATES, coordinates), (MATCHES, matches)):
        problems += find_duplicates(table, file, ["stack", "unit_id"])
        if table is not None and units is not None:
            problems += find_unknown(table, file, "unit_id", units.unit_id, "units.csv")
    problems += find_duplicates(registrations, REGISTRATIONS, ["stack", "field"])
    if registrations is not None and fields is not None:
        known_fields = known_rows(fields, ["field"]).field
        listed = f"fields.csv ({', '.join(map(str, known_fields))})"
        problems += find_unknown(registrations, REGISTRATIONS, "field", known_fields, listed)
    return problems
