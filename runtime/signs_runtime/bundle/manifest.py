"""The manifest of a bundle: the same dataclasses write it and read it, and nothing in it is taken on trust."""

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

OLDEST_SCHEMA, SCHEMA = 4, 6  # a bundle is written in the oldest that can say all of it
MAX_FILE_BYTES = 2**31 - 1  # protobuf's own limit for a model
MAX_GOLDEN_BYTES = 128 * 2**20
MAX_DOCUMENT_BYTES = 64 * 2**20
MAX_LABELS = 100_000
MAX_GOLDEN_PICTURES = 100_000
MAX_FILES = 64  # of a kind; an export writes one to four
_FILTERS_OF_4 = ("nearest", "bilinear", "bicubic", "lanczos")
Kind = Literal["single-label", "multi-label"]
Precision = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class FileRecord:
    """A file of the bundle: a plain name in its folder, its SHA-256 in hex and its size."""

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
    """How far the runtime's answers were from Keras's, over `pictures` read from files at each of `batch_sizes`."""

    pictures: int
    batch_sizes: tuple[int, ...]
    max_difference: float  # of a probability, in 0..1
    p99_difference: float  # 99 of 100 pictures differ by no more
    mean_difference: float
    same_label: int  # pictures with Keras's label at every batch size


@dataclass(frozen=True)
class Budget:
    """What a proof demands of a variant on the pictures of its parity; None: not asked."""

    agreement: float  # least share of pictures with Keras's label at every batch size, in 0..1
    max_difference: float | None  # of a probability, in 0..1
    mean_difference: float | None


@dataclass(frozen=True)
class Speed:
    """How fast a variant was beside float32 where the bundle was made, one picture at a time."""

    speedup: float  # 2: half of float32's time
    threads: int
    size_only: bool  # too slow to be chosen for its speed


@dataclass(frozen=True)
class Variant:
    """One ONNX file and what was measured on it; a device may differ from Keras's golden answers by `tolerance`."""

    name: str
    file: FileRecord
    precision: Precision
    tolerance: float  # of a probability, in 0..1
    budget: Budget
    parity: Parity
    test_accuracy: Accuracy
    test_pairs: Paired
    in_float: tuple[str, ...]  # layers that int8 does not reach, since they would have broken the budget


@dataclass(frozen=True)
class Golden:
    """The device's self-test: the file of the `signs_runtime.golden.GoldenPictures`, and how many Keras answered."""

    file: FileRecord
    pictures: int

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise BundleFormatError("The manifest has no golden pictures, so that a device could not check itself.")
        if self.pictures > MAX_GOLDEN_PICTURES:
            raise BundleFormatError(f"{self.pictures:,} golden pictures are more than {MAX_GOLDEN_PICTURES:,}.")
        check_size(self.file, MAX_GOLDEN_BYTES)


@dataclass(frozen=True)
class Provenance:
    """Where the bundle comes from."""

    data: str
    data_sha256: str
    pictures: dict[str, int]  # split -> how many
    model_sha256: str  # of the Keras weights, in the order of the model
    scaling: str
    seed: int | None  # None: this project did not train the model
    versions: dict[str, str]


@dataclass(frozen=True)
class Run:
    """The one export that made the bundle: all that differs when the same weights are exported again."""

    created: str  # ISO 8601, UTC
    command: str
    speeds: dict[str, Speed]  # variant -> as measured; none where float32 was alone
    peak_memory: dict[str, int]  # variant -> bytes of a process that labels one picture at a time with this runtime
    documents: tuple[FileRecord, ...]  # for people


@dataclass(frozen=True)
class Manifest:
    """All that a bundle claims."""

    schema: int
    labels: tuple[str, ...]
    input: InputSpec
    variants: tuple[Variant, ...]
    golden: Golden
    provenance: Provenance
    run: Run
    kind: Kind = field(default="single-label", metadata={SINCE: 5})
    thresholds: Thresholds = field(default=(), metadata={SINCE: 5})  # of a multi-label classifier, for each label
    temperature: float = field(default=1.0, metadata={SINCE: 6})  # that the graph divides the logits by
    unsure_below: float = field(default=0.0, metadata={SINCE: 6})  # what `Classifier` takes for `threshold` by itself

    def __post_init__(self) -> None:
        if not self.variants:
            raise BundleFormatError("The manifest lists no variant.")
        if len(self.variants) > MAX_FILES or len(self.run.documents) > MAX_FILES:
            raise BundleFormatError(f"The manifest lists more than {MAX_FILES} variants or documents.")
        for document in self.run.documents:
            check_size(document, MAX_DOCUMENT_BYTES)
        paths, names = [file.path for file in self.files], [variant.name for variant in self.variants]
        if len(set(paths)) != len(paths) or len(set(names)) != len(names):
            raise BundleFormatError(f"The manifest has a file or a variant twice: {brief(paths)}, {brief(names)}.")
        check_labels(self.labels)
        check_input(self.input)
        check_thresholds(self.thresholds, self.labels)
        if (self.kind == "multi-label") != bool(self.thresholds):
            raise BundleFormatError(f"A {self.kind} classifier cannot have {len(self.thresholds)} thresholds.")
        check_unsure(self.unsure_below, self.labels, self.thresholds)
        if not 0 < self.temperature < math.inf:
            raise BundleFormatError(f"A temperature of {self.temperature} is none that logits can be divided by.")
        needed = needed_schema(self.input, self.thresholds, is_adjusted=self.is_adjusted)
        if self.schema != needed:
            raise BundleFormatError(f"What the manifest says is of schema {needed}, and it claims {self.schema}.")

    @property
    def files(self) -> tuple[FileRecord, ...]:
        return (*(variant.file for variant in self.variants), self.golden.file, *self.run.documents)

    @property
    def is_adjusted(self) -> bool:
        """Whether its probabilities, or what counts as unsure, were fitted to pictures."""
        return self.temperature != 1 or self.unsure_below > 0

    @property
    def digest(self) -> str:
        """The bundle's name for what it is: its seal, which two exports of the same weights share."""
        return seals_of(as_json(self))["seal"]


def check_labels(labels: tuple[str, ...]) -> None:
    """Refuse labels that cannot name the outputs of a classifier: fewer than two, or one twice."""
    if not 2 <= len(labels) <= MAX_LABELS or len(set(labels)) != len(labels):
        raise BundleFormatError(
            f"A classifier has two or more labels, at most {MAX_LABELS:,}, each once; these are {brief(labels)}."
        )
    if unprintable := [label for label in labels if not is_text(label)]:
        raise BundleFormatError(f"A label is a line of text, without control characters, unlike {brief(unprintable)}.")
    if alike := find_lookalikes(labels):
        raise BundleFormatError(f"The labels {alike[0]!a:.80} and {alike[1]!a:.80} look the same; rename one of them.")


def check_thresholds(thresholds: Thresholds, labels: tuple[str, ...]) -> None:
    """Refuse what is not a probability for each label; a single-label classifier has no thresholds."""
    if thresholds and (
        len(thresholds) != len(labels) or not all(MIN_THRESHOLD <= each <= MAX_THRESHOLD for each in thresholds)
    ):
        raise BundleFormatError(f"{brief(thresholds)} are not thresholds in 0 to 1 for {len(labels)} labels.")


def check_unsure(unsure_below: float, labels: tuple[str, ...], thresholds: Thresholds) -> None:
    """Refuse what is no probability to be unsure below, and one beside the thresholds of a multi-label classifier."""
    if not 0 <= unsure_below <= 1 or (unsure_below and thresholds):
        raise BundleFormatError(f"{unsure_below} is no probability below which a picture is none of the labels.")
    if unsure_below and UNSURE in labels:
        raise BundleFormatError(f"A label is called {UNSURE!r}, as pictures are that are none of the labels.")


def needed_schema(spec: InputSpec, thresholds: Thresholds, *, is_adjusted: bool) -> int:
    """The oldest schema that can say how a bundle's pictures are read, and what its answers decide."""
    if is_adjusted:
        return 6
    is_old = spec.colour in ("RGB", "L") and spec.resize in _FILTERS_OF_4 and spec.fit == "stretch"
    return 4 if is_old and spec.exif == "turned" and not thresholds else 5


def check_size(file: FileRecord, most: int) -> None:
    """Refuse a file that claims to be larger than its kind ever is."""
    if file.bytes > most:
        raise BundleFormatError(f"{file.path} claims {file.bytes:,} bytes, more than the {most:,} of the largest.")


def check_input(spec: InputSpec) -> None:
    """Refuse an input size that no picture classifier has."""
    if not (0 < spec.height <= MAX_SIDE and 0 < spec.width <= MAX_SIDE):
        raise BundleFormatError(f"An input of {spec.height}x{spec.width} pixels is outside 1 to {MAX_SIDE}.")


def dump_manifest(manifest: Manifest) -> str:
    """Write a manifest as JSON for people, with its seals."""
    body = as_json(manifest)
    return json.dumps({**body, **seals_of(body)}, indent=2, ensure_ascii=False) + "\n"


def seals_of(body: dict[str, Any]) -> dict[str, str]:  # Any: JSON
    """The digests that a manifest ends with: `seal` is over everything but the run, `run_seal` over the run."""
    lasting = {name: value for name, value in body.items() if name != "run"}
    return {"seal": _digest(lasting), "run_seal": _digest(body.get("run"))}


def _digest(value: Any) -> str:  # Any: JSON
    """SHA-256 of the canonical JSON: sorted keys, no spaces, UTF-8."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def parse_manifest(text: bytes) -> Manifest:
    """Read a manifest, schema first.

    Raises BundleFormatError for anything that this version would not have written, and BundleTamperedError where a
    seal does not match.
    """
    raw = parse_json(text, "manifest.json")
    if not isinstance(raw, dict) or "schema" not in raw:
        raise BundleFormatError("manifest.json has no schema number: this is not a signs-edge bundle.")
    if raw["schema"] not in range(OLDEST_SCHEMA, SCHEMA + 1) or type(raw["schema"]) is not int:
        raise BundleFormatError(
            f"The bundle is of schema {brief(raw['schema'])} and this runtime reads {OLDEST_SCHEMA} to {SCHEMA}; "
            "install the signs-runtime that the bundle was made for, or make the bundle again."
        )
    found = {name: raw.pop(name, None) for name in ("seal", "run_seal")}
    try:
        seals = seals_of(raw)
    except (RecursionError, ValueError) as error:
        raise BundleFormatError(f"manifest.json cannot be sealed ({error!s:.200}).") from error
    if found != seals:
        raise BundleTamperedError("manifest.json was changed after it was sealed; make the bundle again.")
    return from_json(Manifest, raw, "manifest.json")
