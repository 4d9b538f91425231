"""Arrays in a folder or in a zip file, read by name without unpacking."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from neurostatic.data.scans.tables import one_line, without_header_warning
from neurostatic.problems import InputError, report_problems
from neurostatic.store import checksum

BOMB_RATIO, BOMB_BYTES = 200, 2**26  # an array of zeros of one trial is smaller, and no recording packs as well

Files = dict[str, Callable[[], bytes]]  # name below the root -> its content


@contextmanager
def open_tree(path: Path, root_mark: str) -> Iterator[Files]:
    """The .npy files of a tree by their names below its root, the folder that holds `root_mark`.

    Raises InputError for a path that is no folder or zip file, holds no or several trees, or has members that escape or
    explode.
    """
    if path.is_dir():
        names = {p.relative_to(path).as_posix(): p for p in path.rglob("*.npy")}
        yield _below_root({name: p.read_bytes for name, p in names.items()}, path, root_mark)
        return
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # not only BadZipFile, if its directory is damaged
        raise InputError(f"{path}: neither a folder nor a readable zip file ({error})") from error
    with archive:
        members = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
        escaping = [name for name in members if _escapes(name)]
        report_problems(str(path), [f"member {name!r} points out of the archive" for name in escaping])
        arrays = [name for name in members if name.endswith(".npy")]
        bombs = [info for info in map(archive.getinfo, arrays) if _explodes(info)]
        report_problems(
            str(path), [f"member {info.filename!r} would unpack to {info.file_size / 1e9:.3g} GB" for info in bombs]
        )
        yield _below_root({name: partial(archive.read, name) for name in arrays}, path, root_mark)


def _escapes(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return ".." in parts or name.startswith(("/", "\\")) or bool(parts and ":" in parts[0])


def _explodes(member: zipfile.ZipInfo) -> bool:
    return member.file_size > BOMB_BYTES + BOMB_RATIO * member.compress_size


def _below_root(files: Files, path: Path, root_mark: str) -> Files:
    roots = sorted(name.removesuffix(root_mark) for name in files if f"/{name}".endswith(f"/{root_mark}"))
    if len(roots) != 1:
        found = ", ".join(root or "." for root in roots) or "none"
        raise InputError(f"{path}: one tree with {root_mark} is needed, found {found}")
    return {name.removeprefix(roots[0]): read for name, read in files.items() if name.startswith(roots[0])}


def load(files: Files, name: str) -> np.ndarray:
    """An array of the tree, in this computer's byte order; raises ValueError with the reason if there is none."""
    if name not in files:
        raise ValueError("is missing")
    try:
        content = io.BytesIO(files[name]())
        with without_header_warning():
            array = np.load(content, allow_pickle=False)
    except Exception as error:  # a damaged file makes numpy and zipfile raise many things
        raise ValueError(f"is not a readable .npy array ({one_line(error)})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError("is an archive of arrays, one .npy array is needed")
    if content.read():
        raise ValueError(f"has more bytes than its shape {array.shape} needs")
    if array.dtype.kind == "U" and not _is_text(array):
        raise ValueError("holds what is no text")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _is_text(array: np.ndarray) -> bool:
    try:
        return "".join(array.ravel().tolist()).isprintable()
    except SystemError:  # of Python, where a number stands for no letter
        return False


class Faults:
    """Collects faults of per-trial files, so that each kind is one line and not one per trial."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str], list[str]] = {}

    def add(self, folder: str, file: str, fault: str) -> None:
        """What is wrong with a file of data/{folder}."""
        self._files.setdefault((folder, fault), []).append(file)

    def lines(self) -> list[str]:
        """A line for each folder and kind of fault."""
        return [
            f"data/{folder}: {files[0]} {fault}" + (f" ({len(files)} such files)" if len(files) > 1 else "")
            for (folder, fault), files in self._files.items()
        ]


def tree_checksum(folder: Path) -> str:
    """SHA-256 over the names and checksums of all .npy files of a folder, in order of name."""
    lines = [f"{checksum(p)}  {p.relative_to(folder).as_posix()}\n" for p in sorted(folder.rglob("*.npy"))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
