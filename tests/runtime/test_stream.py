"""Streams: in order, a few ahead, one bad picture is one bad outcome."""

import io
import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from signs_runtime import Classifier, ImageError, OptionError

from .colours import LABELS, SIZE, plain

Images = list[NDArray[np.uint8]]


@pytest.fixture
def images() -> Images:
    return list(np.random.default_rng(0).integers(0, 256, (100, *SIZE, 3), np.uint8))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [None, 1, 7, 200])
def test_a_stream_answers_as_predict_does_and_in_order(
    bundle: Path, images: Images, threads: int, batch: int | None
) -> None:
    classifier = Classifier(bundle, threads=threads)
    outcomes = list(classifier.stream(iter(images), batch=batch))
    assert all(np.array_equal(outcome.picture, image) for outcome, image in zip(outcomes, images, strict=True))
    alone = np.stack([classifier.predict(image).probabilities for image in images])
    assert np.allclose([each.prediction.probabilities for each in outcomes], alone, atol=1e-6)


def test_no_pictures_are_no_outcomes(bundle: Path) -> None:
    assert list(Classifier(bundle).stream([])) == []


def test_bad_pictures_are_outcomes_with_their_error_and_the_others_go_on(bundle: Path, pictures: Path) -> None:
    (pictures / "broken.png").write_text("no picture")
    files = [pictures / f"{name}.png" for name in ("red", "broken", "green", "missing", "blue")] * 5
    outcomes = list(Classifier(bundle).stream(files))
    assert [outcome.picture for outcome in outcomes] == files
    for outcome in outcomes:
        if outcome.picture.stem in LABELS:
            assert (outcome.error, outcome.prediction.label) == (None, outcome.picture.stem)
        else:
            assert isinstance(outcome.error, ImageError)
            with pytest.raises(ImageError, match=outcome.picture.name):
                outcome.prediction  # noqa: B018  # the look-up is the test


def test_only_bad_pictures_are_only_errors(bundle: Path, tmp_path: Path) -> None:
    outcomes = list(Classifier(bundle).stream([tmp_path / f"{i}.png" for i in range(20)]))
    assert len(outcomes) == 20
    assert all(isinstance(outcome.error, ImageError) for outcome in outcomes)


def test_a_frame_is_answered_before_the_next_one_comes(bundle: Path, images: Images) -> None:
    """As from a camera: who waits for a batch to fill never answers."""
    answered = threading.Event()

    def frames() -> Iterator[NDArray[np.uint8]]:
        for image in images[:20]:
            answered.clear()
            yield image
            assert answered.wait(20)

    count = 0
    for outcome in Classifier(bundle).stream(frames()):
        assert outcome.error is None
        count += 1
        answered.set()
    assert count == 20


def test_an_endless_source_is_read_only_a_little_ahead_and_can_be_left(bundle: Path, images: Images) -> None:
    read = itertools.count()
    before = threading.active_count()
    stream = Classifier(bundle, threads=2).stream((images[next(read) % 100] for _ in itertools.count()), batch=4)
    for _ in range(10):
        next(stream)
    assert next(read) <= 10 + 2 * 2 * 4 + 1
    stream.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(20)
    assert threading.active_count() <= before


def test_what_a_source_raises_comes_after_what_it_gave(bundle: Path, images: Images) -> None:
    def frames() -> Iterator[NDArray[np.uint8]]:
        yield from images[:5]
        raise RuntimeError("the camera was unplugged")

    stream = Classifier(bundle).stream(frames())
    for _ in range(5):
        assert next(stream).error is None
    with pytest.raises(RuntimeError, match="unplugged"):
        next(stream)


def test_what_is_no_picture_ends_no_stream(bundle: Path) -> None:
    outcomes = list(Classifier(bundle).stream([plain("red"), 5, plain("blue")]))  # type: ignore[type-var]  # the refusal is the test
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]


def test_a_stream_takes_frames_in_bgr_where_it_is_told(bundle: Path) -> None:
    frames = [plain(label, (30, 40))[:, :, ::-1] for label in LABELS]
    classifier = Classifier(bundle)
    assert [each.prediction.label for each in classifier.stream(frames, channels="BGR")] == list(LABELS)
    assert [each.prediction.label for each in classifier.stream(frames)] == list(reversed(LABELS))


def test_a_batch_of_no_pictures_and_unknown_channels_are_refused_at_once(bundle: Path) -> None:
    with pytest.raises(OptionError, match="batch=0"):
        Classifier(bundle).stream([], batch=0)
    with pytest.raises(OptionError, match="channels='GBR'"):
        Classifier(bundle).stream([], channels="GBR")  # type: ignore[arg-type]


@pytest.mark.parametrize("left", ["for _ in stream: break", "next(stream)", "next(stream); stream.close()"])
def test_a_process_that_leaves_a_stream_ends_well(bundle: Path, left: str) -> None:
    """Threads that are inside onnxruntime when Python ends would abort the process."""
    code = (
        "import sys, itertools, numpy; from signs_runtime import Classifier\n"
        "image = numpy.zeros((8, 6, 3), 'uint8')\n"
        f"stream = Classifier(sys.argv[1], threads=2).stream(itertools.repeat(image))\n{left}"
    )
    for _ in range(3):
        result = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, timeout=60)
        assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_folder_ends_as_the_shell_has_it(
    bundle: Path, pictures: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(20_000):
        (folder / f"{i}.png").symlink_to(pictures / "red.png")
    command = [
        sys.executable,
        "-c",
        "from signs_runtime.commands.signs import signs; signs()",
        "predict",
        str(bundle),
        str(folder),
    ]
    process = subprocess.Popen([*command, "--csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()  # it labels
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Interrupted" in said) == (code, True)


def test_several_streams_and_predictions_share_one_classifier(bundle: Path, images: Images) -> None:
    classifier = Classifier(bundle, threads=2)
    expected = [classifier.predict(image).index for image in images]
    wrong: list[int] = []

    def work(k: int) -> None:
        if k % 2:
            given = [outcome.prediction.index for outcome in classifier.stream(images)]
        else:
            given = [classifier.predict(image).index for image in images]
        if given != expected:
            wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("batch", [1, 4, None])
@pytest.mark.parametrize("size", [SIZE, (30, 40)])
def test_a_camera_may_write_each_frame_into_one_buffer(bundle: Path, batch: int | None, size: tuple[int, int]) -> None:
    buffer = np.empty((*size, 3), np.uint8)

    def camera() -> Iterator[NDArray[np.uint8]]:
        for i in range(300):
            buffer[:] = plain(LABELS[i % 3], size)
            yield buffer

    classifier = Classifier(bundle, threads=2)
    expected = [LABELS[i % 3] for i in range(300)]
    outcomes = list(classifier.stream(camera(), batch=batch))
    assert [outcome.prediction.label for outcome in outcomes] == expected
    assert all(np.array_equal(outcome.picture, plain(outcome.prediction.label, size)) for outcome in outcomes)
    assert [each.label for each in classifier.predict_batch(camera())] == expected
    assert not np.shares_memory(classifier.preprocess(buffer), buffer)


def test_a_camera_may_write_each_file_into_one_buffer(bundle: Path) -> None:
    files = {label: io.BytesIO() for label in LABELS}
    for label, file in files.items():
        Image.fromarray(plain(label, (30, 40))).save(file, "PNG")

    def camera() -> Iterator[io.BytesIO]:  # as picamera's capture_continuous
        buffer = io.BytesIO()
        for i in range(30):
            buffer.seek(0)
            buffer.truncate()
            buffer.write(files[LABELS[i % 3]].getvalue())
            yield buffer

    outcomes = list(Classifier(bundle, threads=2).stream(camera(), batch=1))
    assert [outcome.prediction.label for outcome in outcomes] == [LABELS[i % 3] for i in range(30)]
    for wrong in ("2", 1.5):
        with pytest.raises(OptionError, match="batch="):
            next(Classifier(bundle).stream([plain("red")], batch=wrong))  # type: ignore[arg-type]  # the refusal is the test
