"""The device's own proof: every digest, then the golden pictures against the answers that Keras gave."""

import os
from dataclasses import dataclass

import numpy as np

from signs_runtime.bundle import open_bundle
from signs_runtime.classifier import Classifier


@dataclass(frozen=True)
class Verification:
    """How one variant answered the golden pictures on this device."""

    variant: str
    pictures: int
    same_label: int
    max_difference: float  # of a probability to Keras's; nan where the model gave nan
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.same_label == self.pictures and self.max_difference <= self.tolerance


def verify(
    path: str | os.PathLike[str], *, variant: str | None = None, device: str = "cpu", threads: int | None = None
) -> tuple[Verification, ...]:
    """Check every file of a bundle and run its golden pictures through each variant, or the one named.

    Raises BundleError where a file is missing or altered; a wrong answer is no error but a Verification that has not
    passed.
    """
    bundle = open_bundle(path)
    for record in bundle.manifest.files:
        bundle.read(record)
    images, expected = bundle.golden()
    chosen = bundle.manifest.variants if variant is None else (bundle.variant(variant),)
    results = []
    for each in chosen:
        classifier = Classifier(path, variant=each.name, device=device, threads=threads)
        given = classifier.probabilities(images)
        results.append(
            Verification(
                variant=each.name,
                pictures=len(images),
                same_label=int(np.sum(given.argmax(axis=1) == expected.argmax(axis=1))),
                max_difference=float(np.abs(given - expected).max()),
                tolerance=each.tolerance,
            )
        )
    return tuple(results)
