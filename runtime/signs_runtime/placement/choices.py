"""Chooses where a model runs, with the reason: as requested by name, or on the first device that proves itself."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from signs_runtime.engine.session import PROVIDERS, Setting, built_devices
from signs_runtime.errors import OptionError
from signs_runtime.placement.limits import Limits
from signs_runtime.placement.profiles import Profile

AUTO = "auto"
_MOST_THREADS = 4  # times the machine's cores; onnxruntime waits for ever if the system grants fewer than requested

# Tried without a measurement, in this order. The others run only if `signs tune` has measured them, or by name.
_ACCELERATORS = ("cuda", "directml", "migraphx", "openvino", "coreml")


@dataclass(frozen=True)
class Placement:
    """Where a classifier runs."""

    requested: str  # "auto" or one of PROVIDERS
    device: str  # one of PROVIDERS
    provider: str  # onnxruntime's name for it
    why: str  # a sentence
    variant: str  # of the bundle, or the model file's name
    threads: int  # that compute one operator together
    spin: bool  # whether waiting threads spin in a loop
    nodes: dict[str, int] | None  # of the optimised graph, by provider; None if onnxruntime does not report them


@dataclass(frozen=True)
class Choice:
    """A variant and a setting to try, with the reason."""

    variant: str | None  # of the bundle; None: a single model file
    setting: Setting
    why: str
    must_prove: bool = False  # it must pass the golden pictures: nobody requested this device, or it has failed here


@dataclass(frozen=True)
class Request:
    """What was requested; None and "auto" mean unset."""

    variant: str | None
    device: str
    threads: int | None

    def __post_init__(self) -> None:
        most = _MOST_THREADS * (os.cpu_count() or 1)
        if self.threads is not None and not 1 <= self.threads <= most:
            raise OptionError(
                f"threads={self.threads} is out of range here; choose a number from 1 to {most}, or leave it unset."
            )


def choices(request: Request, limits: Limits, profile: Profile | None, default: str | None) -> Iterator[Choice]:
    """Yield what to try, in order: what `signs tune` measured, the fastest first; then accelerators; the CPU last.

    `default` is the variant to use if nothing was measured. It is None for a single model file, which has no golden
    pictures with which an accelerator could prove itself.
    """
    device = None if request.device == AUTO else request.device
    measured = [] if profile is None else profile.passed(request.variant, device, request.threads)
    for i, each in enumerate(measured):
        setting = setting_for(each.device, each.threads, limits)
        assert profile is not None  # it has measured
        rate = "" if profile.rate is None else f" for {profile.rate:g} pictures a second"
        taken = each.time(profile.rate)
        why = f"the {'next ' if i else ''}fastest that `signs tune` measured here{rate}: {taken:.2f} ms"
        yield Choice(each.variant, setting, why)
    if device is not None and measured:
        return
    built = built_devices()
    accelerators = [each for each in _ACCELERATORS if each in built and default is not None]
    for each_device in [device] if device else [*accelerators, "cpu"]:
        setting = setting_for(each_device, request.threads, limits)
        failed = default is not None and profile is not None and profile.has_failed(default, each_device)
        if device is not None:
            yield Choice(default, setting, "requested by name", must_prove=failed)
        elif each_device == "cpu":
            why = "this onnxruntime has no other device" if built == ["cpu"] else "no other device is proved here"
            yield Choice(default, setting, why, must_prove=failed)
        else:
            provider = PROVIDERS[each_device]
            why = f"this onnxruntime was built for {provider}, which answers the golden pictures as Keras did"
            yield Choice(default, setting, why, must_prove=True)


def setting_for(device: str, threads: int | None, limits: Limits) -> Setting:
    """How a session on this device computes: with the requested threads, or with as many as can run at once."""
    chosen = limits.threads if threads is None else threads
    return Setting(device, chosen, spin=limits.may_spin and 1 < chosen <= limits.cores)
