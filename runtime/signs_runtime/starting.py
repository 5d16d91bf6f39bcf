"""From a request to a running session: the choices in their order, each accepted, or passed over with its reason."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from signs_runtime.bundle.folder import Bundle, is_model_file, open_bundle
from signs_runtime.bundle.manifest import check_input, check_labels, check_thresholds, check_unsure
from signs_runtime.bundle.onnx_metadata import INPUT, INPUT_KEY, LABELS_KEY, OUTPUT, THRESHOLDS_KEY, UNSURE_KEY
from signs_runtime.bundle.strict_json import from_json, parse_json
from signs_runtime.engine.device import this_device
from signs_runtime.engine.kept_graphs import Model, start
from signs_runtime.engine.nodes import count_nodes
from signs_runtime.engine.session import PROVIDERS, Setting
from signs_runtime.errors import (
    EXIT_PARITY,
    AnswerError,
    BundleError,
    BundleFormatError,
    BundleNotFoundError,
    BundleTamperedError,
    ImageError,
    OptionError,
    ProviderError,
)
from signs_runtime.labels import Thresholds
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.placement.choices import AUTO, Choice, Placement, Request, choices
from signs_runtime.placement.limits import Limits
from signs_runtime.placement.profiles import find_profile


@dataclass(frozen=True)
class Started:
    """A model that runs here: its session, what it takes and gives, and why it runs where it does."""

    session: Any  # onnxruntime.InferenceSession
    model: Model
    labels: tuple[str, ...]
    thresholds: Thresholds
    unsure_below: float
    input: InputSpec
    placement: Placement
    batch: int | None = None  # of a stream, as `signs tune` measured; None: not measured

    def probabilities(self, images: NDArray[np.uint8], session: Any = None) -> NDArray[np.float32]:
        """Run the model: uint8 (n, *input.shape) in, float32 (n, labels) out; `session` may be another on it.

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
            result: NDArray[np.float32] = (session or self.session).run([OUTPUT], {INPUT: images})[0]
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            raise AnswerError(f"onnxruntime cannot run the model: {error}") from error
        return result

    def start_single_threaded(self, *, cached: bool) -> Any:  # Any: onnxruntime.InferenceSession
        """A second session on the model, whose operators run in the thread that calls it."""
        return start(self.model, Setting("cpu", threads=1, spin=False), cached=cached)


Find = Callable[[str | None], tuple[str, Path, Model]]  # a choice's variant to its name, path and model
Accept = Callable[[Choice, Started], None]  # raises where what was started is not what was asked for


def start_model(path: Path, request: Request, limits: Limits, *, cached: bool, verify: bool) -> Started:
    """Start a bundle or one of its `.onnx` files; see `Classifier`, which has these arguments, and raises alike."""
    if not is_model_file(path):
        return _start_bundle(open_bundle(path), request, limits, cached=cached, verify=verify)
    if request.variant is not None:
        raise OptionError(f"{path} is one file; name its bundle to choose the variant {request.variant!r}.")
    if verify:
        raise OptionError(f"{path} is one file, without golden pictures; name its bundle to verify it.")
    if not path.exists():
        raise BundleNotFoundError(f"No model at {path}; run build-and-export first.")
    model = Model.of_file(path)
    candidates = choices(request, limits, None, None)
    return _start_first(
        candidates, request, lambda variant: (path.name, path, model), lambda choice, started: None, cached=cached
    )


def _start_bundle(bundle: Bundle, request: Request, limits: Limits, *, cached: bool, verify: bool) -> Started:
    """Start what was measured to be the fastest, as far as it was left open, or what is safe."""
    default = bundle.variant(request.variant).name
    profile = find_profile(bundle.manifest.digest, limits) if cached else None

    def find(name: str | None) -> tuple[str, Path, Model]:
        variant = bundle.variant(name)
        model = Model(variant.file.sha256, bundle.hold(variant.file))
        return variant.name, bundle.folder / variant.file.path, model

    def accept(choice: Choice, started: Started) -> None:
        """Hold what was started to the manifest and, where it must prove itself, to the golden pictures."""
        variant = bundle.variant(started.placement.variant)
        manifest = bundle.manifest
        said = started.labels, started.thresholds, started.unsure_below, started.input
        if said != (manifest.labels, manifest.thresholds, manifest.unsure_below, manifest.input):
            raise BundleTamperedError(
                f"{bundle.folder}: {variant.file.path} and the manifest disagree on the labels or the input."
            )
        if verify or choice.must_prove:
            from signs_runtime.proof.prove import verify_once  # most starts prove nothing

            device = this_device(started.placement.device, started.placement.threads)
            verify_once(bundle, variant, started.probabilities, device)

    batch = None if profile is None else profile.batch
    candidates = choices(request, limits, profile, default)
    return _start_first(candidates, request, find, accept, cached=cached, batch=batch)


def _start_first(
    candidates: Iterable[Choice],
    request: Request,
    find: Find,
    accept: Accept,
    *,
    cached: bool,
    batch: int | None = None,
) -> Started:
    """The first candidate that starts and is accepted; of auto's, it says why those before it are not."""
    passed_over: list[str] = []
    for choice in candidates:
        variant, path, model = find(choice.variant)
        try:
            session = start(model, choice.setting, cached=cached)
            described = _describe(session, path)
            why = "; ".join([choice.why, *passed_over])
            placement = _placement(session, variant, choice.setting, request.device, why)
            started = Started(session, model, *described, placement, batch)
            accept(choice, started)
            return started
        except (ProviderError, BundleError) as error:
            may_be_passed_over = isinstance(error, ProviderError) or error.exit_code == EXIT_PARITY  # VerificationError
            if not may_be_passed_over or request.device != AUTO or choice.setting.device == "cpu":
                raise
            passed_over.append(f"not {variant} on {choice.setting.device}: {str(error).splitlines()[0]}")
    raise AssertionError("the choices end with a device that starts or raises")


def _placement(session: Any, variant: str, setting: Setting, requested: str, why: str) -> Placement:
    return Placement(
        requested=requested,
        device=setting.device,
        provider=PROVIDERS[setting.device],
        why=why,
        variant=variant,
        threads=setting.threads,
        spin=setting.spin,
        nodes=count_nodes(session),
    )


def _describe(
    session: Any, path: Path
) -> tuple[tuple[str, ...], Thresholds, float, InputSpec]:  # Any: onnxruntime.InferenceSession
    """Read the labels, their thresholds, what is unsure and the input from the ONNX file's own metadata.

    The graph is held to them, so that no batch can be misread. Raises BundleFormatError.
    """
    metadata = session.get_modelmeta().custom_metadata_map
    if LABELS_KEY not in metadata or INPUT_KEY not in metadata:
        raise BundleFormatError(
            f"{path} does not say its labels and its input ({LABELS_KEY}, {INPUT_KEY}): "
            "it was not exported by signs-edge. Export the Keras model with build-and-export."
        )
    labels = from_json(tuple[str, ...], parse_json(metadata[LABELS_KEY], LABELS_KEY), LABELS_KEY)
    spec = from_json(InputSpec, parse_json(metadata[INPUT_KEY], INPUT_KEY), INPUT_KEY)
    given = metadata.get(THRESHOLDS_KEY, "[]")
    thresholds = from_json(tuple[float, ...], parse_json(given, THRESHOLDS_KEY), THRESHOLDS_KEY)
    unsure_below = from_json(float, parse_json(metadata.get(UNSURE_KEY, "0.0"), UNSURE_KEY), UNSURE_KEY)
    check_labels(labels)
    check_thresholds(thresholds, labels)
    check_unsure(unsure_below, labels, thresholds)
    check_input(spec)
    inputs = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
    outputs = [(o.name, o.type, o.shape[1:]) for o in session.get_outputs()]
    if inputs != [(INPUT, "tensor(uint8)", list(spec.shape))] or outputs != [(OUTPUT, "tensor(float)", [len(labels)])]:
        raise BundleFormatError(f"{path}: the graph takes {inputs} and gives {outputs}, not what it is said to.")
    return labels, thresholds, unsure_below, spec
