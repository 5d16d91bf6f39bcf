"""Starts the session for a request: tries the choices in order, and records why any was skipped."""

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
    """A running model: its session, its input and labels, and where and why it runs there."""

    session: Any  # onnxruntime.InferenceSession
    model: Model
    labels: tuple[str, ...]
    thresholds: Thresholds
    unsure_below: float
    input: InputSpec
    placement: Placement
    batch: int | None = None  # the best for a stream, as `signs tune` measured; None: not measured

    def probabilities(self, images: NDArray[np.uint8], session: Any = None) -> NDArray[np.float32]:
        """Run the model: uint8 (n, *input.shape) in, float32 (n, labels) out; `session` may be another one of it.

        Raises ImageError for a batch of another dtype or shape, and AnswerError if the device cannot run the model.
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
        """Start a second session of the model, whose operators run in the calling thread."""
        return start(self.model, Setting("cpu", threads=1, spin=False), cached=cached)


Find = Callable[[str | None], tuple[str, Path, Model]]  # from a choice's variant to its name, path and model
Accept = Callable[[Choice, Started], None]  # raises if the started model is not the requested one


def start_model(path: Path, request: Request, limits: Limits, *, cached: bool, verify: bool) -> Started:
    """Start a bundle or one of its `.onnx` files. `Classifier` documents the arguments and the errors."""
    if not is_model_file(path):
        return _start_bundle(open_bundle(path), request, limits, cached=cached, verify=verify)
    if request.variant is not None:
        raise OptionError(
            f"{path} is a single model file. To choose the variant {request.variant!r}, name the bundle folder instead."
        )
    if verify:
        raise OptionError(
            f"{path} is a single model file, without golden pictures. To verify it, name the bundle folder instead."
        )
    if not path.exists():
        raise BundleNotFoundError(f"No model at {path}; run build-and-export first.")
    model = Model.of_file(path)
    candidates = choices(request, limits, None, None)
    return _start_first(
        candidates, request, lambda variant: (path.name, path, model), lambda choice, started: None, cached=cached
    )


def _start_bundle(bundle: Bundle, request: Request, limits: Limits, *, cached: bool, verify: bool) -> Started:
    """Start the configuration that was measured to be the fastest, or a safe one; the request limits the choice."""
    default = bundle.variant(request.variant).name
    profile = find_profile(bundle.manifest.digest, limits) if cached else None

    def find(name: str | None) -> tuple[str, Path, Model]:
        variant = bundle.variant(name)
        model = Model(variant.file.sha256, bundle.hold(variant.file))
        return variant.name, bundle.folder / variant.file.path, model

    def accept(choice: Choice, started: Started) -> None:
        """Compare the started model with the manifest and, if it must prove itself, with the golden pictures."""
        variant = bundle.variant(started.placement.variant)
        manifest = bundle.manifest
        said = started.labels, started.thresholds, started.unsure_below, started.input
        if said != (manifest.labels, manifest.thresholds, manifest.unsure_below, manifest.input):
            raise BundleTamperedError(
                f"{bundle.folder}: {variant.file.path} and the manifest disagree on the labels or the input. "
                "Copy the bundle again from its source."
            )
        if verify or choice.must_prove:
            from signs_runtime.proof.prove import verify_once  # most starts do not need it

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
    """Start candidates in turn and return the first accepted one; with "auto", its `why` names those skipped before."""
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
            passed_over.append(f"{variant} on {choice.setting.device} was skipped: {str(error).splitlines()[0]}")
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
    """Read the labels, their thresholds, `unsure_below` and the input from the ONNX file's own metadata.

    The graph's inputs and outputs must match them, so that no batch can be misread. Raises BundleFormatError.
    """
    metadata = session.get_modelmeta().custom_metadata_map
    if LABELS_KEY not in metadata or INPUT_KEY not in metadata:
        raise BundleFormatError(
            f"{path} lacks metadata about its labels or its input ({LABELS_KEY}, {INPUT_KEY}): "
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
        raise BundleFormatError(
            f"{path}: the graph takes {inputs} and returns {outputs}, which contradicts its metadata. "
            "Export the model again."
        )
    return labels, thresholds, unsure_below, spec
