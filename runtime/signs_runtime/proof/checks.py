"""The checks of a device's proof: labels, pictures, answers. Each result is a value with a sentence."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from signs_runtime.bundle.golden import GoldenPictures
from signs_runtime.decisions import name_decision
from signs_runtime.errors import ImageError
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import decode, read_image
from signs_runtime.proof.answers import Comparison

# Of 255: JPEG decoders may round differently. Measured 0 from Pillow 11.3 (libjpeg-turbo 3.1) to 13.0 (3.2).
PIXEL_ATOL = 3  # any pixel
PIXEL_MEAN_ATOL = 1.0
_SHOWN = 5  # labels in a message


@dataclass(frozen=True)
class Check:
    """The result of one check: whether it passed, and a sentence about it."""

    name: str
    passed: bool
    says: str


@dataclass(frozen=True)
class Answers(Comparison):
    """One variant's answers to the golden pictures on this device, compared with Keras's."""

    variant: str
    tolerance: float  # of a probability, in 0..1
    labels: tuple[str, ...]
    error: str = ""  # why there is no answer

    @property
    def passed(self) -> bool:
        """Whether every picture has Keras's label, and every probability is within the tolerance."""
        return self.same_label == self.pictures and self.max_difference <= self.tolerance

    @property
    def says(self) -> str:
        """A sentence: why there is no answer, or which picture differs most, flipped ones first."""
        if self.error:
            return f"{self.variant}: {self.error}"
        (i,) = self.worst(1)
        return (
            f"{self.variant}: same label on {self.same_label} of {self.pictures}, difference at most "
            f"{self.max_difference:.1e} (tolerance {self.tolerance:.1e}); the worst is golden picture {i + 1}: "
            f"Keras {name_decision(self.labels, self.expected[i], self.thresholds)}, this device "
            f"{name_decision(self.labels, self.given[i], self.thresholds)}"
        )


def compare_labels(golden: GoldenPictures, labels: tuple[str, ...]) -> Check:
    """Compare the bundle's labels with those of the golden pictures."""
    changed = [i for i, (was, is_now) in enumerate(zip(golden.labels, labels, strict=True)) if was != is_now]
    if not changed:
        return Check("labels", True, f"all {len(labels)} are those of the golden pictures")
    how = "permuted" if set(labels) == set(golden.labels) else "renamed"
    shown = ", ".join(f"output {i} was {golden.labels[i]!r} and is now {labels[i]!r}" for i in changed[:_SHOWN])
    more = f", and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    return Check("labels", False, f"labels were {how} after the proof: {shown}{more}")


def compare_pictures(golden: GoldenPictures, spec: InputSpec) -> Check:
    """Read the golden picture files and compare their pixels with what training saw."""
    largest = 0
    for i, (file, expected) in enumerate(zip(golden.files, golden.file_images, strict=True), 1):
        try:
            given = read_image(io.BytesIO(file), spec)
        except ImageError as error:
            return Check(
                "pictures",
                False,
                f"this device cannot read golden picture file {i}, but training could: {error}",
            )
        difference = np.abs(given.astype(np.int16) - expected)
        if difference.max() > PIXEL_ATOL or difference.mean() > PIXEL_MEAN_ATOL:
            return Check(
                "pictures",
                False,
                f"this device reads pictures differently from training: golden picture file {i} of {len(golden.files)} "
                f"({_described(file)}) differs by up to {difference.max()} of 255, on average {difference.mean():.1f}; "
                f"rounding explains at most {PIXEL_ATOL} and {PIXEL_MEAN_ATOL}. Try the Pillow version that made the "
                "bundle (see `signs info`)",
            )
        largest = max(largest, int(difference.max()))
    return Check(
        "pictures",
        True,
        f"{len(golden.files)} files are read as training read them; pixels differ by at most {largest} of 255",
    )


def compare_answers(answers: Sequence[Answers]) -> Check:
    """Check all variants' answers to the golden pictures; if any differ, name the likely cause."""
    failed = [each for each in answers if not each.passed]
    if not failed:
        largest = max(each.max_difference for each in answers)
        return Check(
            "answers", True, f"every variant answers as Keras did; probabilities differ by at most {largest:.1e}"
        )
    names = ", ".join(each.variant for each in failed)
    if len(answers) == 1:
        likely = (
            "the model does not give the golden answers: one of the two was changed after the proof, or this device "
            "computes wrongly"
        )
    elif len(failed) < len(answers):
        others = ", ".join(each.variant for each in answers if each.passed)
        likely = (
            f"the fault lies with {names}, changed after the proof or computed wrongly by this device: {others} "
            "answered as Keras did"
        )
    elif _agree(answers):
        likely = (
            "all variants agree with each other, but differ from the golden answers: the golden answers or pictures "
            "were changed after the proof, or belong to another model"
        )
    else:
        likely = (
            "no variant answers as Keras did, and they differ from each other: this device computes wrongly, or "
            "several files were changed after the proof"
        )
    return Check("answers", False, "\n    ".join([likely, *(each.says for each in failed)]))


def _agree(answers: Sequence[Answers]) -> bool:
    """Whether the variants agree with each other on every picture, within their tolerances."""
    first, *others = answers
    return all(
        Comparison(first.given, each.given, first.thresholds).same_label == first.pictures
        and bool(np.abs(first.given - each.given).max() <= first.tolerance + each.tolerance)
        for each in others
    )


def _described(file: bytes) -> str:
    """The file's format, size and mode, such as "JPEG, 256x192, RGB"."""
    with decode(io.BytesIO(file)) as image:
        return f"{image.format}, {image.width}x{image.height}, {image.mode}"
