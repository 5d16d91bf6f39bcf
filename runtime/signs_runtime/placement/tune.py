"""Finds the fastest variant, device and number of threads that answer as Keras did on this device."""

import math
import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace

from signs_runtime.bundle.folder import Bundle, open_bundle
from signs_runtime.engine.session import built_devices, require_provider
from signs_runtime.errors import BundleNotFoundError, OptionError, ProviderError
from signs_runtime.placement.limits import Limits, find_limits
from signs_runtime.placement.profiles import Measurement, Profile, forget_profile, keep_profile, sorted_by_speed
from signs_runtime.placement.timing import SECONDS, Candidate, Timer, TimingError

ROUNDS = 5
BATCHES = (1, 2, 4, 8, 16, 32)
FINALISTS, CLOSE = 5, 1.5  # at most 5, within 1.5 times the fastest of the first look, are timed in rounds
LONE_PAUSE = 0.3  # seconds: long enough for waiting threads to fall asleep; longer pauses change little
MOST_PAUSE = 2.0  # seconds, however rarely pictures come
LONE_PICTURES = 2  # in the first look
_WORTHWHILE = 0.95  # a larger batch must take at most this share of a smaller one's time: it costs memory and delay


@dataclass(frozen=True)
class TuneConfig:
    """What is tried; None: everything."""

    variants: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    threads: tuple[int, ...] | None = None
    max_memory: int | None = None  # bytes that a process with the setting may take
    rate: float | None = None  # pictures per second; None: bursts, one picture right after the other
    seconds: float = SECONDS  # for one round of one setting

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise OptionError(f"rate={self.rate} is not a number of pictures per second; choose one above 0.")

    @property
    def pause(self) -> float:
        """Seconds before a single picture."""
        return LONE_PAUSE if self.rate is None else min(1 / self.rate, MOST_PAUSE)


@dataclass(frozen=True)
class Tuning:
    """The measurements, the setting that won, and whether they were saved for later starts."""

    digest: str  # the bundle's
    profile: Profile
    winner: Measurement
    is_kept: bool
    limits: Limits


def tune(
    path: str | os.PathLike[str],
    config: TuneConfig,
    *,
    on_step: Callable[[str, int, int], None] = lambda step, done, total: None,
) -> Tuning:
    """Prove and time the settings of a bundle on this device, and save the result, which `Classifier` then uses.

    A setting that fails the golden pictures or takes more than `max_memory` never wins. `on_step` is called with the
    step's name, how much of it is done, and its total. Raises BundleError, and ProviderError if no setting passes.
    """
    bundle, limits = open_bundle(path), find_limits()
    candidates = list_candidates(bundle, config, limits)
    for first in {each.variant: each for each in reversed(candidates)}.values():
        with (
            suppress(TimingError),
            Timer(first) as timer,
        ):  # makes the cached graph, whose memory no setting is charged for
            timer.start()
    measured: list[Measurement] = []
    for i, candidate in enumerate(candidates):
        on_step("first look", i, len(candidates))
        measured.append(_look(candidate, config))
    on_step("first look", len(candidates), len(candidates))
    close = {each for rate in (None, 1.0) for each in _close_to_best(measured, rate)}
    digest = bundle.manifest.digest
    if not close:
        forget_profile(digest, limits)  # an earlier result no longer holds
        reasons = "\n".join(
            f"  {each.variant}, {each.device}, {each.threads} threads: {each.says}" for each in measured
        )
        raise ProviderError(
            f"{path}: no setting within the requested limits answers the golden pictures as Keras did. "
            "Nothing was saved.\n"
            f"{reasons}"
        )
    timed = _time_in_rounds(bundle, [each for each in measured if each in close], config, on_step)
    measured = [timed.get(each, each) for each in measured]
    winner = sorted_by_speed(tuple(timed.values()), config.rate)[0]
    batch = _time_batches(bundle, winner, config.seconds, on_step)
    profile = Profile(sorted_by_speed(measured, config.rate), batch, config.rate)
    return Tuning(digest, profile, winner, keep_profile(digest, limits, profile), limits)


def list_candidates(bundle: Bundle, config: TuneConfig, limits: Limits) -> list[Candidate]:
    """Every variant on every device that onnxruntime was built for, with 1, 2, 4, ... threads up to all allowed.

    Raises BundleNotFoundError for an unknown variant, and ProviderError for a device that is not built in.
    """
    variants = [bundle.variant(name).name for name in config.variants] if config.variants else None
    built = built_devices()
    for device in config.devices or ():
        require_provider(device)
    doubled = [2**i for i in range(limits.threads.bit_length())]
    threads = sorted(set(config.threads or (*(n for n in doubled if n <= limits.threads), limits.threads)))
    found = [
        Candidate(str(bundle.folder), variant, device, count)
        for variant in variants or [each.name for each in bundle.manifest.variants]
        for device in config.devices or built
        for count in (threads if device in ("cpu", "openvino", "xnnpack") else threads[-1:])
    ]
    if not found:
        raise BundleNotFoundError(
            "Nothing to tune: no variant, device and number of threads are left to try. Leave some of them unset."
        )
    return found


def _look(candidate: Candidate, config: TuneConfig) -> Measurement:
    """Start a candidate alone, let it answer the golden pictures, and time it once."""
    measured = Measurement(
        candidate.variant or "", candidate.device, candidate.threads or 1, False, "", None, None, None
    )
    try:
        with Timer(candidate) as timer:
            started = timer.start()
            measured = replace(measured, says=started.says, peak_memory=started.peak_memory)
            if not started.passed:
                return measured
            if config.max_memory is not None and started.peak_memory is None:
                return replace(measured, says="this system does not report memory; leave --max-memory out")
            if config.max_memory is not None and (started.peak_memory or 0) > config.max_memory:
                return replace(measured, says=f"takes more than {config.max_memory / 1e6:.0f} MB")
            burst, lone = (
                timer.milliseconds(seconds=config.seconds),
                timer.lone_milliseconds(config.pause, LONE_PICTURES),
            )
            return replace(measured, passed=True, milliseconds=burst, lone_milliseconds=lone)
    except TimingError as error:
        return replace(measured, says=str(error).splitlines()[-1])


def _close_to_best(measured: Sequence[Measurement], rate: float | None) -> list[Measurement]:
    passed = [each for each in sorted_by_speed(measured, rate) if each.passed and each.time(rate) is not None]
    return [each for each in passed[:FINALISTS] if (each.time(rate) or 0) <= CLOSE * (passed[0].time(rate) or 0)]


def _time_in_rounds(
    bundle: Bundle, close: Sequence[Measurement], config: TuneConfig, on_step: Callable[[str, int, int], None]
) -> dict[Measurement, Measurement]:
    """Time the close settings side by side; returns each one's new measurement by its earlier one."""
    bursts: dict[Measurement, list[float]] = {each: [] for each in close}
    lone: dict[Measurement, list[float]] = {each: [] for each in close}
    with ExitStack() as stack:
        timers = {each: stack.enter_context(Timer(_candidate(bundle, each))) for each in close}
        for i in range(1 + ROUNDS):
            on_step("rounds", max(0, i - 1), ROUNDS)
            for each, timer in list(timers.items()):
                try:
                    if i == 0:
                        timer.start()
                    else:
                        bursts[each].append(timer.milliseconds(seconds=config.seconds))
                        lone[each].append(timer.lone_milliseconds(config.pause))
                except TimingError:  # memory may be too short for all at once; then the first look counts
                    del timers[each]
        on_step("rounds", ROUNDS, ROUNDS)
    return {
        each: replace(
            each,
            milliseconds=statistics.median(bursts[each] or [each.milliseconds or 0.0]),
            lone_milliseconds=statistics.median(lone[each] or [each.lone_milliseconds or 0.0]),
        )
        for each in close
    }


def _time_batches(bundle: Bundle, winner: Measurement, seconds: float, on_step: Callable[[str, int, int], None]) -> int:
    """The smallest batch size from which larger ones gain little in a stream."""
    taken: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    with Timer(_candidate(bundle, winner)) as timer:
        timer.start()
        for i in range(2):
            for j, batch in enumerate(BATCHES):
                on_step("batches", i * len(BATCHES) + j, 2 * len(BATCHES))
                taken[batch].append(timer.stream_milliseconds(batch, seconds))
    on_step("batches", 2 * len(BATCHES), 2 * len(BATCHES))
    medians = {batch: statistics.median(values) for batch, values in taken.items()}
    return next(batch for batch in BATCHES if _WORTHWHILE * medians[batch] <= min(medians.values()))


def _candidate(bundle: Bundle, measured: Measurement) -> Candidate:
    return Candidate(str(bundle.folder), measured.variant, measured.device, measured.threads)


def to_json(tuning: Tuning) -> dict[str, object]:
    """The whole result, for machines."""
    return {
        "digest": tuning.digest,
        "kept": tuning.is_kept,
        "winner": asdict(tuning.winner),
        "batch": tuning.profile.batch,
        "rate": tuning.profile.rate,
        "measured": [asdict(each) for each in tuning.profile.measured],
        "limits": {**asdict(tuning.limits), "threads": tuning.limits.threads, "may_spin": tuning.limits.may_spin},
    }
