"""Keeps what `signs tune` measured on this device, in the cache folder for each bundle, and ranks the settings."""

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
    """The measurement of one setting on this device: its answers, speed and memory."""

    variant: str
    device: str  # one of session.PROVIDERS
    threads: int
    passed: bool  # whether it answers the golden pictures as Keras did
    says: str  # about the golden pictures, or why it did not start
    milliseconds: float | None  # for one picture of a burst, the median; None: not timed
    lone_milliseconds: float | None  # for one picture after a pause, the median; None: not timed
    peak_memory: int | None  # bytes of a process that does nothing else

    def __post_init__(self) -> None:
        if self.device not in PROVIDERS or self.threads < 1:
            raise BundleFormatError(f"A profile cannot hold {self.threads} threads on the device {self.device!r}.")

    def time(self, rate: float | None) -> float | None:
        """Milliseconds for a picture at this rate (pictures per second), or in bursts (None)."""
        return self.milliseconds if rate is None else self.lone_milliseconds


@dataclass(frozen=True)
class Profile:
    """All settings that were measured for a bundle, the fastest first, and the batch size for streams."""

    measured: tuple[Measurement, ...]
    batch: int | None  # None: streams were not timed
    rate: float | None = None  # pictures per second for which settings were ranked; None: bursts

    def __post_init__(self) -> None:
        if self.batch == 0:
            raise BundleFormatError("A profile cannot hold a batch of 0 pictures.")

    def passed(self, variant: str | None, device: str | None, threads: int | None) -> list[Measurement]:
        """The fastest passed setting of each variant and device, the fastest first; None matches any value."""
        fits: dict[tuple[str, str], Measurement] = {}
        for each in sorted_by_speed(self.measured, self.rate):
            asked = (variant in (None, each.variant), device in (None, each.device), threads in (None, each.threads))
            if each.passed and each.time(self.rate) is not None and all(asked):
                fits.setdefault((each.variant, each.device), each)
        return list(fits.values())

    def has_failed(self, variant: str, device: str) -> bool:
        """Whether this variant failed the golden pictures on this device, or did not start there."""
        return any(not each.passed and (each.variant, each.device) == (variant, device) for each in self.measured)

    def to_text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def sorted_by_speed(measured: Sequence[Measurement], rate: float | None) -> tuple[Measurement, ...]:
    """Sort settings by speed at this rate, with failed and untimed ones last."""

    def key(each: Measurement) -> tuple[bool, bool, float]:
        taken = each.time(rate)
        return not each.passed, taken is None, taken or 0.0

    return tuple(sorted(measured, key=key))


def find_profile(digest: str, limits: Limits) -> Profile | None:
    """The profile of the bundle with this digest on this device; None if none can be read."""
    folder = part_of_cache("profiles")
    text = None if folder is None else read_kept(folder / _name(digest, limits))
    if text is None:
        return None
    try:
        return from_json(Profile, parse_json(text, "profile"), "profile")
    except BundleFormatError:  # damaged, or of another version: ignored
        return None


def keep_profile(digest: str, limits: Limits, profile: Profile) -> bool:
    """Save a profile for later starts; False if the cache folder cannot be written to."""
    folder = part_of_cache("profiles")
    return folder is not None and keep(folder / _name(digest, limits), profile.to_text())


def forget_profile(digest: str, limits: Limits) -> None:
    """Delete a profile, so that later starts choose without it."""
    folder = part_of_cache("profiles")
    if folder is not None:
        with contextlib.suppress(OSError):
            (folder / _name(digest, limits)).unlink()


def _name(digest: str, limits: Limits) -> str:
    """The file's name: a digest of all that a measurement depends on; the host is part of it, as hosts share homes."""
    depends = [
        *(digest, platform.node(), *this_cpu(), limits.threads, limits.may_spin),
        *(import_onnxruntime().__version__, *built_devices(), __version__),
    ]
    return f"{hashlib.sha256(json.dumps(depends).encode()).hexdigest()}.json"
