"""A small valid raw scan export for tests: two fields at two depths, two areas, repeated and single images."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

BLANK_S, SHOWN_S = 0.4, 0.5
CLOCK_OFFSET_S = 1000.5  # the behavior clock is ahead of the stimulus clock


def make_export(
    folder: Path,
    form: str = "traces",
    n_single: int = 24,
    n_repeated: int = 3,
    repeats: int = 4,
    n_units: int = 6,
    volume_s: float = 0.125,
    height_px: int = 36,
    width_px: int = 64,
    stim_type: str = "imagenet",
    image_class: str = "imagenet",
    area_columns: bool = False,
    optional_files: bool = True,
    registered: bool = False,
    seed: int = 0,
) -> Path:
    """Write a raw scan export; the last unit is an axon, trial 5 is excluded.

    Args:
        form: 'traces' or 'responses'.
        n_single, n_repeated, repeats: images shown once, images shown `repeats` times.
        area_columns: areas and layers in units.csv, and no area_masks.npz.
        optional_files: write stack_coordinates.csv, structure_matches.csv and monitor_calibration.csv.
        registered: write field_registrations.csv instead of stack_coordinates.csv; the positions are the same.
    """
    rng = np.random.default_rng(seed)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    info = {"animal_id": 17, "session": 2, "scan_idx": 3, "stim_type": stim_type, "loop_group": 1, "day": 1,
            "mei_source": 1, "timestamp": "2019-03-11T14:00:00"}  # fmt: skip
    (folder / "scan.yaml").write_text(yaml.safe_dump(info))

    fields = pd.DataFrame({"field": [1, 2], "z_um": [200.0, 420.0], "px_height": 20, "px_width": 30,
                           "um_height": 200.0, "um_width": 300.0})  # fmt: skip
    fields.to_csv(folder / "fields.csv", index=False)
    units = pd.DataFrame({"unit_id": np.arange(n_units)[::-1] + 100, "field": np.arange(n_units) % 2 + 1})
    units["mask_type"] = ["soma"] * (n_units - 1) + ["axon"]
    units["ms_delay"] = rng.uniform(0, 1000 * volume_s, n_units).round(1)
    units["px_x"] = rng.uniform(0, 29, n_units).round(2)
    units["px_y"] = rng.uniform(0, 19, n_units).round(2)
    units["um_x"], units["um_y"], units["um_z"] = 10 * units.px_x, 10 * units.px_y, 200.0
    if area_columns:
        units["brain_area"], units["layer"] = "V1", ["L2/3", "L4"] * (n_units // 2)
    else:
        label = np.zeros((20, 30), np.uint8)
        label[2:, :15], label[2:, 15:] = 1, 2
        np.savez(folder / "area_masks.npz", field_1=label, field_2=label, area_names=np.array(["V1", "LM"]))
    units.to_csv(folder / "units.csv", index=False)

    n_images = n_single + n_repeated
    images = pd.DataFrame({"image_class": image_class, "image_id": np.arange(n_images) + 1})
    images.to_csv(folder / "images.csv", index=False)
    np.save(folder / "images.npy", rng.integers(0, 256, (n_images, height_px, width_px), dtype=np.uint8))

    shown = rng.permutation(np.repeat(np.arange(n_images), [repeats] * n_repeated + [1] * n_single))
    trials = images.iloc[shown].reset_index(drop=True)
    trials.insert(0, "trial_idx", np.arange(len(trials)))
    trials["condition_hash"] = [f"hash-{image}" for image in trials.image_id]
    trials["stimulus_type"] = "stimulus.Frame"
    trials["excluded"] = trials.trial_idx == 5
    trials["exclusion_comment"] = np.where(trials.excluded, "photodiode fell off", "")
    trials["flip_blank_s"] = 3.0 + trials.trial_idx * (BLANK_S + SHOWN_S)
    trials["flip_onset_s"] = trials.flip_blank_s + BLANK_S
    trials["flip_end_s"] = trials.flip_onset_s + SHOWN_S
    stop_s = float(trials.flip_end_s.max()) + 3
    trials.to_csv(folder / "trials.csv", index=False)

    if form == "traces":
        times_s = np.arange(0, stop_s, volume_s / 2)  # two depths
        np.save(folder / "frame_times_stim.npy", times_s)
        np.save(folder / "frame_times_behavior.npy", times_s + CLOCK_OFFSET_S)
        traces = rng.gamma(0.5, 1.0, (n_units, len(times_s[::2])))
        np.save(folder / "traces.npy", traces.astype(np.float32))
        eye_s = np.arange(0, stop_s, 0.05) + CLOCK_OFFSET_S
        eye = {"time_s": eye_s, "radius_px": 20 + 3 * np.sin(eye_s)}
        eye |= {"center_x_px": 160 + rng.normal(0, 2, len(eye_s)), "center_y_px": 120 + np.cos(eye_s)}
        pd.DataFrame(eye).to_csv(folder / "eye.csv", index=False)
        wheel_s = np.arange(0, stop_s, 0.05) + CLOCK_OFFSET_S
        wheel = {"time_s": wheel_s, "velocity_cm_s": 5 * np.sin(wheel_s / 3)}
        pd.DataFrame(wheel).to_csv(folder / "treadmill.csv", index=False)
    else:
        responses = rng.gamma(0.5, 1.0, (len(trials), n_units)).astype(np.float32)
        np.save(folder / "responses.npy", responses)
        names = ["pupil_radius", "dpupil", "treadmill", "pupil_x", "pupil_y"]
        behavior = pd.DataFrame(rng.gamma(4, 1.0, (len(trials), 5)), columns=names)
        behavior.to_csv(folder / "behavior.csv", index=False)

    if optional_files:
        if registered:
            affine = {"a11": 1.0, "a21": 0.0, "a31": 0.0, "a12": 0.0, "a22": 1.0, "a32": 0.0}
            center = {"reg_x_um": 145.0, "reg_y_um": 95.0, "reg_z_um": 200.0}
            registrations = pd.DataFrame({"stack": "a", "field": [1, 2], **affine, **center})
            registrations.to_csv(folder / "field_registrations.csv", index=False)
        else:
            stacks = units[["unit_id"]].assign(stack="a", x_um=units.um_x, y_um=units.um_y, z_um=units.um_z)
            stacks.to_csv(folder / "stack_coordinates.csv", index=False)
        cells = units[["unit_id"]].assign(stack="a", sunit_id=2000 + units.unit_id, iou=0.75, distance_um=2.5)
        cells.to_csv(folder / "structure_matches.csv", index=False)
        pixels = np.linspace(0, 255, 9)
        luminance = {"timestamp": "2019-03-10", "pixel_value": pixels, "luminance_cd_m2": (pixels / 50) ** 2}
        pd.DataFrame(luminance).to_csv(folder / "monitor_calibration.csv", index=False)
    return folder
