"""The report as data: all findings about a bundle in one document, from which the pages are rendered.

Numbers that are not finite are None. Every text is one line without control characters.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from signs_builder.evaluation.reliability import Reliability
from signs_builder.training.state import Epoch
from signs_export.confidence.temperature import Calibrated
from signs_export.confidence.unsure import Unsure
from signs_export.config import Scaling
from signs_export.gate.checks import Check
from signs_export.gate.verdict import LabelFigures, PairedFigures
from signs_export.variants import Price
from signs_runtime.bundle.manifest import Budget, Precision, Provenance, Speed
from signs_runtime.bundle.strict_json import is_text
from signs_runtime.labels import Thresholds
from signs_runtime.pictures.input_spec import InputSpec


@dataclass(frozen=True)
class Model:
    """The Keras model and its float32 graph."""

    name: str
    parameters: int
    trainable_parameters: int
    input: InputSpec
    scaling: Scaling
    labels: tuple[str, ...]
    thresholds: Thresholds  # of each label; only of a multi-label classifier
    opset: int
    operators: dict[str, int]  # counts, the most frequent first


@dataclass(frozen=True)
class Data:
    name: str
    sha256: str
    pictures: dict[str, int]  # by split
    per_label: dict[str, dict[str, int]]  # by label and split
    passed_over: tuple[str, ...]  # folders that were not read


@dataclass(frozen=True)
class Floor:
    """The rounding error of float32 itself in Keras; see `NoiseFloor`."""

    pictures: int
    max_difference: float | None
    tolerance: float
    says: str


@dataclass(frozen=True)
class Proof:
    """The pictures and limits with which all variants were proved."""

    floor: Floor
    pictures: int
    test_pictures: int
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Share:
    """How many pictures are labelled correctly, with the 95% Wilson interval of their share."""

    correct: int
    total: int
    accuracy: float  # 0..1
    interval_95: tuple[float, float]


@dataclass(frozen=True)
class TriedSetting:
    """A way of reading and scaling pictures, and what Keras gets right with it."""

    stage: str  # the group of settings that were compared, the best first
    options: str  # of `signs export`
    right: Share
    log_likelihood: float | None  # mean, of the labels
    p_value: float | None  # that it is as good as the first; None for the first, and if both are the same


@dataclass(frozen=True)
class Confused:
    """How many pictures show one label and got another one, or the same."""

    shows: str
    said: str
    pictures: int


@dataclass(frozen=True)
class TestFigures(Share):
    """What is labelled correctly on the test pictures; the confusion lists the pairs of labels that occur.

    For a multi-label classifier, a picture counts as correct if all its labels are, and there is no confusion.
    """

    per_label: dict[str, Share]  # of the pictures that show it; for a multi-label classifier, of all pictures
    confusion: tuple[Confused, ...]


@dataclass(frozen=True)
class Answer:
    label: str
    probability: float | None  # 0..1


@dataclass(frozen=True)
class Picture:
    """What a picture shows, and Keras's answer. `place` is its index among the pictures of the proof."""

    place: int
    file: str  # folder and name
    shows: str
    keras: Answer
    keras_margin: float | None  # between its two largest probabilities


@dataclass(frozen=True)
class ComparedPicture(Picture):
    """A picture, and a variant's answer."""

    variant: Answer
    difference: float | None  # the largest difference of a probability
    flipped: bool


@dataclass(frozen=True)
class KerasFigures:
    test: TestFigures
    reliability: Reliability | None  # on the test pictures; None for a multi-label classifier
    calibrated: Calibrated | None  # None without --calibrate
    unsure: Unsure | None  # None without --others
    mistakes: tuple[Picture, ...]  # test pictures that Keras labels wrong, the highest probability first


@dataclass(frozen=True)
class ModelFile:
    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class VariantProof:
    """The gate's verdict on a variant, in numbers."""

    passed: bool
    stage: str | None
    checks: tuple[Check, ...]
    budget: Budget
    pictures: int
    batch_sizes: tuple[int, ...]
    max_difference: float | None
    p99_difference: float | None
    mean_difference: float | None
    same_label: int
    test_pairs: PairedFigures
    by_label: dict[str, LabelFigures]  # only of a multi-label classifier


@dataclass(frozen=True)
class StageFigures:
    """How much a variant and Keras differ at one stage."""

    name: str
    passed: bool
    error: float | None
    limit: float | None
    says: str


@dataclass(frozen=True)
class LayerNoise:
    """The noise that a layer, alone in int8, adds to the answers."""

    layer: str
    noise: float | None  # its power, relative to the answers'
    signal_to_noise_db: float | None
    in_float: bool


@dataclass(frozen=True)
class PairSum:
    """The largest |sum of two products| of an int8 layer; see `Saturation`."""

    layer: str
    bound: int
    measured: int
    at_risk: bool
    saturates: bool


@dataclass(frozen=True)
class Int8Figures:
    in_float: tuple[str, ...]
    all_in_int8: Price | None
    layers: tuple[LayerNoise, ...]  # the noisiest first
    largest_16_bit_sum: int
    pair_sums: tuple[PairSum, ...]


@dataclass(frozen=True)
class Variant:
    name: str
    precision: Precision
    file: ModelFile
    speed: Speed | None  # compared with float32
    peak_memory: int | None  # bytes
    proof: VariantProof
    stages: tuple[StageFigures, ...]
    test: TestFigures
    pictures: tuple[ComparedPicture, ...]  # flipped pictures, or those that differ most
    int8: Int8Figures | None


@dataclass(frozen=True)
class ShiftSuite:
    mean_accuracy: float | None
    shifts: dict[str, Share]


@dataclass(frozen=True)
class TrainedTest:
    """What the training measured on the test pictures."""

    loss: float
    correct: int
    total: int
    accuracy: float
    interval_95: tuple[float, float]
    shift_suite: ShiftSuite


@dataclass(frozen=True)
class Training:
    """`Run.as_json` without what grows with the square of the labels and what the proof measures again."""

    config: dict[str, Any]  # Any: the settings of a `TrainConfig`
    history: tuple[Epoch, ...]
    kept_epoch: int
    stopped_early: bool
    test: TrainedTest


@dataclass(frozen=True)
class Commands:
    """The commands that check the bundle, prove it again and export it again; "" if a command is not known."""

    verify: str
    parity: str
    export: str

    def known(self) -> tuple[str, ...]:
        return tuple(command for command in (self.verify, self.parity, self.export) if command)


@dataclass(frozen=True)
class Document:
    """The whole report."""

    passed: bool
    failed: tuple[str, ...]  # variants
    date: str
    bundle: str  # its folder's name
    model: Model
    data: Data
    proof: Proof
    keras: KerasFigures
    variants: tuple[Variant, ...]
    training: Training | None  # None if this project did not train the model
    warnings: tuple[str, ...]
    contradictions: tuple[str, ...]  # between the model and the pictures, sealed with --as-is
    caveats: tuple[str, ...]  # that apply to every accuracy
    inspection: tuple[TriedSetting, ...]  # empty without --scaling measured
    golden_pictures: int  # 0 if nothing was sealed
    golden_labels: int  # labels with a golden picture
    provenance: Provenance
    commands: Commands


def dump_report(document: Document) -> str:
    """Write the document as strict JSON, in ASCII."""
    return json.dumps(asdict(document), indent=2, allow_nan=False) + "\n"


def shown(text: str) -> str:
    """The text, with escapes for characters that a terminal cannot show."""
    return "".join(character if is_text(character) else ascii(character)[1:-1] for character in text)
