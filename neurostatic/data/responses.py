"""One number per unit and trial out of deconvolved traces: filter, delay, sample (InputResponse, ResponseBlock)."""

import numpy as np
import scipy

from neurostatic.store import BLOCK_BYTES, release_pages

ONE_DEPTH_UM = 1.0
LONGEST_GAP_S = 0.5  # that a filter may bridge, which takes its samples for evenly spaced


def sampling_period(times_s: np.ndarray) -> float:
    """Median step of the times, NaNs left out, rounded to 1 ns.

    The clocks tick every 100 ns; below that is float noise, which would change int(0.5 // 0.01) from 49 to 50.
    """
    return round(float(np.nanmedian(np.diff(times_s))), 9)


def filter_half_width(window_s: float, period_s: float) -> int:
    """Samples m on each side of the center of a filter, m = int(window // period); 0 below one period.

    Float floor division, as published: 0.5 // 0.1 = 4, not 5.
    """
    return int(window_s // period_s) if window_s >= period_s else 0


def lowpass_filter(window_s: float, period_s: float) -> np.ndarray:
    """Hamming low-pass filter, w[n] = 0.54 - 0.46 cos(2 pi n / 2m), divided by its sum (Preprocessing.filter).

    Args:
        window_s: target period D; the filter spans -D to D and its half width is about D.
        period_s: sampling period d of the signal.

    Returns:
        (2m + 1,) taps of sum 1, m = int(D // d); a single 1 where D < d.
    """
    half = filter_half_width(window_s, period_s)
    if half == 0:
        return np.ones(1)
    taps = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(2 * half + 1) / (2 * half))
    return taps / taps.sum()


def derivative_filter(window_s: float, period_s: float) -> np.ndarray:
    """Derivative of the Hamming filter in units of the signal per second; rising signals give positive values.

    g[n] = 0.46 sin(2 pi n / N) / (d 0.23 N cot(pi / N)), N = 2m. Upstream left out the divisor, so that its dpupil
    was 4.4 (8 Hz) to 703 (100 Hz) times the slope per sample. A slope needs two samples on each side: where m is 1
    upstream's filter was all zero, here m is then 2.

    Returns:
        (2m + 1,) taps.

    Raises ValueError if the sampling period is longer than the window.
    """
    half = filter_half_width(window_s, period_s)
    if half == 0:
        raise ValueError(f"a slope over {window_s} s needs a sampling period of at most that, found {period_s} s")
    n = 2 * max(half, 2)
    gain_per_sample = 0.23 * n / np.tan(np.pi / n)
    return 0.46 * np.sin(2 * np.pi * np.arange(n + 1) / n) / (gain_per_sample * period_s)


def smooth(signal: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Convolve (..., time) with taps (2m + 1,), same length, zeros beyond both ends; a NaN spreads by m samples."""
    return scipy.ndimage.convolve1d(np.asarray(signal, dtype=float), taps, axis=-1, mode="constant", cval=0.0)


def smooth_inside(signal: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """`smooth`, with NaN where the filter reaches beyond an end (zeros there would pull the signal down)."""
    smoothed = smooth(signal, taps)
    half = len(taps) // 2
    if half:
        smoothed[..., :half] = np.nan
        smoothed[..., -half:] = np.nan
    return smoothed


def fill_nans(signal: np.ndarray, preserve_gap: int | None = None) -> np.ndarray:
    """Fill NaNs linearly over the sample index, constant at the ends; all NaN becomes all 0.

    Args:
        signal: (time,); it is not changed.
        preserve_gap: leave runs of at least so many NaNs as they are (eye data: 3).
    """
    signal = np.array(signal, dtype=float)
    missing = np.isnan(signal)
    if not missing.any():
        return signal
    kept = np.zeros_like(missing)
    if preserve_gap is not None:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(np.int8), [0]])))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            kept[start:stop] = stop - start >= preserve_gap
    if missing.all():
        signal[:] = 0.0
    else:
        samples = np.arange(len(signal))
        signal[missing] = np.interp(samples[missing], samples[~missing], signal[~missing])
    signal[kept] = np.nan
    return signal


def interpolate(times: np.ndarray, values: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Linear interpolation that knows NaN and never extrapolates.

    NaN comes out for a NaN query, a query outside the times, and a query strictly between two samples of which
    one or both are NaN (in time or value). A query exactly on a good sample is good.

    Args:
        times: (time,) not decreasing, NaN allowed.
        values: (time,).
        queries: (query,).
    """
    times, values, queries = (np.asarray(a, dtype=float) for a in (times, values, queries))
    bad = np.isnan(times) | np.isnan(values)
    result = np.full(queries.shape, np.nan)
    if bad.all():
        return result
    good_times, good_values = times[~bad], values[~bad]
    known = ~np.isnan(queries)
    known[known] = (queries[known] >= good_times[0]) & (queries[known] <= good_times[-1])
    asked = queries[known]
    found = np.interp(asked, good_times, good_values)
    if bad.any():
        filled_times = fill_nans(times)  # a place for samples without a time
        on_sample = good_times[np.searchsorted(good_times, asked).clip(max=len(good_times) - 1)] == asked
        found[(np.interp(asked, filled_times, bad.astype(float)) > 0) & ~on_sample] = np.nan
    result[known] = found
    return result


def depth_count(z_um: np.ndarray) -> int:
    """Number Z of recording depths: fields (field,) whose depths follow each other by up to 1 um are one depth."""
    return 1 + int((np.diff(np.sort(np.asarray(z_um, dtype=float))) > ONE_DEPTH_UM).sum())


def presentation_duration(flips_s: np.ndarray, wanted: np.ndarray) -> float:
    """Median time for which a picture is shown in the wanted trials, NaN flips left out.

    Args:
        flips_s: (trial, 3) blank, onset and end flips of all trials. Where no trial has an end flip, the next trial's
            blank flip ends the picture.
        wanted: (trial,) bool.
    """
    order = np.argsort(flips_s[:, 1], kind="stable")
    blank_s, onset_s, end_s = flips_s[order].T
    if np.isnan(end_s).all():
        end_s = np.append(blank_s, np.nan)[1:]
    durations_s = (end_s - onset_s)[wanted[order]]
    durations_s = durations_s[~np.isnan(durations_s)]
    return float(np.median(durations_s)) if len(durations_s) else np.nan


def flips_recorded(flips_s: np.ndarray, start_s: float, stop_s: float) -> np.ndarray:
    """Which trials have all their flips, and all of them within the recording.

    Args:
        flips_s: (trial, 3) blank, onset and end flips on the stimulus clock, NaN where dropped; an end flip that no
            trial has is not asked for.

    Returns:
        (trial,) bool.
    """
    if np.isnan(flips_s[:, 2]).all():
        flips_s = flips_s[:, :2]
    return np.all((flips_s >= start_s) & (flips_s <= stop_s), axis=1)


def sampling_range(volume_times_s: np.ndarray, delay_s: np.ndarray, window_s: float) -> tuple[float, float]:
    """First and last time at which every unit's filtered trace is known, on the clock of volume_times_s.

    The filter must lie within the recording: t_u[m] to t_u[T - 1 - m] of every unit u.

    Args:
        volume_times_s: (volume,); delay_s: (unit,); window_s: target period of the low-pass filter.

    Returns:
        (first, last) in s; (inf, -inf) if the recording is shorter than the filter.
    """
    half = filter_half_width(window_s, sampling_period(volume_times_s))
    if len(volume_times_s) <= 2 * half:
        return np.inf, -np.inf
    return volume_times_s[half] + np.max(delay_s), volume_times_s[-1 - half] + np.min(delay_s)


def within_gaps(times_s: np.ndarray, queries_s: np.ndarray, reach_s: float) -> np.ndarray:
    """Which queries are closer than `reach_s` to a gap of more than half a second in the times.

    Args:
        times_s: (time,) increasing; a NaN stands for a sample of which only the time is not known.
        queries_s: (query,) NaN is never within a gap.

    Returns:
        (query,) bool.
    """
    known = np.flatnonzero(~np.isnan(times_s))
    lost_s = np.diff(times_s[known]) - np.diff(known) * sampling_period(times_s)
    within = np.zeros(len(queries_s), dtype=bool)
    for gap in np.flatnonzero(lost_s > LONGEST_GAP_S):
        start_s, stop_s = times_s[known[gap : gap + 2]]
        within |= (queries_s > start_s - reach_s) & (queries_s < stop_s + reach_s)
    return within


def sample_responses(
    traces: np.ndarray,
    volume_times_s: np.ndarray,
    delay_s: np.ndarray,
    sample_times_s: np.ndarray,
    window_s: float,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Filtered traces at one instant per trial, each unit on its own clock (InputResponse, ResponseBlock).

    R[i, u] = (x_u * h)(onset_i + offset + D/2), where sample k of unit u was taken at t_u[k] = F[k] + delay_u.
    The delay moves the times, never the trace. NaNs of a trace are filled linearly. Within m samples of an end of
    the recording the filter would read beyond it: the response is NaN there, as it is out of range.

    Only the volumes around the sample times are read, a block of units at a time: a recording larger than memory is
    sampled some trials at a time, with the same result to the last bit.

    Args:
        traces: (unit, volume) deconvolved traces, may be memory-mapped.
        volume_times_s: (volume,) start F of each volume: every Z-th slice time.
        delay_s: (row,) delay of each sampled unit after the start of the volume.
        sample_times_s: (trial,) on the clock of volume_times_s; NaN gives NaN.
        window_s: target period D of the low-pass filter.
        rows: (row,) which units of traces, in which order; all of them by default.

    Returns:
        (trial, row) float32.
    """
    rows = np.arange(len(traces)) if rows is None else np.asarray(rows)
    n_volumes = min(traces.shape[1], len(volume_times_s))
    times_s = np.asarray(volume_times_s[:n_volumes], dtype=float)
    taps = lowpass_filter(window_s, sampling_period(times_s))
    responses = np.full((len(sample_times_s), len(rows)), np.nan, np.float32)
    known = ~np.isnan(sample_times_s)
    if not known.any():
        return responses
    window = _volumes_around(sample_times_s[known], delay_s, times_s, len(taps) // 2)
    seen_s = times_s[window]
    n_units = max(1, BLOCK_BYTES // (8 * max(1, len(seen_s))))
    for start in range(0, len(rows), n_units):
        columns = slice(start, start + n_units)
        filtered = smooth(_filled(traces, rows[columns], window, n_volumes), taps)
        sampled = [
            np.interp(sample_times_s[known], seen_s + unit_delay_s, trace)
            for unit_delay_s, trace in zip(delay_s[columns], filtered, strict=True)
        ]
        responses[known, columns] = np.transpose(sampled)
        release_pages(traces)
    first_s, last_s = sampling_range(times_s, np.zeros(1), window_s)
    for trial in np.flatnonzero(known):
        outside = (sample_times_s[trial] < first_s + delay_s) | (sample_times_s[trial] > last_s + delay_s)
        responses[trial, outside] = np.nan
    return responses


def _volumes_around(sample_times_s: np.ndarray, delay_s: np.ndarray, times_s: np.ndarray, half: int) -> slice:
    """The volumes that the filter reads for these sample times, whatever the delay."""
    first = np.searchsorted(times_s, sample_times_s.min() - np.max(delay_s)) - half - 2
    last = np.searchsorted(times_s, sample_times_s.max() - np.min(delay_s)) + half + 2
    # At least two volumes stay, so that there is something to interpolate; what lies outside is set to NaN later.
    first = min(max(first, 0), len(times_s) - 2)
    return slice(first, max(min(last, len(times_s)), first + 2))


def _filled(traces: np.ndarray, rows: np.ndarray, window: slice, n_volumes: int) -> np.ndarray:
    """(row, volume of the window) float64 without NaN; gaps are filled from the whole trace."""
    block = np.array(traces[rows, window], dtype=float)
    for i in np.flatnonzero(np.isnan(block).any(1)):
        block[i] = fill_nans(traces[rows[i], :n_volumes])[window]
    return block
