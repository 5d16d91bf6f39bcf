"""Runs the golden pictures through a variant and draws the conclusions; passed proofs are remembered."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from signs_runtime.bundle.folder import Bundle
from signs_runtime.bundle.golden import GoldenPictures
from signs_runtime.bundle.manifest import Manifest, Variant
from signs_runtime.engine.device import Device
from signs_runtime.errors import BundleError
from signs_runtime.proof.checks import Answers, Check, compare_answers, compare_labels, compare_pictures
from signs_runtime.proof.memory import Proof
from signs_runtime.proof.verification import Verification, VerificationError

# Images uint8 (n, height, width, channels) in, float32 (n, labels) out; raises BundleError if it cannot answer.
Probabilities = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def verify_once(bundle: Bundle, variant: Variant, probabilities: Probabilities, device: Device) -> None:
    """Prove a started variant, unless this device has proved it before. Raises VerificationError."""
    proof = Proof.of(bundle.manifest.digest, variant.name, device)
    if proof.is_known:
        return
    golden = bundle.golden()
    verification = conclude(bundle.manifest, golden, [ask_golden(variant, golden, probabilities)], device)
    if not verification.passed:
        raise VerificationError(bundle.folder, verification)
    proof.keep()


def ask_golden(variant: Variant, golden: GoldenPictures, probabilities: Probabilities) -> Answers:
    """Get a variant's answers to the golden pictures; a BundleError that prevents them is part of the result."""
    given, error = np.full_like(golden.probabilities, np.nan), ""
    try:
        given = probabilities(golden.images)
    except BundleError as refusal:  # although the digest matches, this is not the model that was proved
        error = str(refusal)
    return Answers(
        golden.probabilities, given, golden.thresholds, variant.name, variant.tolerance, golden.labels, error
    )


def conclude(
    manifest: Manifest, golden: GoldenPictures, answers: Sequence[Answers], device: Device, *before: Check
) -> Verification:
    """Run all checks of a proof: those made `before`, the labels, the reading of pictures, and the answers."""
    checks = (
        *before,
        compare_labels(golden, manifest.labels),
        compare_pictures(golden, manifest.input),
        compare_answers(answers),
    )
    return Verification(manifest.digest, device, checks, tuple(answers))
