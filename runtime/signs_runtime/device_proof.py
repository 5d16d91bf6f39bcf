"""The device's own proof: every digest, the labels, how pictures are read, and the answers that Keras gave."""

import os
from functools import partial

import numpy as np
from numpy.typing import NDArray

from signs_runtime.bundle.folder import open_bundle
from signs_runtime.classifier import Classifier
from signs_runtime.engine.device import this_device
from signs_runtime.engine.session import built_devices
from signs_runtime.errors import BundleError
from signs_runtime.placement.choices import AUTO
from signs_runtime.proof.checks import Check
from signs_runtime.proof.prove import ask_golden, conclude
from signs_runtime.proof.verification import Verification


def verify(
    path: str | os.PathLike[str], *, variant: str | None = None, device: str = AUTO, threads: int | None = None
) -> Verification:
    """Check every file of a bundle, how this device reads pictures, and the answers of each variant, or the one named.

    With `device` "auto" it is proved where a `Classifier` would run. Raises BundleError where a digest shows a file to
    be missing or altered, ProviderError where the device lacks what is asked for. What was altered and sealed again is
    no error but a Verification that has not passed.
    """
    bundle = open_bundle(path)
    for record in bundle.manifest.files:
        bundle.check(record)
    sealed = Check("digests", True, f"all {len(bundle.manifest.files)} files are those that were sealed")
    golden = bundle.golden()
    chosen = bundle.manifest.variants if variant is None else (bundle.variant(variant),)
    used = _device_of_a_start(path, variant, threads) if device == AUTO else device

    def answer(name: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return Classifier(path, variant=name, device=used, threads=threads).probabilities(images)

    answers = [ask_golden(each, golden, partial(answer, each.name)) for each in chosen]
    return conclude(bundle.manifest, golden, answers, this_device(used, threads), sealed)


def _device_of_a_start(path: str | os.PathLike[str], variant: str | None, threads: int | None) -> str:
    if built_devices() == ["cpu"]:
        return "cpu"
    try:
        return Classifier(path, variant=variant, threads=threads).placement.device
    except BundleError:  # what does not start is what the proof is to show
        return "cpu"
