"""The device's own proof of a bundle: every digest, the labels, the reading of pictures, and Keras's answers."""

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
    """Check every file of a bundle, how this device reads pictures, and the answers of each variant or the named one.

    With `device` "auto", the proof runs on the device that a `Classifier` would choose. Raises BundleError if a file is
    missing or its digest does not match, and ProviderError if the device lacks the requested provider. A bundle that
    was altered and sealed again raises no error; its Verification has not passed.
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
    except BundleError:  # the proof itself will show what does not start
        return "cpu"
