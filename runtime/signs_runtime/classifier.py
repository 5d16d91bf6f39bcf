"""The embedded runtime: a bundle or a self-describing ONNX file in, labels with probabilities out."""

import io
import math
import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from signs_runtime.decisions import decide
from signs_runtime.errors import AnswerError, BundleFormatError, OptionError, SignsError
from signs_runtime.labels import UNSURE, Thresholds
from signs_runtime.pictures.input_spec import Channels, InputSpec
from signs_runtime.pictures.read import Picture, check_channels, read_image, stages
from signs_runtime.placement.choices import AUTO, Placement, Request
from signs_runtime.placement.limits import find_limits
from signs_runtime.starting import start_model

if TYPE_CHECKING:
    from signs_runtime.stream import Outcome

P = TypeVar("P", bound=Picture)

# Of one run of a stream that was not measured here. ResNet-50 at 64x64 gains little beyond 16; larger pictures compute
# as well alone, and take memory.
_BATCH_PIXELS, _MAX_BATCH = 16 * 64 * 64, 16


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says of one picture."""

    label: str  # of a multi-label classifier the first of `found`; "unsure" where nothing reaches its threshold
    index: int  # of that label, or of the most probable one, in Classifier.labels
    probability: float  # of that label, 0..1
    probabilities: NDArray[np.float32]  # (labels,)
    labels: tuple[str, ...] = field(repr=False)
    found: tuple[str, ...]  # all that the picture shows, the most probable first: one label, or any of a multi-label

    @property
    def is_sure(self) -> bool:
        """Its probability is not below its threshold."""
        return bool(self.found)

    def top_k(self, k: int) -> tuple[tuple[str, float], ...]:
        """The `k` most probable labels with their probabilities, the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable")[: max(k, 0)]
        return tuple((self.labels[i], float(self.probabilities[i])) for i in order)


class Classifier:
    """Labels pictures with a proved model. Threads may share one.

    `path` is a bundle folder or one of its `.onnx` files. `variant` names a variant of the bundle, `device` one of
    `signs_runtime.engine.session.PROVIDERS`, and `threads` how many cores to use. What you name is used or refused,
    never replaced. Unset options take the fastest configuration that `signs tune` found on this device. Without such a
    profile, that is the first variant, on an accelerator that answers the golden pictures as Keras did, or else on the
    CPU, with the threads that affinity and cgroups allow. `placement` tells what was chosen and why.

    Below the probability `threshold`, a prediction's label is "unsure". None takes the bundle's own threshold, or 0. A
    multi-label classifier has a threshold for each label; `threshold` replaces them all. `cache` keeps the optimised
    graph in the user's cache folder and reads the profile there. `verify` proves the variant when a device first meets
    it, and remembers that.

    Raises BundleError if the model is missing, damaged or not ours, VerificationError (one of these) if the proof
    fails, and ProviderError if the device lacks what is asked for.
    """

    labels: tuple[str, ...]
    threshold: float  # 0..1
    thresholds: Thresholds  # of a multi-label classifier, for each label; (): a picture has one label
    input: InputSpec
    placement: Placement

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        variant: str | None = None,
        device: str = AUTO,
        threads: int | None = None,
        threshold: float | None = None,
        cache: bool = True,
        verify: bool = False,
    ) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise OptionError(f"threshold={threshold} is no probability; give a number in 0 to 1.")
        self._cached, self._limits = cache, find_limits()
        options = {"variant": variant, "device": device, "threads": threads, "threshold": threshold, "cache": cache}
        self._reopened = (Path(path).absolute(), {**options, "verify": verify})
        request = Request(variant, device, threads)
        self._started = start_model(Path(path), request, self._limits, cached=cache, verify=verify)
        self.labels, self.input = self._started.labels, self._started.input
        self.placement = self._started.placement
        self.threshold = self._started.unsure_below if threshold is None else threshold
        self.thresholds = tuple(threshold or each for each in self._started.thresholds)
        if (threshold or self.thresholds) and UNSURE in self.labels:
            raise BundleFormatError(f"{path} has a label {UNSURE!r}, which a threshold gives to all below it.")
        self._stream_lock = threading.Lock()
        self._stream_session: Any = None  # onnxruntime.InferenceSession, once a stream has run

    def __reduce__(self) -> tuple[object, ...]:
        """Another process opens the bundle again, with the same options; its placement may be another."""
        return _reopen, self._reopened

    def predict(self, picture: Picture, *, channels: Channels = "RGB") -> Prediction:
        """Label one picture: a path, an open binary file, or a uint8 array (height, width, channels) of any size.

        `channels` is the order of an array's colours: "BGR" for what OpenCV reads. Raises ImageError, AnswerError.
        """
        return self._prediction(self.probabilities(read_image(picture, self.input, channels)[None])[0])

    def predict_batch(self, pictures: Iterable[Picture], *, channels: Channels = "RGB") -> list[Prediction]:
        """Label pictures in one run of the model; all are in memory at once. Raises ImageError, AnswerError."""
        images = [self.preprocess(picture, channels=channels) for picture in pictures]
        if not images:
            return []
        return [self._prediction(row) for row in self.probabilities(np.stack(images))]

    def stream(
        self, pictures: Iterable[P], *, channels: Channels = "RGB", batch: int | None = None
    ) -> "Generator[Outcome[P, Prediction]]":
        """Label pictures as they come, in their order, decoding some while others are in the model.

        Arrays and BytesIO are copied when they are taken, so that a camera may write each frame into the same one. A
        picture that cannot be labelled is an outcome with an `error`; the others go on. At most `batch` pictures are in
        one run (None: as many as `signs tune` found best), and twice that for each thread wait in memory. One that
        comes alone, as from a camera, is run at once by all threads; `batch=1` keeps few frames waiting.
        """
        from signs_runtime.stream import Stream  # nothing else needs its imports

        if batch is None:
            batch = self._started.batch or default_batch(self.input)
        elif not isinstance(batch, int) or batch < 1:
            raise OptionError(f"batch={batch} takes no pictures; give a number from 1, or None for the best.")
        check_channels(channels)
        workers = self.placement.threads if self.placement.device == "cpu" else min(4, self._limits.threads)
        return Stream(partial(self._answer, channels=channels), workers, batch).run(map(_own, pictures))

    def preprocess(self, picture: Picture, *, channels: Channels = "RGB") -> NDArray[np.uint8]:
        """Read a picture as the model gets it: uint8 (height, width, channels), a copy. Raises ImageError."""
        image = read_image(picture, self.input, channels)
        return image.copy() if image is picture else image

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
        return self._started.probabilities(images)

    def _prediction(self, probabilities: NDArray[np.float32]) -> Prediction:
        index = int(probabilities.argmax())
        probability = float(probabilities[index])
        if not math.isfinite(np.add.reduce(probabilities)):  # one call of numpy's, 10 us behind a cold cache
            raise AnswerError(f"The model answers {probabilities.tolist()}, not probabilities; do not use it here.")
        if self.thresholds:
            return self._found(probabilities)
        found = () if probability < self.threshold else (self.labels[index],)
        return Prediction(found[0] if found else UNSURE, index, probability, probabilities, self.labels, found)

    def _found(self, probabilities: NDArray[np.float32]) -> Prediction:
        """All labels whose probabilities reach their thresholds."""
        order = np.argsort(-probabilities, kind="stable")
        chosen = decide(probabilities[None], self.thresholds)[0]
        places = [int(i) for i in order if chosen[i]]
        index = places[0] if places else int(order[0])
        found = tuple(self.labels[i] for i in places)
        label = found[0] if found else UNSURE
        return Prediction(label, index, float(probabilities[index]), probabilities, self.labels, found)

    def _answer(
        self, pictures: Sequence[Picture], more: bool, *, channels: Channels
    ) -> Sequence[Prediction | SignsError]:
        """Read and run some pictures of a stream; each gets its prediction or its error."""
        images = [_caught(partial(read_image, picture, self.input, channels)) for picture in pictures]
        read = [image for image in images if not isinstance(image, SignsError)]
        if not read:
            return [image for image in images if isinstance(image, SignsError)]
        # With others to come, each thread runs its own pictures: no operator waits for threads to meet.
        session = self._stream_session_once() if more or len(pictures) > 1 else None
        rows = _caught(partial(self._started.probabilities, np.stack(read), session))
        if isinstance(rows, SignsError):
            return [image if isinstance(image, SignsError) else rows for image in images]
        answers = iter(rows)
        return [
            image if isinstance(image, SignsError) else _caught(partial(self._prediction, next(answers)))
            for image in images
        ]

    def _stream_session_once(self) -> Any:  # Any: onnxruntime.InferenceSession
        """A session whose operators run in the calling thread: on a CPU with several threads, a second one."""
        if self.placement.device != "cpu" or self.placement.threads == 1:
            return self._started.session
        with self._stream_lock:
            if self._stream_session is None:
                self._stream_session = self._started.start_single_threaded(cached=self._cached)
            return self._stream_session


def _reopen(path: Path, options: dict[str, Any]) -> Classifier:  # Any: of several types
    return Classifier(path, **options)


def _own(picture: P) -> P:
    """The picture, or a copy of it where its owner may write the next one into the same array or buffer."""
    if isinstance(picture, io.BytesIO):
        return io.BytesIO(picture.getvalue())  # type: ignore[return-value]  # of P's kind: a file
    return picture.copy() if isinstance(picture, np.ndarray) else picture


def default_batch(spec: InputSpec) -> int:
    """How many pictures of this size a stream runs at once where `signs tune` has not measured it."""
    return max(1, min(_MAX_BATCH, _BATCH_PIXELS // (spec.height * spec.width)))


def _caught(work: "Callable[[], Any]") -> Any:  # Any: what it returns, or the SignsError that it raises
    try:
        return work()
    except SignsError as error:
        return error
