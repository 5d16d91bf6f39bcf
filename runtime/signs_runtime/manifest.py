"""The manifest of a bundle: the same dataclasses write it and read it, and nothing in it is taken on trust."""

import hashlib
import json
import math
import re
import reprlib
import types
import unicodedata
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from signs_runtime.errors import BundleFormatError, BundleTamperedError
from signs_runtime.input_spec import InputSpec

SCHEMA = 4
MAX_MANIFEST_BYTES = 8 * 2**20  # 100,000 labels take 3
_Z = 1.959964  # the normal distribution's 97.5% point
MAX_SIDE = 8192  # pixels; a larger model input is a typing error or an attack
MAX_FILE_BYTES = 2**31 - 1  # protobuf's own limit for a model
MAX_GOLDEN_BYTES = 128 * 2**20
MAX_DOCUMENT_BYTES = 64 * 2**20
MAX_LABELS = 100_000
MAX_GOLDEN_PICTURES = 100_000
MAX_FILES = 64  # of a kind; an export writes one to four
_MAX_ITEMS = 100_000  # of any list
_MAX_TEXT = 65_536  # characters; the longest is the command that made the bundle
_MAX_DIGITS = 19  # of an integer; those of 2**63

Precision = Literal["float32", "float16", "int8"]

T = TypeVar("T")


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
class Accuracy:
    """Labels right among the pictures that were looked at."""

    correct: int
    total: int

    @property
    def share(self) -> float:
        """0..1."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson score interval, 0..1 (Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
        z, n, p = _Z, self.total, self.share
        middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        low, high = (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)
        return max(0.0, min(p, low)), min(1.0, max(p, high))  # rounding must not leave the share outside

    def as_json(self) -> dict[str, Any]:
        """What the manifest holds, and what follows from it."""
        return {"correct": self.correct, "total": self.total, "accuracy": self.share, "interval_95": self.interval}

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.correct:,} of {self.total:,} ({self.share:.1%}; 95%: {low:.1%} to {high:.1%})"


@dataclass(frozen=True)
class Paired:
    """Keras and a variant on the same test pictures: how many one alone labels right."""

    total: int
    only_keras: int
    only_variant: int

    @property
    def p_value(self) -> float:
        """McNemar's exact test, two-sided, of both being equally good (McNemar, 1947, doi:10.1007/BF02295996)."""
        n, fewer = self.only_keras + self.only_variant, min(self.only_keras, self.only_variant)
        return min(1.0, sum(math.comb(n, i) for i in range(fewer + 1)) / 2 ** (n - 1)) if n else 1.0

    @property
    def is_worse(self) -> bool:
        """The variant gets fewer right, and by more than chance explains (p < 0.05)."""
        return self.only_keras > self.only_variant and self.p_value < 0.05

    @property
    def drop(self) -> float:
        """The accuracy that the variant loses, in -1..1."""
        return (self.only_keras - self.only_variant) / self.total

    @property
    def drop_interval(self) -> tuple[float, float]:
        """The drop's 95% interval (Agresti and Min, 2005, https://doi.org/10.1002/sim.1781)."""
        n, lost, won = self.total + 2, self.only_keras + 0.5, self.only_variant + 0.5
        middle = (lost - won) / n
        spread = _Z * math.sqrt(lost + won - (lost - won) ** 2 / n) / n
        return max(-1.0, middle - spread), min(1.0, middle + spread)


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

    @property
    def files(self) -> tuple[FileRecord, ...]:
        return (*(variant.file for variant in self.variants), self.golden.file, *self.run.documents)

    @property
    def digest(self) -> str:
        """The bundle's name for what it is: its seal, which two exports of the same weights share."""
        return seals_of(asdict(self))["seal"]


def check_labels(labels: tuple[str, ...]) -> None:
    """Refuse labels that cannot name the outputs of a classifier: fewer than two, or one twice."""
    if not 2 <= len(labels) <= MAX_LABELS or len(set(labels)) != len(labels):
        raise BundleFormatError(
            f"A classifier has two or more labels, at most {MAX_LABELS:,}, each once; these are {brief(labels)}."
        )
    if unprintable := [label for label in labels if not is_text(label)]:
        raise BundleFormatError(f"A label is a line of text, without control characters, unlike {brief(unprintable)}.")


def check_size(file: FileRecord, most: int) -> None:
    """Refuse a file that claims to be larger than its kind ever is."""
    if file.bytes > most:
        raise BundleFormatError(f"{file.path} claims {file.bytes:,} bytes, more than the {most:,} of the largest.")


def brief(value: object) -> str:
    """What a message shows of something that came from outside: a line, whatever its size and depth."""
    return reprlib.repr(value)


def check_input(spec: InputSpec) -> None:
    """Refuse an input size that no picture classifier has."""
    if not (0 < spec.height <= MAX_SIDE and 0 < spec.width <= MAX_SIDE):
        raise BundleFormatError(f"An input of {spec.height}x{spec.width} pixels is outside 1 to {MAX_SIDE}.")


def is_text(text: str) -> bool:
    """Tell a line of text that a terminal can show from one with control characters or broken encoding."""
    return text.isprintable() or not any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text
    )


def dump_manifest(manifest: Manifest) -> str:
    """Write a manifest as JSON for people, with its seals."""
    body = asdict(manifest)
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
    if raw["schema"] != SCHEMA:
        raise BundleFormatError(
            f"The bundle is of schema {brief(raw['schema'])} and this runtime reads {SCHEMA}; "
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


def parse_json(text: bytes | str, where: str) -> Any:  # Any: JSON
    """Parse strict JSON: no duplicate keys, no NaN, no more than MAX_MANIFEST_BYTES. Raises BundleFormatError."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleFormatError(f"{where} is larger than {MAX_MANIFEST_BYTES:,} bytes.")

    def refuse_long(digits: str) -> int:
        if len(digits.lstrip("-")) > _MAX_DIGITS:
            raise ValueError(f"a number of {len(digits):,} digits")
        return int(digits)

    def refuse_constant(constant: str) -> None:
        raise ValueError(f"{constant} is not a number")

    def refuse_infinity(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            raise ValueError(f"{digits:.40} is too large")
        return number

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique = dict(pairs)
        if len(pairs) != len(unique):
            raise ValueError(f"a key stands twice in {brief([key for key, _ in pairs])}")
        return unique

    try:
        return json.loads(
            text,
            parse_int=refuse_long,
            parse_constant=refuse_constant,
            parse_float=refuse_infinity,
            object_pairs_hook=refuse_duplicates,
        )
    except (ValueError, RecursionError) as error:
        raise BundleFormatError(f"{where} is not valid JSON ({error}).") from error


def from_json(kind: type[T], value: Any, where: str) -> T:  # Any: JSON
    """Make a `kind` (a dataclass of dataclasses, tuples, dicts and plain values) from JSON, strictly.

    Raises BundleFormatError that names the place.
    """
    return _from_json(kind, value, where)  # type: ignore[no-any-return]  # it follows the type hints at run time


def _from_json(kind: Any, value: Any, where: str) -> Any:  # Any: a type hint, JSON, and what the hint says
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = {field.name for field in fields(kind)}
        if not isinstance(value, dict) or value.keys() != names:
            given = sorted(value) if isinstance(value, dict) else value
            raise BundleFormatError(f"{where} must hold {sorted(names)}, not {brief(given)}.")
        return kind(**{name: _from_json(hints[name], value[name], f"{where}: {name}") for name in value})  # type: ignore[operator]  # a class, not an instance
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(value, list | dict | str) and len(value) > (_MAX_TEXT if isinstance(value, str) else _MAX_ITEMS):
        raise BundleFormatError(f"{where} holds {len(value):,} items or characters, more than it may.")
    if origin is tuple and isinstance(value, list):
        return tuple(_from_json(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {
            _from_json(str, key, f"a key of {where}"): _from_json(arguments[1], item, f"{where}: {key:.80}")
            for key, item in value.items()
        }
    if origin is Literal and value in arguments:
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _from_json(arguments[0], value, where)
    if kind is float and type(value) in (int, float) and math.isfinite(value) and value >= 0:
        return float(value)
    if kind is int and type(value) is int and 0 <= value < 2**63:
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str) and is_text(value):
        return value
    raise BundleFormatError(f"{where} must be {getattr(kind, '__name__', kind)}, not {brief(value)}.")
