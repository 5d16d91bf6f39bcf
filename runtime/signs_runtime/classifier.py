"""The classifier: opens a bundle or a self-describing ONNX file and labels pictures with probabilities."""

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

# Limits of one run of a stream that `signs tune` has not measured. ResNet-50 at 64x64 gains little beyond 16 pictures;
# larger pictures run as fast alone, and batches of them take memory.
_BATCH_PIXELS, _MAX_BATCH = 16 * 64 * 64, 16


@dataclass(frozen=True, eq=False)
class Prediction:
    """The model's answer to one picture."""

    label: str  # for a multi-label classifier the first of `found`; "unsure" if no label reaches its threshold
    index: int  # of that label in Classifier.labels, or of the most probable one if `label` is "unsure"
    probability: float  # of the label at `index`, 0..1
    probabilities: NDArray[np.float32]  # (labels,)
    labels: tuple[str, ...] = field(repr=False)
    found: tuple[str, ...]  # the most probable first: at most one label, or any number for a multi-label classifier

    @property
    def is_sure(self) -> bool:
        """Whether any label reaches its threshold."""
        return bool(self.found)

    def top_k(self, k: int) -> tuple[tuple[str, float], ...]:
        """The `k` most probable labels with their probabilities, the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable")[: max(k, 0)]
        return tuple((self.labels[i], float(self.probabilities[i])) for i in order)


class Classifier:
    """Labels pictures with a proved model. Threads may share a classifier.

    `path` is a bundle folder or one of its `.onnx` files. `variant` names a variant of the bundle, `device` is "auto"
    or one of `signs_runtime.engine.session.PROVIDERS`, and `threads` is the number of cores to use. What you name is
    used or refused, never replaced. Unset options take the fastest configuration that `signs tune` found on this
    device. Without such a profile, the first variant runs on an accelerator that answers the golden pictures as Keras
    did, or else on the CPU, with as many threads as affinity and cgroups allow. `placement` holds what was chosen and
    why.

    Below the probability `threshold`, a prediction's label is "unsure". None means the bundle's own threshold, or 0. A
    multi-label classifier has a threshold for each label; a `threshold` above 0 replaces them all. With `cache`, the
    optimised graph is kept in the user's cache folder and the profile is read from there. With `verify`, the variant is
    proved at its first start on this device, and the proof is remembered.

    Raises BundleError if the model is missing, damaged or was not exported by signs-edge, VerificationError (a
    subclass) if the proof fails, and ProviderError if the device lacks the requested provider.
    """

    labels: tuple[str, ...]
    threshold: float  # 0..1
    thresholds: Thresholds  # one for each label of a multi-label classifier; (): a picture has one label
    input: InputSpec
    placement: Placement
    batch: int  # pictures in one run of a stream, as `signs tune` measured, or by their size

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
            raise OptionError(f"threshold={threshold} is not a probability; choose a number from 0 to 1.")
        self._cached, self._limits = cache, find_limits()
        options = {"variant": variant, "device": device, "threads": threads, "threshold": threshold, "cache": cache}
        self._reopened = (Path(path).absolute(), {**options, "verify": verify})
        request = Request(variant, device, threads)
        self._started = start_model(Path(path), request, self._limits, cached=cache, verify=verify)
        self.labels, self.input = self._started.labels, self._started.input
        self.placement = self._started.placement
        self.batch = self._started.batch or default_batch(self.input)
        self.threshold = self._started.unsure_below if threshold is None else threshold
        self.thresholds = tuple(threshold or each for each in self._started.thresholds)
        if (threshold or self.thresholds) and UNSURE in self.labels:
            raise BundleFormatError(
                f"{path} has a label {UNSURE!r}, which is reserved for pictures below a threshold. Rename the label "
                "and export again."
            )
        self._stream_lock = threading.Lock()
        self._stream_session: Any = None  # onnxruntime.InferenceSession, once a stream has run

    def __reduce__(self) -> tuple[object, ...]:
        """Let another process open the bundle again with the same options; its placement may differ."""
        return _reopen, self._reopened

    def predict(self, picture: Picture, *, channels: Channels = "RGB") -> Prediction:
        """Label one picture: a path, an open binary file, or a uint8 array (height, width, channels) of any size.

        `channels` is the order of an array's colours: "BGR" for arrays from OpenCV. Raises ImageError, AnswerError.
        """
        return self.decide(self.probabilities(read_image(picture, self.input, channels)[None])[0])

    def predict_batch(self, pictures: Iterable[Picture], *, channels: Channels = "RGB") -> list[Prediction]:
        """Label pictures in one run of the model, with all of them in memory. Raises ImageError, AnswerError."""
        images = [self.preprocess(picture, channels=channels) for picture in pictures]
        if not images:
            return []
        return [self.decide(row) for row in self.probabilities(np.stack(images))]

    def stream(
        self, pictures: Iterable[P], *, channels: Channels = "RGB", batch: int | None = None
    ) -> "Generator[Outcome[P, Prediction]]":
        """Label pictures as they arrive, in order, decoding some while others are in the model.

        Arrays and BytesIO objects are copied when the stream takes them, so a camera may reuse its buffer. A picture
        that cannot be labelled becomes an outcome with an `error`, and the stream continues. One run takes at most
        `batch` pictures (None: as many as `signs tune` found best); twice as many for each thread wait in memory. A
        single frame, as from a camera, runs at once on all threads; `batch=1` keeps the number of waiting frames small.
        """
        from signs_runtime.stream import Stream  # only streams need its imports

        if batch is None:
            batch = self.batch
        elif not isinstance(batch, int) or batch < 1:
            raise OptionError(f"batch={batch} is not a number of pictures; choose 1 or more, or None for the best.")
        check_channels(channels)
        workers = self.placement.threads if self.placement.device == "cpu" else min(4, self._limits.threads)
        return Stream(partial(self._answer, channels=channels), workers, batch).run(map(_own, pictures))

    def preprocess(self, picture: Picture, *, channels: Channels = "RGB") -> NDArray[np.uint8]:
        """Read a picture into the image that the model gets: a new uint8 array (height, width, channels).

        Raises ImageError.
        """
        image = read_image(picture, self.input, channels)
        return image.copy() if image is picture else image

    def stages(self, picture: Picture) -> dict[str, NDArray[np.generic]]:
        """Return the picture after each step of its reading, to find the step at which it goes wrong.

        "decoded" and "turned" have the file's own pixels, (h, w) or (h, w, channels); with a palette, these are its
        indices. "colour" has the model's colours, and "resized" is what `preprocess` returns. Raises ImageError.
        """
        return {name: np.asarray(image) for name, image in stages(picture, self.input)}

    def probabilities(self, images: NDArray[np.uint8], *, alone: bool = True) -> NDArray[np.float32]:
        """Run the model: uint8 (n, height, width, channels) of the model's size in, float32 (n, labels) out.

        `alone=False` computes on one CPU core, for callers whose threads run several batches at once. Raises ImageError
        for a batch of another dtype or shape, and AnswerError if the device cannot run the model.
        """
        return self._started.probabilities(images, None if alone else self._stream_session_once())

    def decide(self, probabilities: NDArray[np.float32]) -> Prediction:
        """Turn one picture's probabilities, (labels,), into a prediction, by the thresholds. Raises AnswerError."""
        index = int(probabilities.argmax())
        probability = float(probabilities[index])
        if not math.isfinite(np.add.reduce(probabilities)):  # a single numpy call; with a cold cache each takes 10 us
            raise AnswerError(
                f"The model answers {probabilities.tolist()!s:.150}, which are not all probabilities; "
                "do not use it on this device."
            )
        if self.thresholds:
            return self._found(probabilities)
        found = () if probability < self.threshold else (self.labels[index],)
        return Prediction(found[0] if found else UNSURE, index, probability, probabilities, self.labels, found)

    def _found(self, probabilities: NDArray[np.float32]) -> Prediction:
        """The prediction of a multi-label classifier: all labels that reach their thresholds."""
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
        """Read and run some pictures of a stream; return a prediction or an error for each."""
        images = [_caught(partial(read_image, picture, self.input, channels)) for picture in pictures]
        read = [image for image in images if not isinstance(image, SignsError)]
        if not read:
            return [image for image in images if isinstance(image, SignsError)]
        # If more pictures are waiting, each thread runs its own batch, so that no operator has to synchronise threads.
        session = self._stream_session_once() if more or len(pictures) > 1 else None
        rows = _caught(partial(self._started.probabilities, np.stack(read), session))
        if isinstance(rows, SignsError):
            return [image if isinstance(image, SignsError) else rows for image in images]
        answers = iter(rows)
        return [
            image if isinstance(image, SignsError) else _caught(partial(self.decide, next(answers))) for image in images
        ]

    def _stream_session_once(self) -> Any:  # Any: onnxruntime.InferenceSession
        """The session for streams: its operators run in the calling thread. With several CPU threads, a second one."""
        if self.placement.device != "cpu" or self.placement.threads == 1:
            return self._started.session
        with self._stream_lock:
            if self._stream_session is None:
                self._stream_session = self._started.start_single_threaded(cached=self._cached)
            return self._stream_session


def _reopen(path: Path, options: dict[str, Any]) -> Classifier:  # Any: of several types
    return Classifier(path, **options)


def _own(picture: P) -> P:
    """The picture, or a copy if it is an array or buffer into which its owner may write the next picture."""
    if isinstance(picture, io.BytesIO):
        copied = io.BytesIO(picture.getvalue())  # which share the bytes until one is written to
        copied.__dict__.update(picture.__dict__)  # its name, for errors
        return copied  # type: ignore[return-value]  # of P's kind: a file
    return picture.copy() if isinstance(picture, np.ndarray) else picture


def default_batch(spec: InputSpec) -> int:
    """How many pictures of this size a stream runs at once if `signs tune` has not measured it."""
    return max(1, min(_MAX_BATCH, _BATCH_PIXELS // (spec.height * spec.width)))


def _caught(work: "Callable[[], Any]") -> Any:  # Any: what it returns, or the SignsError that it raises
    try:
        return work()
    except SignsError as error:
        return error
