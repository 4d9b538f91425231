"""Names of the files of a raw scan export (docs/exports.md)."""

COMMON_FILES = ("scan.yaml", "units.csv", "fields.csv", "trials.csv", "images.npy", "images.csv")
TRACES_ONLY = ("traces.npy", "frame_times_stim.npy", "frame_times_behavior.npy", "eye.csv", "treadmill.csv")
RESPONSES_ONLY = ("responses.npy", "behavior.csv")
TRACES_FORM = COMMON_FILES + TRACES_ONLY
RESPONSES_FORM = COMMON_FILES + RESPONSES_ONLY
OPTIONAL_FILES = ("area_masks.npz", "stack_coordinates.csv", "monitor_calibration.csv")
# Optional too, but of few labs: the virtual mouse's export has all of OPTIONAL_FILES and none of these.
MATCHING_FILES = ("field_registrations.csv", "structure_matches.csv")
EXPORT_FILES = COMMON_FILES + TRACES_ONLY + RESPONSES_ONLY + OPTIONAL_FILES + MATCHING_FILES
