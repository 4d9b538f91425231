"""The `neurostatic` command: check exports, describe results, match cells, list networks, plan runs, begin projects."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from neurostatic import __version__

# Everything else is imported by the command that needs it: --help answers at once, `check` never loads torch.

EPILOG = """\
examples:
  neurostatic init mouse7                          a folder with a config and a small scan to try
  neurostatic check /data/mouse7/day1              all that is wrong with an export, or what it holds
  neurostatic describe results/selection/*.csv     what is in a result, and where it comes from
  neurostatic match day1.csv day2.csv              which cell of day 1 is which of day 2, and how sure that is
  neurostatic networks workflow/config/paper.yaml  the 16 published networks, of 64 models
  neurostatic plan mine.yaml                       jobs, GPU hours and disk of a run
"""
MATCH_LIMITS = ("one_to_one", "max_distance_um", "min_vote_fraction", "min_posterior")


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: of the command line; sys.argv if None.

    Returns:
        Exit code: 0, 1 if something the user gave is wrong, 130 if interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough; Python would complain when it flushes again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="neurostatic",
        description="Inception loops: check scans, look into results, begin a project. Snakemake runs the loop itself.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"neurostatic {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], summary: str, more: str = ""
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {more}")
        added.set_defaults(run=run)
        return added

    check = command(
        "check",
        _check,
        "check raw scan exports and Sensorium trees",
        "All problems at once, or what the scan holds, the data set it would become, and remarks. "
        "Exit code 1 if any scan has a problem.",
    )
    check.add_argument("paths", nargs="+", metavar="PATH", help="folder of a raw export; Sensorium folder or zip file")
    describe = command(
        "describe",
        _describe,
        "say what a result holds and where it comes from",
        "Understood are .zarr.zip, .csv, .pt, .json, .html, .png, .npy, and scans.",
    )
    describe.add_argument("paths", nargs="+", metavar="PATH", help="a result, or a scan")
    match = command(
        "match",
        _match,
        "find the cells of a scan again in another",
        "Tables have the columns unit_id, x_um, y_um, z_um, and stack if there are several. Every match comes with its "
        "posterior probability; what was not matched comes with the reason.",
    )
    match.add_argument("source", metavar="SOURCE.csv", help="where the cells of the scan are, all of them")
    match.add_argument("target", metavar="TARGET.csv", help="where the cells of the other scan are")
    match.add_argument(
        "--units", metavar="FILE.csv", help="match only the unit_id in this table; the others are rivals"
    )
    match.add_argument("--output", metavar="FILE.csv", help="write the matches here, not on standard output")
    match.add_argument("--unmatched", metavar="FILE.csv", help="write here what was not matched, and why")
    match.add_argument("--max-distance-um", type=float, default=float("inf"), metavar="UM", help="default: no limit")
    match.add_argument("--one-to-one", action="store_true", help="no two cells may have the same match")
    match.add_argument("--min-vote-fraction", type=float, default=0.0, metavar="F", help="of the stacks that agree")
    match.add_argument("--min-posterior", type=float, default=0.5, metavar="P", help="of the match; default 0.5")
    networks = command(
        "networks",
        _networks,
        "list the networks that a configuration makes",
        "Their number, names and settings, before anything is trained.",
    )
    networks.add_argument("overlays", nargs="*", metavar="CONFIG", help="overlays, as for snakemake --configfile")
    plan = command(
        "plan",
        _plan,
        "say what a run would cost: jobs, GPU hours, disk",
        "Nothing is run. Jobs are those that Snakemake would run in this folder.",
    )
    plan.add_argument("overlays", nargs="*", metavar="CONFIG", help="overlays, as for snakemake --configfile")
    plan.add_argument(
        "--tflops", type=float, default=0.0, metavar="N", help="of your GPU; default: as trainings here ran, else 5"
    )
    init = command("init", _init, "begin a project: a config to edit and a small scan to try")
    init.add_argument("folder", metavar="FOLDER", help="must not be there, or be empty")
    export = command(
        "export-sensorium", _export_sensorium, "write a data set as a Sensorium 2022 tree", "Other tools read it."
    )
    export.add_argument("store", metavar="STORE", help="a data set, results/datasets/*.zarr.zip")
    export.add_argument("target", metavar="TARGET", help="a folder, or a zip file if it ends in .zip; must not exist")
    return parser


def _check(options: argparse.Namespace) -> int:
    from neurostatic.inspection.checking import check

    return _print_each(check, options.paths)


def _describe(options: argparse.Namespace) -> int:
    from neurostatic.inspection.describing import describe

    return _print_each(describe, options.paths)


def _match(options: argparse.Namespace) -> int:
    from neurostatic.inspection.matches import match_tables

    limits = {name: getattr(options, name) for name in MATCH_LIMITS}

    def match(source: str) -> str:
        files = (source, options.target, options.units, options.output, options.unmatched)
        matches, summary = match_tables(*files, limits)
        if options.output:
            return summary
        print(summary, file=sys.stderr)
        return matches

    return _print_each(match, [options.source])


def _networks(options: argparse.Namespace) -> int:
    from neurostatic.inspection.networks import list_networks

    return _print_each(list_networks, [options.overlays])


def _plan(options: argparse.Namespace) -> int:
    from neurostatic.inspection.plan import plan

    return _print_each(lambda overlays: plan(overlays, options.tflops), [options.overlays])


def _init(options: argparse.Namespace) -> int:
    from neurostatic.inspection.projects import init_project

    return _print_each(init_project, [options.folder])


def _export_sensorium(options: argparse.Namespace) -> int:
    from neurostatic.data.exporters import write_sensorium
    from neurostatic.store import open_arrays

    def export(store: str) -> str:
        with open_arrays(store) as dataset:
            write_sensorium(dataset, options.target)
        return f"{options.target}: written from {store}"

    return _print_each(export, [options.store])


def _print_each(work: Callable[[Any], str], paths: list[Any]) -> int:
    """Print the text of each path, or on stderr what is wrong with it; 1 if anything is, 0 otherwise."""
    from neurostatic.problems import InputError

    code = 0
    for i, path in enumerate(paths):
        try:
            text, stream = work(path), sys.stdout
        except (InputError, OSError) as error:
            text, stream, code = str(error), sys.stderr, 1
        except Exception as error:  # a fault of neurostatic: the other paths are worked on all the same
            text, stream, code = f"{path}: {_fault(error)}", sys.stderr, 1
        print(("\n" if i else "") + text, file=stream)
    return code


def _fault(error: Exception) -> str:
    """What went wrong and where, for a report."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(where.filename)}, line {where.lineno}"
    return f"neurostatic should have foreseen this; please report it ({type(error).__name__}: {error}; {place})"
