"""The methods of a run in words, from the parameters stored with its results; versions and files."""

import math
import os
from dataclasses import asdict
from typing import Any

from neurostatic.config import DataConfig
from neurostatic.config.networks import PARTS, Network
from neurostatic.report.markup import Link, count, folded, paragraph, section, table
from neurostatic.report.results import DatasetResult, LoopResult, Results, ScanResult, StimulusResult
from neurostatic.report.style import CONTROL_NAMES, MEI_NAMES

PAPER = (
    "The method is that of Walker et al. (2019), Inception loops discover what excites neurons most using deep "
    "predictive models, Nature Neuroscience 22, 2060-2065."
)

ALL_UNITS = {
    "brain area all": "every known brain area",
    "brain area all+unknown": "every brain area, known or not",
    "layer all": "every layer",
}
BEST_MODELS = {
    "best_model": "the one of the highest validation correlation",
    "best_model_new": "the best seed of the network whose seeds have the highest mean validation correlation",
}
INTERPOLATIONS = {
    "pchip": "monotone interpolation of the measured levels",
    "cubic": "cubic splines through the measured levels",
}
EYES = {"none": "the eye straight ahead", "mean": "the eye at its mean position", "numbers": "the eye at (px)"}
BEHAVIORS = {
    "none": "a gain of one",
    "mean": "mean behavior",
    "numbers": "the behavior (pupil radius, its change, treadmill)",
}
PUBLISHED = (
    "Published optimizer: {iterations} steps of gradient ascent; step {start_step:g} to {end_step:g} times "
    "{step_gain:g}; blur after each step: {blur_words}; {jitter_words}gradient low-passed with exponent "
    "{precondition:g}; contrast {contrast_words}."
)
PROJECTED = (
    "Projected optimizer: gradient ascent on images of at most {contrast_px:g} px contrast (standard deviation) within "
    "0-255, at most {max_evaluations} evaluations of the model, or until the response grows by less than "
    "{tolerance:g} of itself a step; gradient low-passed with exponent {precondition:g}."
)
NATURAL_KINDS = {
    "unmasked": "as it is",
    "gaussian": "behind the Gaussian envelope of the MEI",
    "tight": "behind the tight mask of the MEI, all images matched to one mean and contrast under it",
}
MATCHING_METHODS = {
    "proximity": "to the nearest soma in every shared structural stack, and by vote of the stacks; {shared}. The "
    "posterior of a match weighs displacements of cells found again (Gaussian, about the common shift of the two "
    "scans) against those of cells that are near by chance",
    "structure": "to the soma that was registered to the same structural cell in the most shared stacks; {shared}",
}
# Limit of a match: what goes beyond it, its unit, and the value that leaves out nothing
LIMITS = (
    ("max_distance_um", "is farther than", " µm", math.inf),
    ("min_vote_fraction", "has a fraction of the votes below", "", 0.0),
    ("min_posterior", "has a posterior below", "", 0.0),
)


def methods_section(results: Results) -> str:
    """How everything was computed, as it was set in this run."""
    texts = [
        *_grouped({name: _recording(scan) for name, scan in results.scans.items()}),
        *_grouped({name: _modeling(dataset) for name, dataset in results.datasets.items()}),
        *_grouped({name: _images(dataset) for name, dataset in results.datasets.items()}),
        *_grouped({name: _controls(dataset, results.scans) for name, dataset in results.datasets.items()}),
        *_grouped(
            {name: _stimuli(data.stimuli, data.configs) for name, data in results.datasets.items() if data.stimuli}
        ),
        *_grouped({name: _closed_loop(loop) for name, loop in results.loops.items()}),
    ]
    return section("methods", "Methods", *[paragraph(text) for text in (*texts, PAPER)])


def _grouped(texts: dict[str, str]) -> list[str]:
    """Each text once, after the names it holds for."""
    return [
        f"{', '.join(name for name, other in texts.items() if other == text)}: {text}"
        for text in dict.fromkeys(texts.values())
    ]


def _recording(scan: ScanResult) -> str:
    of = scan.attributes
    if "filter_taps" in of:
        half_s = (of["support_stop_s"] - of["support_start_s"]) / 2
        text = (
            f"deconvolved traces (one value every {of['sampling_period_s'] * 1000:.1f} ms) were low-pass filtered with "
            f"a Hamming window of {of['filter_taps']} samples ({half_s:.2f} s to each side) and sampled "
            f"{of['offset_s'] + of['duration_s'] / 2:g} s after image onset, with each unit's own scan delay, so that "
            f"a response depends on the trace from {of['support_start_s']:.2f} to {of['support_stop_s']:.2f} s. Pupil "
            "and treadmill were sampled at the same instant. "
        )
    else:
        text = "responses and behavior were taken as given, one value a trial. "
    light = ", in cd/m² by the monitor calibration nearest in time" if of.get("luminance") else ""
    text += f"Images were reduced to {of['height_px']} x {of['width_px']} px by area averaging{light}. "
    if "validation_fraction" in of and of["stim_type"] == "imagenet":
        often = (
            "more often than the median image" if of["tier_rule"] == "2019" else f"at least {of['min_repeats']} times"
        )
        about = "about " if of["validation_split"] == "threshold" else ""
        text += (
            f"Images shown {often} are the test tier; {about}{100 * of['validation_fraction']:g} % of the others, "
            f"drawn with seed {of['tier_seed']}, the validation tier; the rest the training tier."
        )
    return text.strip()


def _modeling(dataset: DatasetResult) -> str:
    units, selection = (dataset.configs["select_units"][name] for name in ("data_config", "selection"))
    training = dataset.configs["train_model"]["training"]
    area, layer = (f"{what.replace('_', ' ')} {units[what]}" for what in ("brain_area", "layer"))
    area, layer = ALL_UNITS.get(area, area), ALL_UNITS.get(layer, layer)
    rates = " then ".join(f"{rate:g}" for rate in training["learning_rates"])
    seeds = ", ".join(map(str, dataset.seeds))
    return (
        f"models of units of {area} and {layer}{_unusual(units)}. {_networks(list(dataset.networks.values()))}. "
        f"Each was trained with Poisson loss and Adam (batches of {training['batch_size']}, learning rate {rates}, "
        f"each until {training['patience']} epochs brought no better validation correlation, at most "
        f"{training['max_epochs']} epochs in all), once for each seed ({seeds}). Of the CNNs and of the linear models "
        f"the best was {BEST_MODELS[selection['best_model']]}. Units were selected from the top "
        f"{100 * selection['top_fraction']:g} % by oracle, more than {selection['edge_um']:g} µm inside their field, "
        f"above percentile {selection['percentile']:g} of the fraction of the oracle for both models, in the order of "
        f"the difference of these fractions, none closer than {selection['distance_um']:g} µm to one chosen before."
    )


def _unusual(config: dict[str, Any]) -> str:
    """Settings of the data that are not the published ones, as the configuration writes them."""
    published = asdict(DataConfig())
    changed = [
        f"{name} {_plain(value)}"
        for name, value in config.items()
        if name not in ("brain_area", "layer") and _plain(value) != _plain(published[name])
    ]
    return f" (data_config: {', '.join(changed)})" if changed else ""


def _networks(networks: list[Network]) -> str:
    """What networks are built of, part by part, each kind of a part with the settings that matter to it."""
    n_linear = sum(network.model_type == "linear" for network in networks)
    counts = [count(len(networks) - n_linear, "CNN"), count(n_linear, "linear model")]
    parts = []
    for part, kinds in PARTS.items():
        found: dict[str, list[Network]] = {}
        for network in networks:
            found.setdefault(getattr(network, part), []).append(network)
        words = [_kind(kind, kinds[kind], alike) for kind, alike in found.items()]
        parts.append(f"no {part}" if words == ["none"] else f"{part} {_or(words)}")
    nonlinearity = _or([network.nonlinearity for network in networks])
    return f"{' and '.join(counts)}: {'; '.join(parts)}; output nonlinearity {nonlinearity}"


def _kind(kind: str, settings: tuple[str, ...], networks: list[Network]) -> str:
    values = [f"{name} {_or([_plain(getattr(network, name)) for network in networks])}" for name in settings]
    return f"{kind} ({', '.join(values)})" if values else kind


def _plain(value: object) -> str:
    """A setting as the configuration writes it."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _or(words: list[str]) -> str:
    """Each word once: 'a', 'a or b', 'a, b or c'."""
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last


def _images(dataset: DatasetResult) -> str:
    meis, masks = dataset.configs["join_meis"]["meis"], dataset.configs["make_masks"]["masks"]
    search = PUBLISHED if meis["optimizer"] == "published" else PROJECTED
    contrast = f"limited to a standard deviation of {meis['norm_px']:g} px" if meis["norm_px"] > 0 else "not limited"
    blur = f"from {meis['start_sigma_px']:g} to {meis['end_sigma_px']:g} px" if meis["blur"] else "none"
    jitter = f"each step on an image rolled at random by up to {meis['jitter_px']} px; " if meis["jitter_px"] else ""
    starts = (
        f"each from {meis['starts']} noise images, of which the best counts" if meis["starts"] > 1 else "from noise"
    )
    alone = ", and MEIs by each seed alone" if meis["each_seed"] else ""
    eye, behavior = (_states(meis[name], words) for name, words in (("eye", EYES), ("behavior", BEHAVIORS)))
    return (
        f"MEIs (CNN) and RFs (linear model) are the images that drive the mean response of all seeds of the best "
        f"network most{alone}, {starts} (seed {meis['seed']}), with {eye} and {behavior}. "
        f"{search.format(**meis, blur_words=blur, jitter_words=jitter, contrast_words=contrast)} Tight masks: convex "
        f"hull of the pixels whose absolute deviation from the mean exceeds {masks['deviation_factor']:g} SD of it, "
        f"blurred by {masks['blur_sigma_px']:g} px, eroded until the response falls to {masks['target_ratio']:g} of "
        "that to the first masked image."
    )


def _states(states: list[str], words: dict[str, str]) -> str:
    """The state of the mouse that an image is made for, and the others for which there is one beside it."""
    first, *others = [words.get(state, f"{words['numbers']} {state}") for state in states]
    return f"{first} (beside it, with {_or(others)})" if others else first


def _controls(dataset: DatasetResult, scans: dict[str, ScanResult]) -> str:
    """What MEIs are compared with, but for RFs: how natural images and Gabors were found."""
    found = dataset.configs["find_natural"]
    n_images = ", ".join(str(scans[scan].n_images) for scan in dataset.scans)
    source = (
        f"the pictures in {found['folder']}" if found["folder"] else f"the {n_images} images of the unit's own scan"
    )
    kinds = "; ".join(NATURAL_KINDS[kind] for kind in found["kinds"])
    text = f"the best natural image of a unit is, of {source}, the one that the CNN answers most: {kinds}."
    if dataset.gabors is None:
        return text
    search, *ranges = dataset.configs["search_gabors"]["gabors"].values()
    candidates = (
        f"of {math.prod(map(len, ranges)):,} candidates that differ in phase, wavelength, orientation, size and place"
        if search == "grid"
        else "found by simulated annealing and Nelder-Mead over phase, wavelength, orientation, size and place"
    )
    mean, contrast = dataset.configs["search_gabors"]["target_cd_m2"]
    return (
        f"{text} The best Gabor is the one that the CNN answers most, {candidates}, each at the mean of {mean:g} cd/m² "
        f"and the contrast of {contrast:g} cd/m² of the stimuli."
    )


def _stimuli(stimuli: StimulusResult, configs: dict[str, dict[str, Any]]) -> str:
    made = configs["make_stimuli"]
    options = made["stimuli"]
    shifts = ", ".join(str(shift) for shift in options["shifts_px"])
    sets = "; ".join(f"{MEI_NAMES[kind]} against {CONTROL_NAMES[kind]}" for kind in stimuli.manifests)
    shifted = ""
    if "mei_vs_rf" in stimuli.manifests and any(options["shifts_px"]):
        shifted = f" Images of the set of RFs were shifted by {shifts} px of the model along each axis."
    return (
        f"stimulus sets: {sets}. Images were enlarged {options['zoom']:g} times, matched to a mean of "
        f"{options['mean_cd_m2']:g} cd/m² and a contrast of {options['contrast_cd_m2']:g} cd/m² (standard deviation), "
        f"converted to pixel values by {INTERPOLATIONS[made['interpolation']]}, rounded to 8 bits, "
        f"and checked to lie within 5 % of both; at most {options['max_units']} units a set.{shifted}"
    )


def _closed_loop(loop: LoopResult) -> str:
    """How cells were matched, and how responses to the images were compared."""
    matching = loop.configs["match_cells"]["matching"]
    options = loop.configs["summarize_confusion"]["statistics"]
    shared = "each cell matches one unit at most" if matching["one_to_one"] else "several units may share a cell"
    method = MATCHING_METHODS[matching["method"]].format(shared=shared)
    limits = [
        f"{words} {matching[name]:g}{unit}"
        for name, words, unit, off in LIMITS
        if matching[name] != off and (name, matching["method"]) != ("min_posterior", "structure")  # it has none
    ]
    lost = f"A unit whose match {_or(limits)} is lost" if limits else "No match was left out, however doubtful"
    oracle = ""
    if loop.oracle is not None:
        oracle = " Matched cells were compared by their mean responses to natural images repeated on both days."
    return (
        f"cells were matched {method}. {lost}.{oracle} Responses to images without a shift were averaged over "
        "trials and pooled over scans, every trial with the same weight. Do cells prefer their own images: permutation "
        "tests of the trace of the confusion matrix and of the number of cells whose best image is their own, "
        f"{options['n_permutations']} permutations (seed {options['seed']}). MEIs against controls: Wilcoxon's "
        "signed-rank test over cells with the rank-biserial correlation; Welch's t test for each cell, q values after "
        "Benjamini and Hochberg (1995). 95 % intervals: of means and ratios by the bootstrap over cells (over animals "
        f"where there are several), {options['n_resamples']} resamples with quantiles of t; of fractions after "
        "Clopper and Pearson (of several animals Korn and Graubard 1998); of single cells after Welch."
    )


def origin_section(results: Results, folder: str) -> str:
    """Code, versions, and every result file with its checksum; `folder` is where the page will lie."""
    made, everything = results.provenance, [*results.sources.values(), results.provenance]
    commits = ", ".join(dict.fromkeys(_commit(provenance) for provenance in everything))
    versions = {"neurostatic": dict.fromkeys(provenance["neurostatic"] for provenance in everything)}
    for package in made["versions"]:
        versions[package] = dict.fromkeys(provenance["versions"].get(package, "unknown") for provenance in everything)
    files = [
        [
            Link(os.path.relpath(path, folder).replace(os.sep, "/")),
            provenance["config"]["rule"],
            _commit(provenance),
            provenance["device"],
            made["inputs"].get(path, "")[:12],
        ]
        for path, provenance in results.sources.items()
    ]
    columns = ["file", "made by", "commit", "device", "SHA-256 (first 12)"]
    caption = "Each holds its full provenance: in its attributes, or for a table in the .json file beside it."
    return section(
        "origin",
        "Versions and files",
        paragraph(f"Code: commit {commits}. A commit marked as changed had changes that were not committed."),
        table(["package", "version"], [[name, ", ".join(found)] for name, found in versions.items()], "Versions.", ""),
        folded(f"The {count(len(files), 'file')} this page was made from", table(columns, files, "Results.", caption)),
    )


def _commit(provenance: dict[str, Any]) -> str:
    return provenance["commit"][:12] + (" (changed)" if provenance["dirty"] else "")
