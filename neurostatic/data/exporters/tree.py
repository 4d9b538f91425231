"""A file tree of arrays that is written whole or not at all, as a folder or as a zip file."""

import io
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from neurostatic.store import written_whole

COMPRESSION = 1  # responses are noise, which hardly compresses, however long one tries

Put = Callable[[str, bytes], None]  # name below the root of the tree, content


def written_tree(path: Path) -> AbstractContextManager[Put]:
    """Give a function that adds a file to the tree; rename the tree to `path` if the block succeeds, else remove it.

    A path that ends in .zip is a zip file, in which the tree is below the file's name.
    """
    return _zip_file(path) if path.suffix.lower() == ".zip" else _folder(path)


def npy(array: np.ndarray) -> bytes:
    """An array as the content of a .npy file."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


@contextmanager
def _folder(path: Path) -> Iterator[Put]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)

    def put(name: str, content: bytes) -> None:
        file = temporary / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    try:
        yield put
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _zip_file(path: Path) -> Iterator[Put]:
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:

        def put(name: str, content: bytes) -> None:
            # The public loader unpacks a.zip beside it and expects a/. Without a time stamp, equal data sets make
            # equal files.
            entry = zipfile.ZipInfo(f"{path.stem}/{name}")
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, COMPRESSION)

        yield put
