"""The embedded runtime: pictures in, labels out, and nothing is loaded that was not meant."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signs_runtime import (
    BundleFormatError,
    BundleNotFoundError,
    Classifier,
    ImageError,
    OptionError,
    ProviderError,
    SignsError,
)

from .colours import LABELS, SIZE, plain
from .tiny_onnx import colour_classifier


def test_a_bundle_and_its_model_file_alone_give_the_same_answers(bundle: Path, pictures: Path) -> None:
    for path in (bundle, str(bundle), bundle / "fp32.onnx"):
        classifier = Classifier(path)
        assert classifier.labels == LABELS
        assert classifier.input.shape == (*SIZE, 3)
        for label in LABELS:
            prediction = classifier.predict(pictures / f"{label}.png")
            assert (prediction.label, prediction.index) == (label, LABELS.index(label))
            assert prediction.probability == pytest.approx(float(prediction.probabilities.max()))
            assert prediction.probability > 0.99


@pytest.mark.parametrize("count", [1, 2, 17])
def test_a_batch_answers_as_its_pictures_one_by_one(bundle: Path, count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, *SIZE, 3), np.uint8)
    classifier = Classifier(bundle)
    together = classifier.probabilities(images)
    assert together.dtype == np.float32
    assert together.shape == (count, len(LABELS))
    for image, expected in zip(images, together, strict=True):
        assert np.allclose(classifier.predict(image).probabilities, expected, atol=1e-6)
    labels = [each.label for each in classifier.predict_batch(list(images))]
    assert labels == [LABELS[i] for i in together.argmax(axis=1)]


def test_a_picture_is_shown_as_the_model_gets_it_and_step_by_step(bundle: Path, pictures: Path) -> None:
    classifier = Classifier(bundle)
    image = classifier.preprocess(pictures / "green.png")
    assert (image.dtype, image.shape) == (np.dtype(np.uint8), classifier.input.shape)
    given = classifier.predict(pictures / "green.png").probabilities
    assert np.array_equal(classifier.probabilities(image[None])[0], given)
    steps = classifier.stages(pictures / "green.png")
    assert [(name, step.shape) for name, step in steps.items()] == [
        ("decoded", (30, 40, 3)),
        ("turned", (30, 40, 3)),
        ("colour", (30, 40, 3)),
        ("resized", (8, 6, 3)),
    ]
    assert np.array_equal(steps["resized"], image)


def test_no_pictures_give_no_answers(bundle: Path) -> None:
    classifier = Classifier(bundle)
    assert classifier.predict_batch([]) == []
    assert classifier.probabilities(np.empty((0, *SIZE, 3), np.uint8)).shape == (0, 3)


def test_a_batch_of_the_wrong_kind_is_refused(bundle: Path) -> None:
    classifier = Classifier(bundle)
    wrong: tuple[Any, ...] = (  # Any: of other kinds than it takes
        plain("red"),
        np.zeros((1, *SIZE, 3)),
        np.zeros((1, 9, 9, 3), np.uint8),
        np.zeros((), np.uint8),
    )
    for images in wrong:
        with pytest.raises(ImageError, match="batch must be uint8"):
            classifier.probabilities(images)


def test_a_variant_that_is_not_there_is_refused_with_those_that_are(bundle: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="it has fp32"):
        Classifier(bundle, variant="int8")
    with pytest.raises(OptionError, match="a single model file"):
        Classifier(bundle / "fp32.onnx", variant="int8")


def test_a_device_is_used_or_refused_never_replaced(bundle: Path) -> None:
    with pytest.raises(ProviderError, match="unknown"):
        Classifier(bundle, device="abacus")
    with pytest.raises(ProviderError, match="CUDAExecutionProvider"):
        Classifier(bundle, device="cuda")


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with pytest.raises(BundleNotFoundError, match="No model"):
        Classifier(path)
    for content in (b"", b"not a model", os.urandom(4096), colour_classifier()[:-20]):
        path.write_bytes(content)
        with pytest.raises(BundleFormatError):
            Classifier(path)


def test_an_onnx_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(colour_classifier(metadata={}))
    with pytest.raises(BundleFormatError, match="not exported by signs-edge"):
        Classifier(path)


@pytest.mark.parametrize(
    "metadata",
    [
        {"signs.labels": "[", "signs.input": "{}"},
        {"signs.labels": '["red"]', "signs.input": '{"height": 8, "width": 6, "colour": "RGB", "resize": "bilinear"}'},
        {
            "signs.labels": '["a", "b"]',
            "signs.input": '{"height": 8, "width": 6, "colour": "RGB", "resize": "bilinear"}',
        },
        {
            "signs.labels": '["a", "b", "c"]',
            "signs.input": '{"height": 9, "width": 6, "colour": "RGB", "resize": "nearest"}',
        },
        {"signs.labels": '["a", "b", "c"]', "signs.input": '{"height": 8, "width": 6}'},
    ],
)
def test_a_description_that_does_not_fit_the_graph_is_refused(tmp_path: Path, metadata: dict[str, str]) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(colour_classifier(metadata=metadata))
    with pytest.raises(BundleFormatError):
        Classifier(path)


def test_threads_are_set_as_asked(bundle: Path) -> None:
    assert Classifier(bundle, threads=1).predict(plain("blue")).label == "blue"


def run_python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    return result.stdout.strip()


def test_the_public_names_are_these_and_all_of_them_can_be_had() -> None:
    import signs_runtime

    assert signs_runtime.__all__ == [
        "AnswerError",
        "BundleError",
        "BundleFormatError",
        "BundleNotFoundError",
        "BundleTamperedError",
        "Classifier",
        "ImageError",
        "InputSpec",
        "OnnxruntimeMissingError",
        "OptionError",
        "Outcome",
        "Placement",
        "Prediction",
        "ProviderError",
        "SignsError",
        "Verification",
        "VerificationError",
        "__version__",
        "verify",
    ]
    for name in signs_runtime.__all__:
        assert getattr(signs_runtime, name) is not None
    assert all(
        issubclass(value, SignsError)
        for name in dir(signs_runtime)
        if name.endswith("Error")
        for value in [getattr(signs_runtime, name)]
    )
    with pytest.raises(AttributeError, match="nonsense"):
        signs_runtime.nonsense  # noqa: B018  # the look-up is the test


def test_classifying_loads_nothing_that_an_edge_device_lacks(bundle: Path) -> None:
    code = (
        "import sys, signs_runtime, signs_runtime.commands.signs\n"
        "import numpy\n"
        f"signs_runtime.Classifier({str(bundle)!r}).predict(numpy.zeros((8, 6, 3), 'uint8'))\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'tensorflow', 'keras', 'onnx', 'tf2onnx', 'h5py',"
        " 'signs_builder', 'signs_export', 'jax', 'torch'}))"
    )
    assert run_python(code) == "[]"


def test_the_commands_start_without_numpy_pillow_and_onnxruntime() -> None:
    code = "import sys, signs_runtime.commands.signs; print({'numpy', 'PIL', 'onnxruntime'} & set(sys.modules))"
    assert run_python(code) == "set()"


@pytest.mark.parametrize(("set_by_user", "expected"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_telemetry_is_off_unless_the_user_wants_it(set_by_user: dict[str, str], expected: str) -> None:
    code = (
        "import os\n"
        f"os.environ.pop('ORT_DISABLE_TELEMETRY', None); os.environ.update({set_by_user!r})\n"
        "from signs_runtime.engine.session import import_onnxruntime\n"
        "import_onnxruntime(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    assert run_python(code) == expected


def test_without_an_onnxruntime_the_error_names_the_three_installs(bundle: Path) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "import signs_runtime\n"
        f"try: signs_runtime.Classifier({str(bundle)!r})\n"
        "except ImportError as error: print(error)"
    )
    message = run_python(code)
    for package in ("onnxruntime ", "onnxruntime-gpu ", "onnxruntime-openvino "):
        assert f"pip install {package}" in message


def test_below_the_threshold_a_prediction_is_unsure(bundle: Path) -> None:
    grey = np.full((*SIZE, 3), 100, np.uint8)
    classifier = Classifier(bundle, threshold=0.9)
    unsure = classifier.predict(grey)
    assert (unsure.label, unsure.is_sure) == ("unsure", False)
    assert unsure.probability == pytest.approx(1 / 3)
    sure = classifier.predict(plain("green"))
    assert (sure.label, sure.is_sure) == ("green", True)
    assert Classifier(bundle).predict(grey).is_sure
    with pytest.raises(OptionError, match="threshold=2"):
        Classifier(bundle, threshold=2)


def test_a_threshold_is_refused_where_a_label_says_what_it_would_say(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(colour_classifier(("unsure", "green", "blue")))
    assert Classifier(path).predict(plain("red")).is_sure
    with pytest.raises(BundleFormatError, match="has a label 'unsure'"):
        Classifier(path, threshold=0.5)


def test_the_most_probable_labels_are_given_in_their_order(bundle: Path) -> None:
    prediction = Classifier(bundle).predict(np.full((*SIZE, 3), (90, 100, 80), np.uint8))
    assert [label for label, _ in prediction.top_k(3)] == ["green", "red", "blue"]
    assert prediction.top_k(1) == (("green", prediction.probability),)
    assert prediction.top_k(9) == prediction.top_k(3)
    assert sum(value for _, value in prediction.top_k(3)) == pytest.approx(1)


def test_bgr_is_asked_for_and_is_for_arrays(bundle: Path, pictures: Path) -> None:
    classifier = Classifier(bundle)
    for size in (SIZE, (30, 40)):
        frame = plain("red", size)[:, :, ::-1]
        assert classifier.predict(frame).label == "blue"
        assert classifier.predict(frame, channels="BGR").label == "red"
        assert classifier.predict_batch([frame], channels="BGR")[0].label == "red"
        assert np.array_equal(classifier.preprocess(frame, channels="BGR"), plain("red"))
    with pytest.raises(ImageError, match="is for arrays"):
        classifier.predict(pictures / "red.png", channels="BGR")


def test_threads_that_share_a_classifier_get_their_own_answers(bundle: Path) -> None:
    classifier = Classifier(bundle)
    wrong: list[str] = []

    def work(label: str) -> None:
        wrong.extend(label for _ in range(200) if classifier.predict(plain(label)).label != label)

    threads = [threading.Thread(target=work, args=(LABELS[i % 3],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
