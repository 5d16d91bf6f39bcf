"""What `signs tune` measured on this device, kept in the cache folder for each bundle, and what follows from it."""

import contextlib
import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from signs_runtime.bundle.strict_json import from_json, parse_json
from signs_runtime.cache import keep, part_of_cache, read_kept
from signs_runtime.engine.device import this_cpu
from signs_runtime.engine.session import PROVIDERS, built_devices, import_onnxruntime
from signs_runtime.errors import BundleFormatError
from signs_runtime.placement.limits import Limits
from signs_runtime.version import __version__


@dataclass(frozen=True)
class Measurement:
    """One setting as it was on this device: what it answered, how fast, and in how much memory."""

    variant: str
    device: str  # one of session.PROVIDERS
    threads: int
    passed: bool  # the golden pictures
    says: str  # of the golden pictures, or why it did not start
    milliseconds: float | None  # for one picture of a burst, the median; None: not timed
    lone_milliseconds: float | None  # for one picture after a pause, the median; None: not timed
    peak_memory: int | None  # bytes, of a process that does nothing else

    def __post_init__(self) -> None:
        if self.device not in PROVIDERS or self.threads < 1:
            raise BundleFormatError(f"{self.threads} threads on {self.device!r} compute nothing.")

    def time(self, rate: float | None) -> float | None:
        """Milliseconds for a picture where so many come in a second, or in bursts (None)."""
        return self.milliseconds if rate is None else self.lone_milliseconds


@dataclass(frozen=True)
class Profile:
    """All settings that were measured for a bundle, the fastest first, and how many pictures a stream takes at once."""

    measured: tuple[Measurement, ...]
    batch: int | None  # None: streams were not timed
    rate: float | None = None  # pictures a second that the device sees, after which settings were chosen; None: bursts

    def __post_init__(self) -> None:
        if self.batch == 0:
            raise BundleFormatError("A batch of no pictures computes nothing.")

    def passed(self, variant: str | None, device: str | None, threads: int | None) -> list[Measurement]:
        """The fastest of each variant and device that passed, among those with what is given, the fastest first."""
        fits: dict[tuple[str, str], Measurement] = {}
        for each in sorted_by_speed(self.measured, self.rate):
            asked = (variant in (None, each.variant), device in (None, each.device), threads in (None, each.threads))
            if each.passed and each.time(self.rate) is not None and all(asked):
                fits.setdefault((each.variant, each.device), each)
        return list(fits.values())

    def has_failed(self, variant: str, device: str) -> bool:
        """The golden pictures were answered wrongly by this variant there, or not at all."""
        return any(not each.passed and (each.variant, each.device) == (variant, device) for each in self.measured)

    def to_text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def sorted_by_speed(measured: Sequence[Measurement], rate: float | None) -> tuple[Measurement, ...]:
    """The fastest at this rate first, those that failed or were not timed last."""

    def key(each: Measurement) -> tuple[bool, bool, float]:
        taken = each.time(rate)
        return not each.passed, taken is None, taken or 0.0

    return tuple(sorted(measured, key=key))


def find_profile(digest: str, limits: Limits) -> Profile | None:
    """The profile of the bundle with this digest on this device; None where there is none that can be read."""
    folder = part_of_cache("profiles")
    text = None if folder is None else read_kept(folder / _name(digest, limits))
    if text is None:
        return None
    try:
        return from_json(Profile, parse_json(text, "profile"), "profile")
    except BundleFormatError:  # damaged, or of another version: as if it had not been measured
        return None


def keep_profile(digest: str, limits: Limits, profile: Profile) -> bool:
    """Keep a profile for the next start; False where the cache folder cannot be written to."""
    folder = part_of_cache("profiles")
    return folder is not None and keep(folder / _name(digest, limits), profile.to_text())


def forget_profile(digest: str, limits: Limits) -> None:
    """Let the next start choose as if nothing had been measured."""
    folder = part_of_cache("profiles")
    if folder is not None:
        with contextlib.suppress(OSError):
            (folder / _name(digest, limits)).unlink()


def _name(digest: str, limits: Limits) -> str:
    """All that a measurement depends on; several hosts may share a home."""
    depends = [
        *(digest, platform.node(), *this_cpu(), limits.threads, limits.may_spin),
        *(import_onnxruntime().__version__, *built_devices(), __version__),
    ]
    return f"{hashlib.sha256(json.dumps(depends).encode()).hexdigest()}.json"
