"""The pictures of a proof and everything that Keras computes for them, once for all variants."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Split
from signs_export.errors import CalibrationError, ExportError
from signs_export.gate.noise_floor import LARGEST, NoiseFloor, float64_of, measure_floor, work_of
from signs_export.gate.probes import make_probes
from signs_export.gate.trace import PICTURES, KerasStages, keras_stages
from signs_export.int8.calibration import Calibration, choose_calibration
from signs_export.job import Job
from signs_export.source.reference import Reference
from signs_runtime.decisions import decide
from signs_runtime.figures import Accuracy, Paired
from signs_runtime.labels import Thresholds
from signs_runtime.pictures.input_spec import InputSpec


@dataclass(frozen=True)
class Answers:
    """The pictures of a proof and Keras's answers to them."""

    labels: tuple[str, ...]
    thresholds: Thresholds  # of a multi-label classifier; () if a picture has one label
    input: InputSpec
    files: tuple[Path, ...]
    images: NDArray[np.uint8]  # (n, h, w, c), as Keras saw them
    truth: NDArray[np.bool_]  # (n, labels)
    is_test: NDArray[np.bool_]  # (n,)
    expected: NDArray[np.float32]  # (n, labels)
    rebuilt: NDArray[np.float32]  # the answers of Keras 3, for a model that Keras 2 saved; otherwise the same

    def accuracy(self, probabilities: NDArray[np.float32]) -> Accuracy:
        """How many test pictures these probabilities label right; multi-label: with all labels right."""
        return Accuracy(int(self._right(probabilities).sum()), int(self.is_test.sum()))

    def decided(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """The labels that these probabilities give to each picture, (n, labels)."""
        return decide(probabilities, self.thresholds)

    def paired(self, probabilities: NDArray[np.float32]) -> Paired:
        """Keras's labels and these, paired on the test pictures."""
        return _paired(self._right(self.expected), self._right(probabilities))

    def paired_by_label(self, probabilities: NDArray[np.float32]) -> dict[str, Paired]:
        """For a multi-label classifier: Keras's decisions and these, paired on the test pictures, for each label."""
        keras, other = self.right_decisions(self.expected).T, self.right_decisions(probabilities).T
        return dict(zip(self.labels, map(_paired, keras, other), strict=True)) if self.thresholds else {}

    def right_decisions(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each label is decided right on each test picture, (tests, labels)."""
        right: NDArray[np.bool_] = (self.decided(probabilities) == self.truth)[self.is_test]
        return right

    def _right(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(self.right_decisions(probabilities).all(axis=1))


@dataclass(frozen=True)
class Evidence(Answers):
    """The pictures of a proof and everything that Keras computes for them."""

    probes: tuple[Path, ...]  # pictures of other sizes and kinds, made from the first pictures: see `make_probes`
    floor: NoiseFloor
    stages: KerasStages  # for a few pictures, evenly chosen
    weights_sha256: str


def _paired(keras: NDArray[np.bool_], other: NDArray[np.bool_]) -> Paired:
    return Paired(len(keras), int((keras & ~other).sum()), int((other & ~keras).sum()))


@contextmanager
def asked(job: Job) -> Iterator[tuple[Answers, Path]]:
    """Get Keras's answers to the test pictures, and to others, evenly chosen, up to the limit. Also yields a folder.

    The folder is temporary. Pictures that are not files (HDF5, synthetic) are written to it, so that the runtime reads
    files. Raises ImageError for a picture that cannot be read.
    """
    reference, dataset = job.reference, job.dataset
    test = dataset.test.thin(job.config.parity_pictures)
    others = dataset.all_but_test.thin(job.config.parity_pictures - len(test))
    with tempfile.TemporaryDirectory() as folder:
        files = test.files(Path(folder, "test"), dataset.labels) + others.files(Path(folder, "train"), dataset.labels)
        chosen = Split(files, np.concatenate([test.labels, others.labels]))
        images = chosen.images(reference.input)
        with job.progress("Asking Keras", len(images)) as on_done:
            rebuilt = reference.probabilities(images, on_done)
        _refuse_unanswered(rebuilt, files)
        answers = Answers(
            labels=dataset.labels,
            thresholds=reference.thresholds,
            input=reference.input,
            files=tuple(files),
            images=images,
            truth=chosen.shown(len(dataset.labels)),
            is_test=np.arange(len(chosen)) < len(test),
            expected=reference.original_probabilities(images) if reference.original is not None else rebuilt,
            rebuilt=rebuilt,
        )
        yield answers, Path(folder)


def _refuse_unanswered(given: NDArray[np.float32], files: Sequence[Path]) -> None:
    """Raise ExportError if Keras itself answers a picture with NaN or infinity."""
    unanswered = np.flatnonzero(~np.isfinite(given).all(axis=1))
    if len(unanswered):
        named = ", ".join(files[i].name for i in unanswered[:5])
        raise ExportError(
            f"Keras itself answers {len(unanswered):,} of {len(given):,} pictures with NaN or infinite numbers, "
            f"such as {named}. Look for a division by zero in the model; a picture of one colour may cause it."
        )


def evidence_of(job: Job, answers: Answers, folder: Path, calibration: Calibration | None = None) -> Evidence:
    """Compute the rest of the evidence for these pictures; probes made from them are written to `folder`.

    `calibration` holds the pictures that an int8 variant is calibrated on, if there is one.
    """
    reference, images = job.reference, answers.images
    double = float64_of(reference)
    calibrated = None if calibration is None else calibration.images
    with job.progress("Measuring Keras's layers", 0):
        stages = keras_stages(reference, double, images[:: -(-len(images) // PICTURES)], calibrated)
    work = work_of(reference, stages.values)
    floor = measure_floor(reference, double, images, answers.rebuilt, work, progress=job.progress)
    if (came := reference.untempered or reference).original is not None:
        pair = (answers.expected, answers.rebuilt)
        if came is not reference:  # only Keras 3's model has the temperature, which also divides what float32 loses
            pair = (came.original_probabilities(images), came.probabilities(images))
        allowed = min(floor.tolerance * max(1.0, reference.temperature), LARGEST)
        lost = _check_rebuilt(came, images, *pair, allowed)
        floor = replace(floor, rebuilt=lost, has_temperature=came is not reference)
    return Evidence(
        **vars(answers),
        probes=_write_probes(images, reference.input, folder),
        floor=floor,
        stages=stages,
        weights_sha256=reference.weights_sha256,
    )


@contextmanager
def collected(job: Job) -> Iterator[Evidence]:
    """Collect all evidence at once; see `asked`."""
    calibration = None
    if "int8" in job.config.variants:
        with suppress(CalibrationError):  # the bundle is still compared
            calibration = choose_calibration(job.dataset, job.reference.input, job.config.int8.calibration_pictures)
    with asked(job) as (answers, folder):
        yield evidence_of(job, answers, folder, calibration)


def _check_rebuilt(
    came: Reference,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
    rebuilt: NDArray[np.float32],
    tolerance: float,
) -> float:
    """How far a model that Keras 2 saved is off in Keras 3. Raises ExportError beyond what float32 may lose."""
    lost = np.abs(expected - rebuilt).max(axis=1)
    if came.original is not None and not lost.max() <= tolerance:
        worst = came.scaled(images[[int(lost.argmax())]])
        raise ExportError(
            f"Keras 2 saved this model. In Keras 3 its probabilities differ by {lost.max():.1e}, more than the "
            f"{tolerance:.1e} that float32 may lose. Where it first differs: "
            f"{came.original.first_difference(worst)}. Rebuild the model in Keras 3 without that layer, and report "
            "this as a bug."
        )
    return float(lost.max())


def _write_probes(images: NDArray[np.uint8], spec: InputSpec, folder: Path) -> tuple[Path, ...]:
    paths = []
    for name, content in make_probes(images, spec).items():
        paths.append(folder / f"probe-{name}")
        paths[-1].write_bytes(content)
    return tuple(paths)
