"""Reads what devices said of themselves (`signs verify --json`, `signs benchmark --json`), and sums it up."""

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from signs_runtime.bundle.strict_json import MAX_JSON_BYTES, parse_json
from signs_runtime.errors import BundleFormatError

Json = Any  # what a device wrote


class _UnknownDocumentError(ValueError):
    """The file is JSON, but not what one of the two commands prints."""


@dataclass(frozen=True)
class Answered:
    """One variant on one device."""

    passed: bool
    max_difference: float | None = None  # of a probability from Keras's; None: the device only timed it
    milliseconds: float | None = None  # of a picture alone, with the best number of threads; None: not timed


@dataclass(frozen=True)
class Device:
    """The latest that a device said."""

    name: str
    digest: str  # of its bundle; "": it did not say
    cpu: str
    machine: str
    system: str
    onnxruntime: str
    passed: bool
    failures: tuple[str, ...] = ()  # the checks that failed, with what they found
    variants: dict[str, Answered] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """One variant on all devices with one CPU."""

    cpu: str
    variant: str
    devices: int
    failed: int
    milliseconds: tuple[float, float, float] | None  # the least, the median, the most
    max_difference: float | None  # the largest


@dataclass(frozen=True)
class Fleet:
    """All devices."""

    devices: tuple[Device, ...]

    def digests(self) -> list[tuple[str, int, int]]:
        """Each bundle's digest, on how many devices it is, and on how many of them it failed; most devices first."""
        count = Counter(each.digest for each in self.devices)
        failed = Counter(each.digest for each in self.devices if not each.passed)
        ordered = sorted(count.items(), key=lambda item: (-item[1], item[0]))
        return [(digest, n, failed[digest]) for digest, n in ordered]

    def others(self, digest: str) -> list[Device]:
        """The devices whose bundle is not this one."""
        return [each for each in self.devices if each.digest != digest]

    def spreads(self) -> list[Spread]:
        """Speeds and differences by CPU and variant."""
        found: dict[tuple[str, str], list[Answered]] = {}
        for device in self.devices:
            for variant, answered in device.variants.items():
                found.setdefault((device.cpu, variant), []).append(answered)
        return [_spread(*key, those) for key, those in sorted(found.items())]


def read_fleet(folder: Path) -> Fleet:
    """Read every .json file below `folder`.

    A device is named after the folder that its files are in, or after its file if that lies in `folder` itself, without
    `.verify.json` or `.benchmark.json`. Of several files of one kind, the latest counts. A file that cannot be read is
    a failure of its device: `signs verify` prints nothing if a bundle is damaged.
    """
    said: dict[str, dict[str, Json]] = {}  # device -> "verify" or "benchmark" -> document
    unreadable: dict[str, dict[str, str]] = {}  # device -> file -> reason
    for path in sorted(folder.rglob("*.json"), key=lambda path: (_modified(path), path)):
        parts = path.relative_to(folder).parts
        name = parts[0] if len(parts) > 1 else path.name.removesuffix(".json").removesuffix(".verify")
        name = _printable(name if len(parts) > 1 else name.removesuffix(".benchmark"))
        try:
            document = _parse(path)
            kind = _kind(document)
            _device(name, {kind: document}, ())  # raises now, and not when all are read
        except (OSError, BundleFormatError, _UnknownDocumentError) as error:
            unreadable.setdefault(name, {})[str(path.relative_to(folder))] = str(error)
            continue
        said.setdefault(name, {})[kind] = document
    return Fleet(
        tuple(
            _device(name, said.get(name, {}), unreadable.get(name, {}).items()) for name in sorted({*said, *unreadable})
        )
    )


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # a link that leads nowhere
        return 0


def _printable(text: object) -> str:
    """What a device wrote, for a terminal: without control characters."""
    return "".join(each if each.isprintable() else "?" for each in str(text)[:500])


def _parse(path: Path) -> Json:
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if not content.strip():
        raise _UnknownDocumentError("it is empty: the command on the device failed, and its stderr says why")
    return parse_json(content, "it")


def _kind(document: Json) -> str:
    if isinstance(document, dict) and "checks" in document:
        return "verify"
    if isinstance(document, dict) and "machine" in document:
        return "benchmark"
    raise _UnknownDocumentError("it is not what signs verify --json or signs benchmark --json prints")


def _device(name: str, said: dict[str, Json], unreadable: Iterable[tuple[str, str]]) -> Device:
    """The device of its documents and of its files that cannot be read. Raises _UnknownDocumentError."""
    failures = tuple(f"{_printable(file)}: {_printable(reason)}" for file, reason in unreadable)
    proof: Json = said.get("verify")
    timed: Json = said.get("benchmark")
    if proof is None and timed is None:
        return Device(name, "", "unknown", "unknown", "unknown", "unknown", passed=False, failures=failures)
    try:
        about = timed["machine"] if proof is None else proof["device"]
        device = Device(
            name,
            digest=_printable((timed if proof is None else proof).get("digest", "")),
            cpu=_printable(about["cpu"]),
            machine=_printable(about["machine"]),
            system=_printable(about["system"]),
            onnxruntime=_printable(about["onnxruntime"]),
            passed=not failures and all(each["passed"] is True for each in said.values()),
            failures=failures,
        )
        if proof is not None:
            device = _with_proof(device, proof)
        # The times of a bundle that was replaced say nothing about today's.
        return device if timed is None or timed.get("digest", "") != device.digest else _with_times(device, timed)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _UnknownDocumentError(f"a field is missing or has the wrong type ({error})") from error


def _with_proof(device: Device, proof: Json) -> Device:
    failed = [each for each in proof["checks"] if each["passed"] is not True]
    failures = (*device.failures, *(_printable(f"{each['name']}: {each['says']}") for each in failed))
    variants = {
        _printable(each["variant"]): Answered(each["passed"] is True, _number(each["max_difference"]))
        for each in proof["variants"]
    }
    return replace(device, failures=failures, variants=variants)


def _with_times(device: Device, timed: Json) -> Device:
    variants, failures = dict(device.variants), list(device.failures)
    for each in timed["variants"]:
        name, passed = _printable(each["variant"]), each["passed"] is True
        alone = [float(timing["median"]) for timing in each["timings"] if timing["batch"] == 1]
        before = variants.get(name, Answered(passed))
        variants[name] = replace(before, passed=before.passed and passed, milliseconds=min(alone) if alone else None)
        if not passed:
            failures.append(_printable(f"{name}: {each['says']}"))
    return replace(device, failures=tuple(failures), variants=variants)


def _spread(cpu: str, variant: str, those: Iterable[Answered]) -> Spread:
    those = list(those)
    times = [each.milliseconds for each in those if each.milliseconds is not None]
    differences = [each.max_difference for each in those if each.max_difference is not None]
    return Spread(
        cpu,
        variant,
        len(those),
        sum(not each.passed for each in those),
        (min(times), statistics.median(times), max(times)) if times else None,
        max(differences, default=None),
    )


def _number(value: Json) -> float | None:
    return None if value is None else float(value)
