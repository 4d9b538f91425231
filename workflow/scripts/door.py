"""What every script does around its library call: log, provenance, and one clear error message."""

import errno
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The library beside this workflow is used even where it is not installed, as in an environment made by --sdm conda.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from neurostatic.problems import InputError
from neurostatic.provenance import commit, provenance, versions
from neurostatic.store import checksum

DISK = {
    errno.ENOSPC: "the disk is full: make room, then run again",
    errno.EDQUOT: "your quota is used up: make room, then run again",
    errno.EFBIG: "files may not be as large as this here (ulimit -f)",
}


class Tee:
    """Write to the log and, with the job's name before each line, to the terminal that jobs share."""

    def __init__(self, terminal, log, name: str):
        self.terminal, self.log, self.name = terminal, log, name
        self.line = ""

    def write(self, text: str) -> int:
        with suppress(OSError):  # of a full disk, which the terminal should hear of
            self.log.write(text)
        *whole, self.line = (self.line + text).split("\n")
        if whole:  # in one go: lines of two jobs do not mix
            self.terminal.write("".join(f"[{self.name}] {line}\n" if line else "\n" for line in whole))
            self.flush()
        return len(text)

    def flush(self) -> None:
        self.terminal.flush()
        with suppress(OSError):
            self.log.flush()


@contextmanager
def door(job, device: str = "cpu") -> Iterator[None]:
    """Run the body of a script: its output goes to the terminal and to the job's log, which opens with what runs.

    What the user can mend (an InputError, a full disk) ends the job with its message alone, all else with a traceback.
    """
    Path(job.log[0]).parent.mkdir(parents=True, exist_ok=True)
    with open(job.log[0], "w") as log:
        state = commit()
        print(
            f"{job.rule}: commit {state['commit']}{' (changed)' if state['dirty'] else ''}, device {device}, "
            + ", ".join(f"{name} {version}" for name, version in versions().items()),
            file=log,
        )
        name = job.log[0].removeprefix("results/logs/").removesuffix(".log")
        sys.stdout = Tee(sys.__stdout__, log, name)
        sys.stderr = Tee(sys.__stderr__, log, name)
        try:
            yield
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as error:
            told = str(error) if isinstance(error, InputError) else DISK.get(getattr(error, "errno", None))
            print(f"\n{job.rule}: {told or traceback.format_exc()}\n(log: {job.log[0]})\n", file=sys.stderr)
            sys.exit(1)
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


def origin(job, seed: int | None = None, device: str = "cpu") -> dict:
    """Provenance of what the job makes."""
    parameters = {name: value for name, value in job.params.items() if name != "code"}
    inputs = {str(path): checksum(path) for path in job.input if Path(path).is_file()}
    return provenance({"rule": job.rule, **parameters}, inputs, seed, device)
