"""The manifest of a bundle: the same dataclasses write and read it, and nothing in it is trusted unchecked."""

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from signs_runtime.bundle.strict_json import SINCE, as_json, brief, from_json, is_text, parse_json
from signs_runtime.errors import BundleFormatError, BundleTamperedError
from signs_runtime.figures import Accuracy, Paired
from signs_runtime.labels import MAX_THRESHOLD, MIN_THRESHOLD, UNSURE, Thresholds, find_lookalikes
from signs_runtime.pictures.input_spec import MAX_SIDE, InputSpec

OLDEST_SCHEMA, SCHEMA = 4, 6  # a bundle is written in the oldest schema that can express it
MAX_FILE_BYTES = 2**31 - 1  # protobuf's own limit for a model
MAX_GOLDEN_BYTES = 128 * 2**20
MAX_DOCUMENT_BYTES = 64 * 2**20
MAX_LABELS = 100_000
MAX_GOLDEN_PICTURES = 100_000
MAX_FILES = 64  # variants, or documents; an export writes one to four
_FILTERS_OF_4 = ("nearest", "bilinear", "bicubic", "lanczos")
Kind = Literal["single-label", "multi-label"]
Precision = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class FileRecord:
    """A file of the bundle: a plain name in the bundle's folder, its SHA-256 in hex and its size in bytes."""

    path: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", self.path):
            raise BundleFormatError(
                f"{brief(self.path)} is not a plain file name: a bundle's files lie in its own folder."
            )
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise BundleFormatError(f"{self.path}: {brief(self.sha256)} is not a SHA-256 in hex.")
        check_size(self, MAX_FILE_BYTES)


@dataclass(frozen=True)
class Parity:
    """How far the runtime's answers were from Keras's, on `pictures` read from files, at each of `batch_sizes`."""

    pictures: int
    batch_sizes: tuple[int, ...]
    max_difference: float  # of a probability, in 0..1
    p99_difference: float  # 99 of 100 pictures differ by no more
    mean_difference: float
    same_label: int  # pictures with Keras's label at every batch size


@dataclass(frozen=True)
class Budget:
    """The limits of a variant's gate, on the pictures of its `Parity`; None: no limit."""

    agreement: float  # least share of pictures with Keras's label at every batch size, in 0..1
    max_difference: float | None  # of a probability, in 0..1
    mean_difference: float | None


@dataclass(frozen=True)
class Speed:
    """How fast a variant was compared with float32 at export, one picture at a time."""

    speedup: float  # 2: half of float32's time
    threads: int
    size_only: bool  # too slow to be chosen for its speed, only for its size


@dataclass(frozen=True)
class Variant:
    """One ONNX file and its measurements; a device's answers may differ from Keras's golden answers by `tolerance`."""

    name: str
    file: FileRecord
    precision: Precision
    tolerance: float  # of a probability, in 0..1
    budget: Budget
    parity: Parity
    test_accuracy: Accuracy
    test_pairs: Paired
    in_float: tuple[str, ...]  # layers of an int8 variant that stay in float, because int8 would break the budget


@dataclass(frozen=True)
class Golden:
    """The device's own proof: the file of the `GoldenPictures`, and how many of them have Keras's answers."""

    file: FileRecord
    pictures: int

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise BundleFormatError("The manifest has no golden pictures, so a device could not prove the bundle.")
        if self.pictures > MAX_GOLDEN_PICTURES:
            raise BundleFormatError(f"{self.pictures:,} golden pictures exceed the limit of {MAX_GOLDEN_PICTURES:,}.")
        check_size(self.file, MAX_GOLDEN_BYTES)


@dataclass(frozen=True)
class Provenance:
    """The origin of the bundle."""

    data: str
    data_sha256: str
    pictures: dict[str, int]  # split -> number of pictures
    model_sha256: str  # of the Keras weights, in the order of the model
    scaling: str
    seed: int | None  # None: this project did not train the model
    versions: dict[str, str]


@dataclass(frozen=True)
class Run:
    """The export that made the bundle: everything that may differ when the same weights are exported again."""

    created: str  # ISO 8601, UTC
    command: str
    speeds: dict[str, Speed]  # variant -> its speed; empty if float32 was the only variant
    peak_memory: dict[str, int]  # variant -> bytes of a process that labels one picture at a time with this runtime
    documents: tuple[FileRecord, ...]  # for people


@dataclass(frozen=True)
class Manifest:
    """Everything that a bundle claims about itself."""

    schema: int
    labels: tuple[str, ...]
    input: InputSpec
    variants: tuple[Variant, ...]
    golden: Golden
    provenance: Provenance
    run: Run
    kind: Kind = field(default="single-label", metadata={SINCE: 5})
    thresholds: Thresholds = field(default=(), metadata={SINCE: 5})  # one for each label of a multi-label classifier
    temperature: float = field(default=1.0, metadata={SINCE: 6})  # the graph divides the logits by it
    unsure_below: float = field(default=0.0, metadata={SINCE: 6})  # the default of `Classifier`'s `threshold`

    def __post_init__(self) -> None:
        if not self.variants:
            raise BundleFormatError("The manifest lists no variants.")
        if len(self.variants) > MAX_FILES or len(self.run.documents) > MAX_FILES:
            raise BundleFormatError(f"The manifest lists more than {MAX_FILES} variants or documents.")
        for document in self.run.documents:
            check_size(document, MAX_DOCUMENT_BYTES)
        paths, names = [file.path for file in self.files], [variant.name for variant in self.variants]
        if len(set(paths)) != len(paths) or len(set(names)) != len(names):
            raise BundleFormatError(f"The manifest lists a file or a variant twice: {brief(paths)}, {brief(names)}.")
        check_labels(self.labels)
        check_input(self.input)
        check_thresholds(self.thresholds, self.labels)
        if (self.kind == "multi-label") != bool(self.thresholds):
            raise BundleFormatError(f"A {self.kind} classifier cannot have {len(self.thresholds)} thresholds.")
        check_unsure(self.unsure_below, self.labels, self.thresholds)
        if not 0 < self.temperature < math.inf:
            raise BundleFormatError(f"Logits cannot be divided by a temperature of {self.temperature}.")
        needed = needed_schema(self.input, self.thresholds, is_adjusted=self.is_adjusted)
        if self.schema != needed:
            raise BundleFormatError(
                f"The manifest's content is of schema {needed}, but the manifest claims schema {self.schema}."
            )

    @property
    def files(self) -> tuple[FileRecord, ...]:
        return (*(variant.file for variant in self.variants), self.golden.file, *self.run.documents)

    @property
    def is_adjusted(self) -> bool:
        """Whether the temperature or `unsure_below` was fitted to pictures."""
        return self.temperature != 1 or self.unsure_below > 0

    @property
    def digest(self) -> str:
        """The bundle's seal, which identifies its content: two exports of the same weights share it."""
        return seals_of(as_json(self))["seal"]


def check_labels(labels: tuple[str, ...]) -> None:
    """Refuse labels that cannot name a classifier's outputs: too few, too many, alike, or with control characters."""
    if not 2 <= len(labels) <= MAX_LABELS or len(set(labels)) != len(labels):
        raise BundleFormatError(
            f"A classifier has two or more different labels, at most {MAX_LABELS:,}; these are {brief(labels)}."
        )
    if unprintable := [label for label in labels if not is_text(label)]:
        raise BundleFormatError(
            f"A label must be one line of text without control characters; change {brief(unprintable)}."
        )
    if alike := find_lookalikes(labels):
        raise BundleFormatError(f"The labels {alike[0]!a:.80} and {alike[1]!a:.80} look the same; rename one of them.")


def check_thresholds(thresholds: Thresholds, labels: tuple[str, ...]) -> None:
    """Refuse thresholds that are not one probability for each label; a single-label classifier has none."""
    if thresholds and (
        len(thresholds) != len(labels) or not all(MIN_THRESHOLD <= each <= MAX_THRESHOLD for each in thresholds)
    ):
        raise BundleFormatError(
            f"A multi-label classifier needs a threshold between 0 and 1 for each of its {len(labels)} labels, "
            f"not {brief(thresholds)}."
        )


def check_unsure(unsure_below: float, labels: tuple[str, ...], thresholds: Thresholds) -> None:
    """Refuse an `unsure_below` that is not a probability, or that a multi-label classifier has besides thresholds."""
    if not 0 <= unsure_below <= 1 or (unsure_below and thresholds):
        raise BundleFormatError(
            f"unsure_below={unsure_below} must be a probability from 0 to 1, and 0 for a multi-label classifier."
        )
    if unsure_below and UNSURE in labels:
        raise BundleFormatError(
            f"A label is called {UNSURE!r}, which is reserved for pictures of none of the labels; rename it."
        )


def needed_schema(spec: InputSpec, thresholds: Thresholds, *, is_adjusted: bool) -> int:
    """The oldest schema that can express how a bundle's pictures are read and how its labels are decided."""
    if is_adjusted:
        return 6
    is_old = spec.colour in ("RGB", "L") and spec.resize in _FILTERS_OF_4 and spec.fit == "stretch"
    return 4 if is_old and spec.exif == "turned" and not thresholds else 5


def check_size(file: FileRecord, most: int) -> None:
    """Refuse a file that claims to be larger than files of its kind may be."""
    if file.bytes > most:
        raise BundleFormatError(f"{file.path} claims {file.bytes:,} bytes; at most {most:,} are allowed.")


def check_input(spec: InputSpec) -> None:
    """Refuse an input size that no picture classifier has."""
    if not (0 < spec.height <= MAX_SIDE and 0 < spec.width <= MAX_SIDE):
        raise BundleFormatError(
            f"An input of {spec.height}x{spec.width} pixels is not possible: each side has 1 to {MAX_SIDE}."
        )


def dump_manifest(manifest: Manifest) -> str:
    """Write a manifest as indented JSON, with its seals."""
    body = as_json(manifest)
    return json.dumps({**body, **seals_of(body)}, indent=2, ensure_ascii=False) + "\n"


def seals_of(body: dict[str, Any]) -> dict[str, str]:  # Any: JSON
    """The digests at the end of a manifest: `seal` covers everything except the run, `run_seal` covers the run."""
    lasting = {name: value for name, value in body.items() if name != "run"}
    return {"seal": _digest(lasting), "run_seal": _digest(body.get("run"))}


def _digest(value: Any) -> str:  # Any: JSON
    """SHA-256 of the canonical JSON: sorted keys, no spaces, UTF-8."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def parse_manifest(text: bytes) -> Manifest:
    """Read a manifest, starting with its schema number.

    Raises BundleFormatError for anything that signs-edge would not have written, and BundleTamperedError if a seal does
    not match.
    """
    raw = parse_json(text, "manifest.json")
    if not isinstance(raw, dict) or "schema" not in raw:
        raise BundleFormatError("manifest.json has no schema number: this is not a signs-edge bundle.")
    if raw["schema"] not in range(OLDEST_SCHEMA, SCHEMA + 1) or type(raw["schema"]) is not int:
        raise BundleFormatError(
            f"The bundle is of schema {brief(raw['schema'])}, but this runtime reads {OLDEST_SCHEMA} to {SCHEMA}. "
            "Install the signs-runtime that the bundle was made for, or export the bundle again."
        )
    found = {name: raw.pop(name, None) for name in ("seal", "run_seal")}
    try:
        seals = seals_of(raw)
    except (RecursionError, ValueError) as error:
        raise BundleFormatError(f"The seal of manifest.json cannot be computed ({error!s:.200}).") from error
    if found != seals:
        raise BundleTamperedError("manifest.json was changed after it was sealed; copy or export the bundle again.")
    return from_json(Manifest, raw, "manifest.json")
