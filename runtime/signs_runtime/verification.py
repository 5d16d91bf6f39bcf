"""The device's own proof: every digest, the labels, how pictures are read, and the answers that Keras gave."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from signs_runtime.bundle import Bundle, open_bundle
from signs_runtime.checks import Answers, Check, compare_answers, compare_labels, compare_pictures
from signs_runtime.classifier import Classifier
from signs_runtime.cli import finite
from signs_runtime.device import Device, this_device
from signs_runtime.errors import BundleError, VerificationError
from signs_runtime.golden import GoldenPictures
from signs_runtime.manifest import Manifest, Variant
from signs_runtime.proofs import Proof


@dataclass(frozen=True)
class Verification:
    """What a device found when it proved a bundle."""

    digest: str  # the bundle's
    device: Device
    checks: tuple[Check, ...]
    variants: tuple[Answers, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """The checks that did not pass, a line or more each."""
        return "\n".join(f"  {check.name}: {check.says}" for check in self.checks if not check.passed)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """All that was found; a difference that is not a number is null."""
        return {
            "passed": self.passed,
            "digest": self.digest,
            "device": asdict(self.device),
            "checks": [asdict(check) for check in self.checks],
            "variants": [
                {
                    "variant": each.variant,
                    "passed": each.passed,
                    "pictures": each.pictures,
                    "same_label": each.same_label,
                    "max_difference": finite(each.max_difference),
                    "tolerance": each.tolerance,
                }
                for each in self.variants
            ],
        }


def verify(
    path: str | os.PathLike[str], *, variant: str | None = None, device: str = "cpu", threads: int | None = None
) -> Verification:
    """Check every file of a bundle, how this device reads pictures, and the answers of each variant, or the one named.

    Raises BundleError where a digest shows a file to be missing or altered, ProviderError where the device lacks what
    is asked for. What was altered and sealed again is no error but a Verification that has not passed.
    """
    bundle = open_bundle(path)
    for record in bundle.manifest.files:
        bundle.check(record)
    sealed = Check("digests", True, f"all {len(bundle.manifest.files)} files are those that were sealed")
    golden = bundle.golden()
    chosen = bundle.manifest.variants if variant is None else (bundle.variant(variant),)
    answers = [
        ask_golden(each, golden, partial(Classifier, path, variant=each.name, device=device, threads=threads))
        for each in chosen
    ]
    return _conclude(bundle.manifest, golden, answers, this_device(device, threads), sealed)


def verify_once(bundle: Bundle, variant: Variant, classifier: Classifier, device: Device) -> None:
    """Prove a variant that was just started, unless this device has proved it before. Raises VerificationError."""
    proof = Proof.of(bundle.manifest.digest, variant.name, device)
    if proof.is_known:
        return
    golden = bundle.golden()
    verification = _conclude(bundle.manifest, golden, [ask_golden(variant, golden, lambda: classifier)], device)
    if not verification.passed:
        raise VerificationError(bundle.folder, verification)
    proof.keep()


def ask_golden(variant: Variant, golden: GoldenPictures, start: Callable[[], Classifier]) -> Answers:
    """Start a variant and ask it about the golden pictures; what keeps it from answering is its answer.

    Raises ProviderError.
    """
    given, error = np.full_like(golden.probabilities, np.nan), ""
    try:
        given = start().probabilities(golden.images)
    except BundleError as refusal:  # the digest is right, and yet it is not what was proved
        error = str(refusal)
    return Answers(variant.name, variant.tolerance, golden.labels, golden.probabilities, given, error)


def _conclude(
    manifest: Manifest, golden: GoldenPictures, answers: Sequence[Answers], device: Device, *before: Check
) -> Verification:
    checks = (
        *before,
        compare_labels(golden, manifest.labels),
        compare_pictures(golden, manifest.input),
        compare_answers(answers),
    )
    return Verification(manifest.digest, device, checks, tuple(answers))
