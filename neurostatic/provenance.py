"""Where a result comes from: commit, versions, device, inputs, and a hash of the code it rests on."""

import hashlib
import json
import platform
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from types import CodeType
from typing import Any

import neurostatic

PACKAGES = ("torch", "numpy", "xarray", "zarr", "scipy", "pandas", "scikit-image", "numba", "snakemake")
DECLARATIONS = "neurostatic.config"  # of settings; what works with them, as config.networks, is imported by itself
IMPORT = re.compile(r"^ *(?:from (neurostatic[\w.]*) import ([\w, ]+|\([^)]*\))|import (neurostatic[\w.]*))", re.M)


def provenance(config: dict[str, Any], inputs: dict[str, str], seed: int | None, device: str) -> dict[str, Any]:
    """What is written into every array, table and model.

    Args:
        config: the parameters that the result depends on.
        inputs: path -> SHA-256 of each input file.
        seed: of the random numbers, None if there are none.
        device: what computed it.
    """
    return {
        "neurostatic": neurostatic.__version__,
        **commit(),
        "config": config,
        "config_sha256": hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest(),
        "inputs": inputs,
        "versions": versions(),
        "device": device,
        "seed": seed,
        "command": " ".join(sys.argv),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


@cache
def commit() -> dict[str, str | bool]:
    """Commit of the code, and whether it has changes that are not committed; "unknown" outside a repository.

    Of the code alone: a project folder or an overlay in the clone changes nothing of what ran.
    """
    folder = Path(neurostatic.__file__).parent
    code = (".", "../workflow", "../Snakefile")

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--", *code).strip()
        return {"commit": git("rev-parse", "HEAD").strip(), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": False}


def code_of(script: str | Path) -> str:
    """Hash of all modules of this package that a script rests on, as compiled: without comments and docstrings.

    Snakemake watches a script but not what it imports; this hash, given as a param, makes it watch that too. Settings
    reach a job as params, and what declares them does not count: a new setting runs only what has it again.
    """
    found: dict[str, Path] = {}
    waiting = list(_imports(Path(script).read_text()).items())
    while waiting:
        module, file = waiting.pop()
        if module not in found:
            found[module] = file
            waiting += _imports_of(file).items()
    digest = hashlib.sha256()
    for module in sorted(found):
        digest.update(f"{module} {_compiled(found[module])}\n".encode())
    for folder in sorted({file.parent for file in found.values()}):
        for file in sorted(folder.iterdir()):  # what a module reads beside it, such as the report's template
            if file.is_file() and file.suffix not in (".py", ".pyi"):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _imports(source: str) -> dict[str, Path]:
    """Modules of this package that a module imports (the house imports by full names only), and their files."""
    names = set()
    for package, imported, module in IMPORT.findall(source):
        names |= {module or package} | {f"{package}.{name}" for name in re.findall(r"\w+", imported)}
    return {name: file for name in names if name != DECLARATIONS and (file := _file(name))}


@cache
def _imports_of(file: Path) -> dict[str, Path]:
    return _imports(file.read_text())


@cache
def _file(module: str) -> Path | None:
    """File of a module of this package, found without importing anything."""
    first, *rest = module.split(".")
    if first != "neurostatic":
        return None
    path = Path(neurostatic.__file__).parent.joinpath(*rest)
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


@cache
def _compiled(file: Path) -> str:
    """Hash of a module's byte code; compiling is five times faster than reading its syntax into Python."""
    code = compile(file.read_text(), file, "exec", dont_inherit=True, optimize=2)
    return hashlib.sha256(repr(_plain(code)).encode()).hexdigest()


def _plain(constant: object) -> object:
    """A constant of byte code without line numbers, and with sets in order."""
    if isinstance(constant, CodeType):
        names = (constant.co_names, constant.co_varnames, constant.co_freevars, constant.co_cellvars)
        arguments = (constant.co_argcount, constant.co_posonlyargcount, constant.co_kwonlyargcount, constant.co_flags)
        consts = [_plain(value) for value in constant.co_consts]
        return (constant.co_code, constant.co_exceptiontable, names, arguments, consts)
    if isinstance(constant, frozenset):
        return sorted(map(repr, map(_plain, constant)))
    return tuple(map(_plain, constant)) if isinstance(constant, tuple) else constant
