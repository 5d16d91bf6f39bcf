"""The embedded runtime: a bundle or a self-describing ONNX file in, labels with probabilities out."""

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from signs_runtime.bundle import Bundle, is_model_file, open_bundle
from signs_runtime.device import this_device
from signs_runtime.errors import (
    AnswerError,
    BundleFormatError,
    BundleNotFoundError,
    BundleTamperedError,
    ImageError,
    ProviderError,
    SignsError,
    VerificationError,
)
from signs_runtime.graphs import Model, start
from signs_runtime.image import Channels, Picture, read_image, stages
from signs_runtime.input_spec import InputSpec
from signs_runtime.limits import find_limits
from signs_runtime.manifest import check_input, check_labels, from_json, parse_json
from signs_runtime.placement import AUTO, Choice, Placement, Request, choices
from signs_runtime.profiles import find_profile
from signs_runtime.session import PROVIDERS, Setting, count_nodes

if TYPE_CHECKING:
    from signs_runtime.stream import Outcome

P = TypeVar("P", bound=Picture)

INPUT, OUTPUT = "image", "probabilities"  # the names in the graph
LABELS_KEY, INPUT_KEY = "signs.labels", "signs.input"  # the keys of an ONNX file's metadata_props
WEIGHTS_KEY = "signs.weights"  # the digest of the Keras weights that it was made of

UNSURE = "unsure"  # the label of a prediction below the threshold

# Of one run of a stream that was not measured here. ResNet-50 at 64x64 gains little beyond 16; larger pictures compute
# as well alone, and take memory.
_BATCH_PIXELS, _MAX_BATCH = 16 * 64 * 64, 16


@dataclass(frozen=True)
class Prediction:
    """What the model says of one picture."""

    label: str  # "unsure" where the classifier has a threshold and the probability is below it
    index: int  # of the most probable label in Classifier.labels
    probability: float  # of that label, 0..1
    probabilities: NDArray[np.float32]  # (labels,)
    labels: tuple[str, ...] = field(repr=False)

    @property
    def is_sure(self) -> bool:
        """Its probability is not below the classifier's threshold."""
        return self.label == self.labels[self.index]

    def top_k(self, k: int) -> tuple[tuple[str, float], ...]:
        """The `k` most probable labels with their probabilities, the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable")[: max(k, 0)]
        return tuple((self.labels[i], float(self.probabilities[i])) for i in order)


class Classifier:
    """Labels pictures with a proved model. Threads may share one.

    `path` is a bundle folder or one of its `.onnx` files. What is given by name is used or refused, never replaced:
    `variant` names a file of the bundle, `device` one of `signs_runtime.session.PROVIDERS`, `threads` how many cores
    it may use. What is left open (None, "auto") is the fastest that `signs tune` measured on this device; without such
    a profile it is the first variant, an accelerator that answers the golden pictures as Keras did, or else the CPU,
    and the threads that affinity and cgroups allow. `placement` says what was chosen and why.

    Below the probability `threshold` a prediction's label is "unsure". `cache` keeps the optimised graph and reads the
    profile in the user's cache folder. `verify` has a device prove a bundle when it first meets it, as `signs verify`
    does, and remember that there. Raises BundleError where the model is missing, damaged or not ours,
    VerificationError (one of them) where the proof fails, ProviderError where the device lacks what is asked for.
    """

    labels: tuple[str, ...]
    input: InputSpec
    placement: Placement

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        variant: str | None = None,
        device: str = AUTO,
        threads: int | None = None,
        threshold: float = 0.0,
        cache: bool = True,
        verify: bool = False,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold={threshold} is no probability; give a number in 0 to 1.")
        path, request = Path(path), Request(variant, device, threads)
        self._threshold, self._cached, self._limits = threshold, cache, find_limits()
        self._batch: int | None = None  # of a stream, as measured
        bundle = None if is_model_file(path) else open_bundle(path)
        if bundle is None:
            if variant is not None:
                raise BundleNotFoundError(f"{path} is one file; name its bundle to choose the variant {variant!r}.")
            if verify:
                raise BundleNotFoundError(f"{path} is one file, without golden pictures; name its bundle to verify it.")
            if not path.exists():
                raise BundleNotFoundError(f"No model at {path}; run build-and-export first.")
            self._start_file(path, request)
        else:
            self._start_bundle(bundle, request, verify=verify)
        if threshold and UNSURE in self.labels:
            raise BundleFormatError(f"{path} has a label {UNSURE!r}, which a threshold gives to all below it.")
        self._stream_lock = threading.Lock()
        self._stream_session: Any = None  # onnxruntime.InferenceSession, once a stream has run

    def predict(self, picture: Picture, *, channels: Channels = "RGB") -> Prediction:
        """Label one picture: a path, an open binary file, or a uint8 array (height, width, channels) of any size.

        `channels` is the order of an array's colours: "BGR" for what OpenCV reads. Raises ImageError, AnswerError.
        """
        return self._prediction(self.probabilities(read_image(picture, self.input, channels)[None])[0])

    def predict_batch(self, pictures: Iterable[Picture], *, channels: Channels = "RGB") -> list[Prediction]:
        """Label pictures in one run of the model; all are in memory at once. Raises ImageError, AnswerError."""
        images = [read_image(picture, self.input, channels) for picture in pictures]
        if not images:
            return []
        return [self._prediction(row) for row in self.probabilities(np.stack(images))]

    def stream(
        self, pictures: Iterable[P], *, channels: Channels = "RGB", batch: int | None = None
    ) -> "Iterator[Outcome[P, Prediction]]":
        """Label pictures as they come, in their order, decoding some while others are in the model.

        A picture that cannot be labelled is an outcome with an `error`; the others go on. At most `batch` pictures are
        in one run (None: as many as `signs tune` found best), and twice that for each thread wait in memory. One that
        comes alone, as from a camera, is run at once by all threads; `batch=1` keeps few frames waiting.
        """
        from signs_runtime.stream import Stream  # nothing else needs its imports

        if batch is None:
            batch = self._batch or default_batch(self.input)
        elif batch < 1:
            raise ValueError(f"batch={batch} takes no pictures; give a number from 1, or None for the best.")
        if channels not in ("RGB", "BGR"):
            raise ValueError(f"channels={channels!r} is unknown; choose RGB or BGR.")
        workers = self.placement.threads if self.placement.device == "cpu" else min(4, self._limits.threads)
        return Stream(partial(self._answer, channels=channels), workers, batch).run(pictures)

    def preprocess(self, picture: Picture, *, channels: Channels = "RGB") -> NDArray[np.uint8]:
        """Read a picture as the model gets it: uint8 (height, width, channels). Raises ImageError."""
        return read_image(picture, self.input, channels)

    def stages(self, picture: Picture) -> dict[str, NDArray[np.generic]]:
        """Show what becomes of a picture on its way to the model, step by step, to find where it goes wrong.

        "decoded" and "turned" are as the file has them, (h, w) or (h, w, channels), a palette's pictures in its
        numbers; "colour" has the model's colours, and "resized" is what `preprocess` returns. Raises ImageError.
        """
        return {name: np.asarray(image) for name, image in stages(picture, self.input)}

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model: uint8 (n, height, width, channels) of the model's size in, float32 (n, labels) out.

        Raises ImageError for another batch, AnswerError where the device cannot run the model.
        """
        return self._run(self._session, images)

    def _run(self, session: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:  # Any: an InferenceSession
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.input.shape:
            raise ImageError(
                f"The batch must be uint8 of shape (n, {', '.join(map(str, self.input.shape))}); "
                f"this one is {images.dtype} {images.shape}."
            )
        if len(images) == 0:
            return np.empty((0, len(self.labels)), np.float32)
        try:
            result: NDArray[np.float32] = session.run([OUTPUT], {INPUT: images})[0]
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            raise AnswerError(f"onnxruntime cannot run the model: {error}") from error
        return result

    def _prediction(self, probabilities: NDArray[np.float32]) -> Prediction:
        index = int(probabilities.argmax())
        probability = float(probabilities[index])
        if not math.isfinite(np.add.reduce(probabilities)):  # one call of numpy's, 10 us behind a cold cache
            raise AnswerError(f"The model answers {probabilities.tolist()}, not probabilities; do not use it here.")
        label = UNSURE if probability < self._threshold else self.labels[index]
        return Prediction(label, index, probability, probabilities, self.labels)

    def _answer(
        self, pictures: Sequence[Picture], more: bool, *, channels: Channels
    ) -> Sequence[Prediction | SignsError]:
        """Read and run some pictures of a stream; each gets its prediction or its error."""
        images = [_caught(partial(read_image, picture, self.input, channels)) for picture in pictures]
        read = [image for image in images if not isinstance(image, SignsError)]
        if not read:
            return [image for image in images if isinstance(image, SignsError)]
        # With others to come, each thread runs its own pictures: no operator waits for threads to meet.
        session = self._start_stream_session() if more or len(pictures) > 1 else self._session
        rows = _caught(partial(self._run, session, np.stack(read)))
        if isinstance(rows, SignsError):
            return [image if isinstance(image, SignsError) else rows for image in images]
        answers = iter(rows)
        return [
            image if isinstance(image, SignsError) else _caught(partial(self._prediction, next(answers)))
            for image in images
        ]

    def _start_stream_session(self) -> Any:  # Any: onnxruntime.InferenceSession
        """A session whose operators run in the calling thread: on a CPU with several threads, a second one."""
        if self.placement.device != "cpu" or self.placement.threads == 1:
            return self._session
        with self._stream_lock:
            if self._stream_session is None:
                setting = Setting("cpu", threads=1, spin=False)
                self._stream_session = start(self._model, setting, cached=self._cached)
            return self._stream_session

    def _start_file(self, path: Path, request: Request) -> None:
        model = Model.of_file(path)
        candidates = choices(request, self._limits, None, None)
        self._start(lambda variant: (path.name, path, model), request, candidates, lambda choice: None)

    def _start_bundle(self, bundle: Bundle, request: Request, *, verify: bool) -> None:
        """Start what was measured to be the fastest, as far as it was left open, or what is safe."""
        default = bundle.variant(request.variant).name
        profile = find_profile(bundle.manifest.digest, self._limits) if self._cached else None
        self._batch = None if profile is None else profile.batch

        def find(variant: str | None) -> tuple[str, Path, Model]:
            found = bundle.variant(variant)
            return (
                found.name,
                bundle.folder / found.file.path,
                Model(found.file.sha256, partial(bundle.read, found.file)),
            )

        def accept(choice: Choice) -> None:
            """Hold what was started to the manifest and, where it must prove itself, to the golden pictures."""
            variant = bundle.variant(self.placement.variant)
            if (self.labels, self.input) != (bundle.manifest.labels, bundle.manifest.input):
                raise BundleTamperedError(
                    f"{bundle.folder}: {variant.file.path} and the manifest disagree on the labels or the input."
                )
            if verify or choice.must_prove:
                from signs_runtime.verification import verify_once  # it starts Classifiers of its own

                verify_once(bundle, variant, self, this_device(self.placement.device, self.placement.threads))

        self._start(find, request, choices(request, self._limits, profile, default), accept)

    def _start(
        self,
        find: Callable[[str | None], tuple[str, Path, Model]],
        request: Request,
        candidates: Iterable[Choice],
        accept: Callable[[Choice], None],
    ) -> None:
        """Start on the first candidate that starts and is accepted; of auto's, those before it say why they are not.

        `find` gives a variant's name, path and model.
        """
        passed_over: list[str] = []
        for choice in candidates:
            setting = choice.setting
            variant, path, model = find(choice.variant)
            try:
                self._session = start(model, setting, cached=self._cached)
                self.labels, self.input = _describe(self._session, path)
                self.placement = Placement(
                    requested=request.device,
                    device=setting.device,
                    provider=PROVIDERS[setting.device],
                    why="; ".join([choice.why, *passed_over]),
                    variant=variant,
                    threads=setting.threads,
                    spin=setting.spin,
                    nodes=count_nodes(self._session),
                )
                accept(choice)
                self._model = model
                return
            except (ProviderError, VerificationError) as error:
                if request.device != AUTO or setting.device == "cpu":
                    raise
                passed_over.append(f"not {variant} on {setting.device}: {str(error).splitlines()[0]}")


def default_batch(spec: InputSpec) -> int:
    """How many pictures of this size a stream runs at once where `signs tune` has not measured it."""
    return max(1, min(_MAX_BATCH, _BATCH_PIXELS // (spec.height * spec.width)))


def _caught(work: "Callable[[], Any]") -> Any:  # Any: what it returns, or the SignsError that it raises
    try:
        return work()
    except SignsError as error:
        return error


def _describe(session: Any, path: Path) -> tuple[tuple[str, ...], InputSpec]:  # Any: onnxruntime.InferenceSession
    """Read the labels and the input from the ONNX file's own metadata, and hold the graph to them.

    So no batch can be misread. Raises BundleFormatError.
    """
    metadata = session.get_modelmeta().custom_metadata_map
    if LABELS_KEY not in metadata or INPUT_KEY not in metadata:
        raise BundleFormatError(
            f"{path} does not say its labels and its input ({LABELS_KEY}, {INPUT_KEY}): "
            "it was not exported by signs-edge. Export the Keras model with build-and-export."
        )
    labels = from_json(tuple[str, ...], parse_json(metadata[LABELS_KEY], LABELS_KEY), LABELS_KEY)
    spec = from_json(InputSpec, parse_json(metadata[INPUT_KEY], INPUT_KEY), INPUT_KEY)
    check_labels(labels)
    check_input(spec)
    inputs = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
    outputs = [(o.name, o.type, o.shape[1:]) for o in session.get_outputs()]
    if inputs != [(INPUT, "tensor(uint8)", list(spec.shape))] or outputs != [(OUTPUT, "tensor(float)", [len(labels)])]:
        raise BundleFormatError(f"{path}: the graph takes {inputs} and gives {outputs}, not what it is said to.")
    return labels, spec
