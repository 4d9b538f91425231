"""The plan of the house: imports go down, rules have scripts, lists of dependencies agree."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import neurostatic

ROOT = Path(__file__).parents[1]
FLOORS = {
    "problems": 0, "store": 0, "config": 0, "statistics": 0, "resampling": 0, "provenance": 0,
    "data": 1, "simulation": 1, "models": 2, "fitting": 3, "stimuli": 4, "closed_loop": 5, "report": 6,
    "inspection": 6, "cli": 7,
}  # fmt: skip
FORBIDDEN = {  # beside going up
    ("simulation", "models"), ("simulation", "fitting"), ("models", "data"), ("models", "simulation"),
    ("closed_loop", "models"), ("closed_loop", "stimuli"), ("stimuli", "fitting"), ("stimuli", "models"),
}  # fmt: skip
MODULES = sorted((ROOT / "neurostatic").rglob("*.py"))


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
    return {name for name in names if name.split(".")[0] == "neurostatic"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path):
    here = path.relative_to(ROOT / "neurostatic").parts[0].removesuffix(".py")
    if here == "__init__":
        assert not imported(path)
        return
    for name in imported(path):
        there = room(name)
        if there and there != here:
            assert FLOORS[there] < FLOORS[here] or FLOORS[there] == FLOORS[here] == 0, f"{here} imports {there}"
            assert (here, there) not in FORBIDDEN, f"{here} imports {there}"


def test_wings_load_what_is_asked_for():
    """A wing's names are for its users. They are loaded when asked for, which `code_of` does not see through."""
    wings = {str(stub.parent.relative_to(ROOT)).replace("/", ".") for stub in ROOT.glob("neurostatic/*/__init__.pyi")}
    assert len(wings) == 7
    for path in [*MODULES, *(ROOT / "workflow" / "scripts").glob("*.py"), ROOT / "Snakefile"]:
        python = path.read_text() if path.suffix else path.read_text().split("wildcard_constraints")[0]
        names = {node.module for node in ast.walk(ast.parse(python)) if isinstance(node, ast.ImportFrom)}
        assert not names & wings, path
    for wing in sorted(wings):
        module = importlib.import_module(wing)
        assert module.__all__ and all(getattr(module, name) is not None for name in module.__all__)


def test_floors_name_every_room():
    rooms = {path.name.removesuffix(".py") for path in (ROOT / "neurostatic").iterdir() if path.suffix in ("", ".py")}
    assert rooms - {"__init__", "__pycache__"} == set(FLOORS)


def test_no_module_is_too_long():
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in long.items() if lines > 350} == {}


def test_every_rule_is_its_script_its_log_and_its_benchmark():
    rules = {}
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for name, body in re.findall(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", path.read_text(), re.M | re.S):
            rules[name] = body
    scripts = {path.stem for path in (ROOT / "workflow" / "scripts").glob("*.py")}
    assert set(rules) == scripts - {"door", "devices", "ensembles"}
    for name, body in rules.items():
        assert f'"results/logs/{name}' in body
        assert f'"results/benchmarks/{name}' in body
        assert f'"../scripts/{name}.py"' in body
        assert f'code("{name}")' in body
        assert "retries" not in body


def test_scripts_are_doors():
    for path in (ROOT / "workflow" / "scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 80, path.name


def test_conda_environment_equals_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {"python" + project["requires-python"], "pip", *project["dependencies"]}
    wanted = {name.replace("torch>", "pytorch>") for name in wanted}
    wanted = {name.replace("[reports]", "") for name in wanted}  # conda has one snakemake, with everything
    environment = yaml.safe_load((ROOT / "envs" / "neurostatic.yaml").read_text())
    assert set(environment["dependencies"]) == wanted


def test_container_equals_pyproject(tmp_path):
    """The step that makes the container's list of packages, run here."""
    definition = (ROOT / "envs" / "neurostatic.def").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (command,) = re.findall(r"^ +python -c '(.*)' > \S+requirements.txt$", definition, re.M)
    (copied,) = re.findall(r"^ +pyproject.toml (\S+)$", definition, re.M)
    command = command.replace(copied, str(ROOT / "pyproject.toml"))
    listed = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert listed.splitlines() == project["dependencies"]
    (version,) = re.findall(r"^From: python:3\.(\d+)", definition, re.M)
    assert int(version) >= int(project["requires-python"].removeprefix(">=3."))
    assert '\ncontainer: str(HERE / "envs/neurostatic.sif")\n' in (ROOT / "Snakefile").read_text()


def test_one_version():
    assert f"\nversion: {neurostatic.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest[1] == neurostatic.__version__


def test_what_the_snakefile_loads_is_light():
    """Each Snakemake process pays for it; on a cluster these are two a job."""
    imports = re.findall(r"^from neurostatic\S* import .+$", (ROOT / "Snakefile").read_text(), re.M)
    assert len(imports) == 4
    program = "\n".join(["import sys", *imports, "print(*sys.modules)"])
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "neurostatic.config" in loaded and not {"numpy", "pandas", "xarray", "zarr", "torch"} & set(loaded)
