"""The embedded runtime: a bundle or a self-describing ONNX file in, labels with probabilities out."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_runtime.bundle import is_model_file, open_bundle
from signs_runtime.device import this_device
from signs_runtime.errors import AnswerError, BundleFormatError, BundleNotFoundError, BundleTamperedError, ImageError
from signs_runtime.image import Picture, read_image, stages
from signs_runtime.input_spec import InputSpec
from signs_runtime.manifest import check_input, check_labels, from_json, parse_json
from signs_runtime.session import start_session

INPUT, OUTPUT = "image", "probabilities"  # the names in the graph
LABELS_KEY, INPUT_KEY = "signs.labels", "signs.input"  # the keys of an ONNX file's metadata_props
WEIGHTS_KEY = "signs.weights"  # the digest of the Keras weights that it was made of


@dataclass(frozen=True)
class Prediction:
    """What the model says of one picture."""

    label: str
    index: int  # of the label in Classifier.labels
    probability: float  # 0..1
    probabilities: NDArray[np.float32]  # (labels,)


class Classifier:
    """Labels pictures with a proved model.

    `path` is a bundle folder or one of its `.onnx` files. `variant` names a file of the bundle (default: the first);
    `device` is "cpu", "cuda" or "openvino", used or refused; `threads` is for one operator (None: one for each core).
    `verify` has a device prove a bundle when it first meets it, as `signs verify` does, and remember that in the user's
    cache folder. Raises BundleError where the model is missing, damaged or not ours, VerificationError (one of them)
    where the proof fails, ProviderError where the device lacks what is asked for.
    """

    labels: tuple[str, ...]
    input: InputSpec

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        variant: str | None = None,
        device: str = "cpu",
        threads: int | None = None,
        verify: bool = False,
    ) -> None:
        path = Path(path)
        if is_model_file(path):
            if variant is not None:
                raise BundleNotFoundError(f"{path} is one file; name its bundle to choose the variant {variant!r}.")
            if verify:
                raise BundleNotFoundError(f"{path} is one file, without golden pictures; name its bundle to verify it.")
            if not path.is_file():
                raise BundleNotFoundError(f"No model at {path}; run build-and-export first.")
            self._session = start_session(path.read_bytes(), device, threads)
            self.labels, self.input = self._describe(path)
        else:
            bundle = open_bundle(path)
            chosen = bundle.variant(variant)
            file = chosen.file
            self._session = start_session(bundle.read(file), device, threads)
            self.labels, self.input = bundle.manifest.labels, bundle.manifest.input
            if self._describe(path / file.path) != (self.labels, self.input):
                raise BundleTamperedError(f"{path}: {file.path} and the manifest disagree on the labels or the input.")
        self._check_graph(path)
        if verify:
            from signs_runtime.verification import verify_once  # it starts Classifiers of its own

            verify_once(bundle, chosen, self, this_device(device, threads))

    def predict(self, picture: Picture) -> Prediction:
        """Label one picture: a path, an open binary file, or a uint8 array (height, width, channels) of any size."""
        return self.predict_batch([picture])[0]

    def predict_batch(self, pictures: Iterable[Picture]) -> list[Prediction]:
        """Label pictures in one run of the model; all are in memory at once. Raises ImageError, AnswerError."""
        images = [self.preprocess(picture) for picture in pictures]
        if not images:
            return []
        return [self._prediction(row) for row in self.probabilities(np.stack(images))]

    def preprocess(self, picture: Picture) -> NDArray[np.uint8]:
        """Read a picture as the model gets it: uint8 (height, width, channels). Raises ImageError."""
        return read_image(picture, self.input)

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
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.input.shape:
            raise ImageError(
                f"The batch must be uint8 of shape (n, {', '.join(map(str, self.input.shape))}); "
                f"this one is {images.dtype} {images.shape}."
            )
        if len(images) == 0:
            return np.empty((0, len(self.labels)), np.float32)
        try:
            result: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: images})[0]
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            raise AnswerError(f"onnxruntime cannot run the model: {error}") from error
        return result

    def _prediction(self, probabilities: NDArray[np.float32]) -> Prediction:
        if not np.isfinite(probabilities).all():
            raise AnswerError(f"The model answers {probabilities.tolist()}, not probabilities; do not use it here.")
        index = int(probabilities.argmax())
        return Prediction(self.labels[index], index, float(probabilities[index]), probabilities)

    def _describe(self, path: Path) -> tuple[tuple[str, ...], InputSpec]:
        """Read the labels and the input from the ONNX file's own metadata."""
        metadata = self._session.get_modelmeta().custom_metadata_map
        if LABELS_KEY not in metadata or INPUT_KEY not in metadata:
            raise BundleFormatError(
                f"{path} does not say its labels and its input ({LABELS_KEY}, {INPUT_KEY}): "
                "it was not exported by signs-edge. Export the Keras model with build-and-export."
            )
        labels = from_json(tuple[str, ...], parse_json(metadata[LABELS_KEY], LABELS_KEY), LABELS_KEY)
        spec = from_json(InputSpec, parse_json(metadata[INPUT_KEY], INPUT_KEY), INPUT_KEY)
        check_labels(labels)
        check_input(spec)
        return labels, spec

    def _check_graph(self, path: Path) -> None:
        """Hold the graph to what its description says, so that no batch can be misread."""
        inputs = [(i.name, i.type, i.shape[1:]) for i in self._session.get_inputs()]
        outputs = [(o.name, o.type, o.shape[1:]) for o in self._session.get_outputs()]
        if inputs != [(INPUT, "tensor(uint8)", list(self.input.shape))] or outputs != [
            (OUTPUT, "tensor(float)", [len(self.labels)])
        ]:
            raise BundleFormatError(f"{path}: the graph takes {inputs} and gives {outputs}, not what it is said to.")
