"""Read a configuration: an unknown key or a wrong value is an error, and all errors are told at once."""

import contextlib
import dataclasses
import difflib
import itertools
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from neurostatic.config.networks import CNN_CORES, CORES, PUBLISHED_CORES, Network, named_networks
from neurostatic.config.sections import REPLACED_WHOLE, STIMULUS_SETS, Config, Loop, Matching, Meis, Preprocessing
from neurostatic.config.states import BEHAVIOR, EYE, parse_state
from neurostatic.problems import InputError, report_problems

SUFFIXES = ("_models", "_fit", "_diagonal", "_left_out")  # of tables that rules write beside the one of a name


def read_config(path: str | Path, overlay: dict[str, Any] | None = None) -> Config:
    """Read config.yaml, lay an overlay over it, and check everything.

    An overlay replaces single keys; of `scans`, `datasets` and `loops` it replaces the whole section.

    Raises InputError that lists every problem.
    """
    sections = read_sections(path)
    for name, content in (overlay or {}).items():
        below = sections.get(name) or {}
        blocks = name == "networks" and isinstance(below, list)
        if name in REPLACED_WHOLE or blocks or not isinstance(content, dict):
            sections[name] = content
        elif isinstance(below, dict):  # else it stays, and is reported
            sections[name] = {**below, **content}
    return check_config(sections)


def read_sections(path: str | Path) -> dict[str, Any]:
    """The sections of a config file or an overlay, unchecked.

    Raises InputError if the file cannot be read, or holds something else.
    """
    try:
        sections = yaml.safe_load(Path(path).read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a readable YAML file ({error})") from error
    if not isinstance(sections, dict):
        raise InputError(f"{path}: expected sections of keys and values, found {sections!r}")
    return sections


def check_config(sections: dict[str, Any]) -> Config:
    """Turn the sections of a config file into a Config.

    Raises InputError that lists every unknown key, wrong type, value out of range and broken reference.
    """
    problems: list[str] = []
    fields = {field.name: field.type for field in dataclasses.fields(Config)}
    _unknown(sections, fields, "", problems)
    built: dict[str, Any] = {name: {} if name in (*REPLACED_WHOLE, "networks") else None for name in fields}
    for name, kind in fields.items():
        content = {} if sections.get(name) is None else sections[name]
        if name == "networks" and isinstance(content, list):
            built[name] = _networks(content, problems)
        elif not isinstance(content, dict):
            problems.append(f"{name}: expected keys and values, found {content!r}")
        elif name == "networks":
            built[name] = _networks([content], problems)
        elif name == "scans":
            built[name] = {str(k): _convert(v, str, f"scans.{k}", problems) for k, v in content.items()}
        elif name == "datasets":
            built[name] = {str(k): _convert(v, tuple[str, ...], f"datasets.{k}", problems) for k, v in content.items()}
        elif name == "loops":
            built[name] = {str(k): _build(Loop, v, f"loops.{k}", problems) for k, v in content.items()}
        else:
            built[name] = _build(kind, content, name, problems)
    report_problems("config", problems + _contradictions(built))
    return Config(**built)


def _networks(blocks: list[Any], problems: list[str]) -> dict[str, Network]:
    """Every combination of the listed values of each block; a network that several blocks make is one."""
    networks = []
    if not blocks:
        problems.append("networks: is empty, at least one network is needed")
    for i, block in enumerate(blocks):
        where = "networks" if len(blocks) == 1 else f"networks[{i}]"
        if not isinstance(block, dict):
            problems.append(f"{where}: expected keys and values, found {block!r}")
            continue
        listed = {name: value if isinstance(value, list) else [value] for name, value in block.items()}
        listed.setdefault("core", list(PUBLISHED_CORES))
        problems += [f"{where}.{name}: is empty, at least one value is needed" for name, v in listed.items() if not v]
        for values in itertools.product(*listed.values()):
            found: list[str] = []
            networks.append(_build(Network, dict(zip(listed, values, strict=True)), where, found))
            problems += [problem for problem in found if problem not in problems]
    return named_networks(networks) if all(networks) else {}


def _build(kind: Any, content: object, where: str, problems: list[str]) -> Any:
    """A dataclass from a mapping, noting every problem; None if there is one."""
    n_problems = len(problems)
    if not isinstance(content, dict):
        problems.append(f"{where}: expected keys and values, found {content!r}")
        return None
    fields = {field.name: field for field in dataclasses.fields(kind)}
    _unknown(content, fields, f"{where}.", problems)
    values = {}
    for name, field in fields.items():
        if name in content:
            values[name] = _convert(content[name], field.type, f"{where}.{name}", problems, field.metadata)
        elif field.default is dataclasses.MISSING:
            problems.append(f"{where}.{name}: is missing")
    return kind(**values) if len(problems) == n_problems else None


def _convert(value: Any, kind: Any, where: str, problems: list[str], allowed: Mapping[str, Any] | None = None) -> Any:
    """A value of the wanted type and range, noting a problem otherwise."""
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        values = value if isinstance(value, (list, tuple)) else [value]
        if not values and not (allowed or {}).get("empty"):
            problems.append(f"{where}: is empty, at least one value is needed")
        return tuple(_convert(item, element, where, problems, allowed) for item in values)
    if get_origin(kind) is dict:
        if not isinstance(value, dict) or not value:
            problems.append(f"{where}: expected names and values, as in {{name: value}}, found {value!r}")
            return {}
        element = get_args(kind)[1]
        return {str(k): _convert(item, element, f"{where}.{k}", problems, allowed) for k, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is float and isinstance(value, str):  # YAML reads 1e-6 as text
        with contextlib.suppress(ValueError):
            value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        problems.append(f"{where}: expected {kind.__name__}, found {value!r}")
        return value
    allowed = allowed or {}
    if value != value:
        problems.append(f"{where}: is not a number")
        return value
    if allowed.get("choices") and value not in allowed["choices"]:
        problems.append(f"{where}: {value!r} is not one of {', '.join(map(str, allowed['choices']))}")
    if allowed.get("low") is not None and not value >= allowed["low"]:
        problems.append(f"{where}: {value} is below the least allowed value {allowed['low']}")
    if allowed.get("high") is not None and not value <= allowed["high"]:
        problems.append(f"{where}: {value} is above the largest allowed value {allowed['high']}")
    return value


def _unknown(content: dict[str, Any], known: Collection[str], prefix: str, problems: list[str]) -> None:
    for name in content:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
            problems.append(f"{prefix}{name}: unknown key; {hint}")


def _contradictions(built: dict[str, Any]) -> list[str]:
    """Names that lead nowhere, and values that do not go together; a part that is itself wrong (None) is passed by."""
    problems = []
    scans, datasets = built["scans"], built["datasets"]
    loops = {name: loop for name, loop in built["loops"].items() if loop}
    if not datasets:
        problems.append("datasets: is empty, at least one data set is needed")
    for name in [*scans, *datasets, *built["loops"]]:
        if not re.fullmatch("[A-Za-z0-9_-]+", name):
            problems.append(f"name {name!r}: only letters, digits, '-' and '_' are allowed (it becomes a file name)")
        if name.endswith(SUFFIXES):
            problems.append(f"name {name!r}: may not end in {', '.join(SUFFIXES)} (results have such names)")
    named = [(f"datasets.{name}", members) for name, members in datasets.items()]
    named += [(f"loops.{name}.targets", loop.targets) for name, loop in loops.items()]
    named += [(f"loops.{name}.oracle", loop.oracle) for name, loop in loops.items()]
    for where, names in named:
        problems += [f"{where}: scan '{s}' is not in scans" for s in names if isinstance(s, str) and s not in scans]
    for name, loop in loops.items():
        if loop.dataset not in datasets:
            problems.append(f"loops.{name}.dataset: '{loop.dataset}' is not in datasets")
        elif loop.source not in datasets[loop.dataset]:
            problems.append(f"loops.{name}.source: '{loop.source}' is not a scan of data set '{loop.dataset}'")
    mouse = built["simulation"]
    if mouse and mouse.n_repeated > mouse.n_images:
        problems.append(f"simulation.n_repeated: {mouse.n_repeated} is more than simulation.n_images, {mouse.n_images}")
    problems += _unknown_states(built["meis"]) if built["meis"] else []
    problems += _unfit_sets(built, loops)
    problems += _unfit_filters(built["matching"]) if built["matching"] else []
    seeds = built["training"].seeds if built["training"] else ()
    problems += [f"training.seeds: {seed} is there twice" for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1]
    return problems + _unfit_networks(list(built["networks"].values()), built["preprocessing"])


def _unfit_sets(built: dict[str, Any], loops: dict[str, Loop]) -> list[str]:
    """Stimulus sets that are shown but not made, or whose parts are not made."""
    problems, stimuli, natural = [], built["stimuli"], built["natural"]
    targets = [scan for loop in loops.values() for scan in loop.targets]
    problems += [f"loops: scan '{s}' is a target twice" for s in dict.fromkeys(targets) if targets.count(s) > 1]
    for name, loop in loops.items():
        both = [scan for scan in loop.oracle if scan in targets or loop.oracle.count(scan) > 1]
        problems += [f"loops.{name}.oracle: scan '{s}' is a target, or is there twice" for s in dict.fromkeys(both)]
        twice = [scan for scan, kinds in loop.targets.items() if len(set(kinds)) < len(kinds)]
        problems += [f"loops.{name}.targets.{scan}: a stimulus set is there twice" for scan in twice]
        if loop.source in loop.later:
            problems.append(f"loops.{name}: '{loop.source}' is the source and a later scan as well")
    if stimuli:
        made, shifts = stimuli.sets, stimuli.shifts_px
        for name, loop in loops.items():
            problems += [
                f"loops.{name}.targets.{scan}: {kind} is not among stimuli.sets ({', '.join(made)})"
                for scan, kinds in loop.targets.items()
                for kind in kinds
                if kind in STIMULUS_SETS and kind not in made
            ]
            shared = {"mei_vs_rf", "mei_vs_gabor"}  # both show the MEIs of multi_cnn_mei, shifted ones under other ids
            problems += [
                f"loops.{name}.targets.{scan}: mei_vs_rf with stimuli.shifts_px and mei_vs_gabor give one name to two "
                "images; show them in two scans"
                for scan, kinds in loop.targets.items()
                if len(shifts) > 1 and shared <= set(kinds)
            ]
        if stimuli.target not in made:
            problems.append(f"stimuli.target: {stimuli.target} is not among stimuli.sets ({', '.join(made)})")
        if 0 not in shifts or len(set(shifts)) < len(shifts):
            problems.append(f"stimuli.shifts_px: {list(shifts)}: different numbers, 0 among them, are needed")
    if natural and not natural.images:
        problems.append("natural.images: is empty; it is scan or a folder")
    if natural and len(set(natural.kinds)) < len(natural.kinds):
        problems.append("natural.kinds: a kind is there twice")
    if natural and stimuli and "mei_vs_natural" in stimuli.sets and "tight" not in natural.kinds:
        problems.append("natural.kinds: the stimulus set mei_vs_natural needs tight; or leave it out of stimuli.sets")
    return problems


def _unfit_filters(matching: Matching) -> list[str]:
    problems = []
    if matching.one_to_one and not 0 < matching.max_distance_um < math.inf:
        problems.append(
            "matching.one_to_one: needs a finite matching.max_distance_um above 0, beyond which a cell is lost"
        )
    if matching.one_to_one and matching.method == "structure":
        problems.append("matching.one_to_one: is for the method proximity only")
    return problems


def _unknown_states(meis: Meis) -> list[str]:
    problems = []
    for name, states, channels in (("eye", meis.eye, EYE), ("behavior", meis.behavior, BEHAVIOR)):
        problems += [f"meis.{name}: {s!r} is there twice" for s in dict.fromkeys(states) if states.count(s) > 1]
        for state in states:
            try:
                parse_state(state, channels)
            except ValueError as error:
                problems.append(f"meis.{name}: {error}")
    return problems


def _unfit_networks(networks: list[Network], images: Preprocessing | None) -> list[str]:
    problems = []
    found = {network.model_type: None for network in networks}
    if networks and len(found) < 2:
        linear = [core for core in CORES if core not in CNN_CORES]
        problems.append(
            f"networks.core: a CNN ({', '.join(CNN_CORES)}) and a linear model ({', '.join(linear)}) are both needed, "
            f"for MEIs and RFs; found only {', '.join(dict.fromkeys(network.core for network in networks))}"
        )
    for kern in sorted({network.hidden_kern for network in networks if network.layers > 1}):
        if kern % 2 == 0:
            problems.append(f"networks.hidden_kern: {kern} is even; only odd kernels keep the size of the maps")
    for network in networks:
        if network.depth and network.input_kern < 3 - 2 * network.smoothness_padding:
            problems.append(f"networks.input_kern: {network.core} needs at least 3 px, found {network.input_kern}")
    if images:
        size = (images.height_px, images.width_px)
        for kern in sorted({network.input_kern for network in networks if network.core != "Identity"}):
            if kern > min(size):
                problems.append(f"networks.input_kern: {kern} px is larger than the images ({size[0]} x {size[1]} px)")
        for network in networks:
            maps = network.map_size(*size)
            if network.readout == "SpatialTransformerPooled2d" and 0 < min(maps) < 2**network.pool_steps:
                problems.append(
                    f"networks.pool_steps: maps of {maps[0]} x {maps[1]} px cannot be halved {network.pool_steps} times"
                )
    return list(dict.fromkeys(problems))
