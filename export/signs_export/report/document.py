"""The report as data: all that was found out about a bundle, as one document that pages are rendered from.

Numbers that are not finite are None, and every text is a line that can be shown.
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
    """The Keras model and the graph (float32's) that it became."""

    name: str
    parameters: int
    trainable_parameters: int
    input: InputSpec
    scaling: Scaling
    labels: tuple[str, ...]
    thresholds: Thresholds  # of a multi-label classifier, for each label
    opset: int
    operators: dict[str, int]  # how many, the most frequent first


@dataclass(frozen=True)
class Data:
    name: str
    sha256: str
    pictures: dict[str, int]  # by split
    per_label: dict[str, dict[str, int]]  # by label and split
    passed_over: tuple[str, ...]  # folders beside the splits, that were not read


@dataclass(frozen=True)
class Floor:
    """What float32 itself loses in Keras; see `NoiseFloor`."""

    pictures: int
    max_difference: float | None
    tolerance: float
    says: str


@dataclass(frozen=True)
class Proof:
    """What all variants were proved on."""

    floor: Floor
    pictures: int
    test_pictures: int
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Share:
    """How many pictures are labelled right, with the 95% Wilson interval of the share."""

    correct: int
    total: int
    accuracy: float  # 0..1
    interval_95: tuple[float, float]


@dataclass(frozen=True)
class TriedSetting:
    """How pictures may be read and scaled, and what Keras gets right so."""

    stage: str  # what was tried together, the best first
    options: str  # of `signs export`
    right: Share
    log_likelihood: float | None  # of the labels, on average
    p_value: float | None  # of the first being as good; None: it is the first, or the same


@dataclass(frozen=True)
class Confused:
    """Pictures that show one label and were taken for one, perhaps the same."""

    shows: str
    said: str
    pictures: int


@dataclass(frozen=True)
class TestFigures(Share):
    """What is labelled right on the test pictures; the confusion lists the pairs that occur.

    Of a multi-label classifier, a picture is right with all of its labels, and there is no confusion.
    """

    per_label: dict[str, Share]  # of the pictures that show it; of a multi-label classifier, of all, shown or not
    confusion: tuple[Confused, ...]


@dataclass(frozen=True)
class Answer:
    label: str
    probability: float | None  # 0..1


@dataclass(frozen=True)
class Picture:
    """What a picture shows and what Keras says of it; `place` is its own among the pictures of the proof."""

    place: int
    file: str  # with its folder's name
    shows: str
    keras: Answer
    keras_margin: float | None  # between its two largest probabilities


@dataclass(frozen=True)
class ComparedPicture(Picture):
    """A picture and what a variant says of it."""

    variant: Answer
    difference: float | None  # the largest of a probability
    flipped: bool


@dataclass(frozen=True)
class KerasFigures:
    test: TestFigures
    reliability: Reliability | None  # on the test pictures; None of a multi-label classifier
    calibrated: Calibrated | None  # where a temperature was asked for
    unsure: Unsure | None  # where a threshold was asked for
    mistakes: tuple[Picture, ...]  # test pictures that Keras labels wrong, the surest first


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
    by_label: dict[str, LabelFigures]  # of a multi-label classifier


@dataclass(frozen=True)
class StageFigures:
    """How far a variant and Keras are apart at one stage."""

    name: str
    passed: bool
    error: float | None
    limit: float | None
    says: str


@dataclass(frozen=True)
class LayerNoise:
    """What a layer, alone in int8, brings into the answers."""

    layer: str
    noise: float | None  # its power over the answers'
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
    layers: tuple[LayerNoise, ...]  # those first that bring most noise into the answers
    largest_16_bit_sum: int
    pair_sums: tuple[PairSum, ...]


@dataclass(frozen=True)
class Variant:
    name: str
    precision: Precision
    file: ModelFile
    speed: Speed | None  # beside float32's
    peak_memory: int | None  # bytes
    proof: VariantProof
    stages: tuple[StageFigures, ...]
    test: TestFigures
    pictures: tuple[ComparedPicture, ...]  # flipped ones, or those that differ most
    int8: Int8Figures | None


@dataclass(frozen=True)
class ShiftSuite:
    mean_accuracy: float | None
    shifts: dict[str, Share]


@dataclass(frozen=True)
class TrainedTest:
    """What the training itself measured on the test pictures."""

    loss: float
    correct: int
    total: int
    accuracy: float
    interval_95: tuple[float, float]
    shift_suite: ShiftSuite


@dataclass(frozen=True)
class Training:
    """What `Run.as_json` says, less what grows with the square of the labels and what the proof measures again."""

    config: dict[str, Any]  # Any: the settings of a `TrainConfig`
    history: tuple[Epoch, ...]
    kept_epoch: int
    stopped_early: bool
    test: TrainedTest


@dataclass(frozen=True)
class Commands:
    """How to check the bundle, to prove it again and to make it again; "" where that is not known."""

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
    training: Training | None  # None where this project did not train the model
    warnings: tuple[str, ...]
    contradictions: tuple[str, ...]  # between the model and the pictures, sealed as they are (--as-is)
    caveats: tuple[str, ...]  # on every accuracy
    inspection: tuple[TriedSetting, ...]  # where scaling and reading were measured (--scaling measured)
    golden_pictures: int  # 0 where nothing was sealed
    golden_labels: int  # of which there is a golden picture
    provenance: Provenance
    commands: Commands


def dump_report(document: Document) -> str:
    """Write the document as strict JSON, in ASCII escapes."""
    return json.dumps(asdict(document), indent=2, allow_nan=False) + "\n"


def shown(text: str) -> str:
    """The text with what a terminal cannot show in escapes."""
    return "".join(character if is_text(character) else ascii(character)[1:-1] for character in text)
