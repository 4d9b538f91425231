"""Names of the files of a raw scan export (docs/exports.md)."""

COMMON_FILES = ("scan.yaml", "units.csv", "fields.csv", "trials.csv", "images.npy", "images.csv")
TRACES_ONLY = ("traces.npy", "frame_times_stim.npy", "frame_times_behavior.npy", "eye.csv", "treadmill.csv")
RESPONSES_ONLY = ("responses.npy", "behavior.csv")
TRACES_FORM = COMMON_FILES + TRACES_ONLY
RESPONSES_FORM = COMMON_FILES + RESPONSES_ONLY
SIMULATED_FORM = (*TRACES_FORM, "area_masks.npz", "stack_coordinates.csv", "monitor_calibration.csv")
EXPORT_FILES = (*SIMULATED_FORM, *RESPONSES_ONLY, "field_registrations.csv", "structure_matches.csv")
