"""What the public names give goes to other processes and comes back: values, errors, and classifiers by their path."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import signs_runtime
from signs_runtime import Classifier, SignsError, VerificationError, verify
from signs_runtime.placement.timing import TimingError

from .colours import LABELS, SIZE, plain
from .tiny_onnx import colour_classifier


def test_a_classifier_reopens_in_other_processes_with_its_options(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle.parent)
    classifier = Classifier(bundle.name, threads=1, threshold=0.25, cache=False)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        answers = pool.map(classifier.predict, [plain(label) for label in LABELS])
        assert [answer.label for answer in answers] == list(LABELS)
    monkeypatch.chdir("/")
    again = pickle.loads(pickle.dumps(classifier))
    assert (again.placement, again.labels, again.input) == (classifier.placement, classifier.labels, classifier.input)
    assert copy.deepcopy(classifier).predict(plain("red")).label == "red"


def test_a_failed_proof_reaches_the_parent_with_what_was_found(bundle: Path, reseal: Callable[..., None]) -> None:
    (bundle / "fp32.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=-1.0))
    reseal(bundle)
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(VerificationError, match="failed its proof") as caught,
    ):
        pool.submit(Classifier, bundle, verify=True).result(timeout=60)
    assert not caught.value.verification.passed
    assert caught.value.exit_code == 3


def test_every_public_error_pickles(bundle: Path) -> None:
    verification = verify(bundle)
    for name in signs_runtime.__all__:
        kind = getattr(signs_runtime, name)
        if isinstance(kind, type) and issubclass(kind, SignsError):
            error = kind(bundle, verification) if kind is VerificationError else kind("what happened; what to do")
            again = pickle.loads(pickle.dumps(error))
            assert (type(again), str(again)) == (kind, str(error))
    assert str(pickle.loads(pickle.dumps(TimingError("no")))) == "no"


def test_every_public_value_pickles(bundle: Path) -> None:
    classifier = Classifier(bundle)
    (outcome,) = classifier.stream([plain("red")])
    for value in (classifier.predict(plain("red")), classifier.placement, classifier.input, outcome, verify(bundle)):
        assert repr(pickle.loads(pickle.dumps(value))) == repr(value)
    assert np.array_equal(
        pickle.loads(pickle.dumps(outcome)).prediction.probabilities, outcome.prediction.probabilities
    )
