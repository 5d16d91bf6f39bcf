"""`signs serve` in real processes: it answers as the classifier does, keeps its limits, and ends cleanly."""

import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from signs_runtime import Classifier
from signs_runtime.bundle.folder import open_bundle

from ..colours import LABELS, SIZE, plain
from ..tiny_onnx import colour_classifier
from .running import COMMAND, Server, file_of, pixels

for needed in ("starlette", "uvicorn", "prometheus_client", "python_multipart"):
    pytest.importorskip(needed)

INFER = "/v2/models/bundle/infer"
OUTPUT = {"name": "probabilities"}


@pytest.fixture
def server(bundle: Path) -> Iterator[Server]:
    with Server.start(bundle) as server:
        yield server.wait_until_ready()


def test_a_picture_gets_the_classifiers_own_answer(server: Server, bundle: Path) -> None:
    classifier = Classifier(bundle)
    for label in LABELS:
        file = file_of(label)
        status, document = server.ask("POST", "/predict?top_k=2", file)
        own = classifier.predict(io.BytesIO(file))
        assert (status, document["label"], document["found"]) == (200, own.label, list(own.found))
        assert [(each["label"], each["probability"]) for each in document["top"]] == [
            (label, pytest.approx(probability)) for label, probability in own.top_k(2)
        ]
    digest = open_bundle(bundle).manifest.digest
    assert (document["model"], document["version"]) == ("bundle", digest[:12])


def test_a_form_with_a_file_is_a_picture_however_large(server: Server) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)).save(file, "PNG")
    for content, field in ((file.getvalue(), "file"), (file_of(LABELS[1]), "anything")):
        head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n\r\n'.encode()
        body = head + content + b"\r\n--x--\r\n"
        status, document = server.ask("POST", "/predict", body, {"content-type": "multipart/form-data; boundary=x"})
        assert (status, document.get("label") in (*LABELS, "unsure")) == (200, True), document
    assert document["label"] == LABELS[1]


def test_the_protocols_json_and_binary_tensors_agree(server: Server, bundle: Path) -> None:
    images = np.stack([plain(label) for label in LABELS])
    own = Classifier(bundle).probabilities(images)
    request = {"id": "7", **pixels(shape=list(images.shape), data=images.tolist())}
    status, document = server.ask("POST", INFER, json.dumps(request))
    assert (status, document["id"], document["model_name"]) == (200, "7", "bundle")
    (output,) = document["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [3, 3])
    assert np.allclose(np.reshape(output["data"], (3, 3)), own)
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(images.shape)}
    text = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": images.nbytes}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    versioned = f"/v2/models/bundle/versions/{document['model_version']}/infer"
    status, document = server.ask("POST", versioned, text + images.tobytes(), headers)
    assert status == 200, document
    assert np.allclose(np.reshape(document["outputs"][0]["data"], (3, 3)), own)


@pytest.fixture(scope="module")
def client_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with a public client of the protocol, whose dependencies are not ours."""
    folder = tmp_path_factory.mktemp("client")
    python = folder / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", "tritonclient[http]==2.73.0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"pip cannot fetch tritonclient: {result.stderr[-300:]}")
    return python


CLIENT = """
import json, sys
import numpy as np
import tritonclient.http as of
port, folder = sys.argv[1:]
client = of.InferenceServerClient(f"127.0.0.1:{port}")
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("bundle")
assert client.get_server_metadata()["extensions"] == ["binary_tensor_data", "classification"]
assert [each["name"] for each in client.get_model_metadata("bundle")["inputs"]] == ["image"]
images, own = np.load(f"{folder}/images.npy"), np.load(f"{folder}/probabilities.npy")
for is_binary in (True, False):
    taken = of.InferInput("image", list(images.shape), "UINT8")
    taken.set_data_from_numpy(images, binary_data=is_binary)
    answer = client.infer("bundle", [taken], outputs=[of.InferRequestedOutput("probabilities", binary_data=is_binary)])
    assert np.allclose(answer.as_numpy("probabilities"), own)
files = np.array([open(f"{folder}/{i}.png", "rb").read() for i in range(len(images))], dtype=object)
taken = of.InferInput("picture", [len(files)], "BYTES")
taken.set_data_from_numpy(files)
assert np.allclose(client.infer("bundle", [taken]).as_numpy("probabilities"), own)
best = client.infer("bundle", [taken], outputs=[of.InferRequestedOutput("probabilities", class_count=1)])
print(json.dumps([each.decode().split(":")[2] for each in best.as_numpy("probabilities").ravel()]))
"""


def test_a_public_client_speaks_with_it(server: Server, bundle: Path, client_python: Path, tmp_path: Path) -> None:
    images = np.stack([plain(label) for label in LABELS])
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "probabilities.npy", Classifier(bundle).probabilities(images))
    for i, label in enumerate(LABELS):
        (tmp_path / f"{i}.png").write_bytes(file_of(label))
    command = [str(client_python), "-c", CLIENT, str(server.port), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout) == list(LABELS)


BAD: tuple[tuple[str, object, dict[str, str], int, str], ...] = (
    ("/predict", b"", {}, 400, "body is empty"),
    ("/predict", b"no picture", {}, 400, "not a picture"),
    ("/predict?top_k=-1", b"x", {}, 400, "top_k must be"),
    ("/predict", b"x", {"content-encoding": "gzip"}, 415, "Compressed"),
    ("/predict", b"--x\r\n", {"content-type": "multipart/form-data; boundary=x"}, 400, "form"),
    ("/predict", b"x", {"content-type": "multipart/form-data"}, 400, "form"),
    ("/predict", b"x", {"content-type": "multipart/form-data; boundary=x; charset=undefined"}, 400, "form"),
    ("/nowhere", b"x", {}, 404, "Not Found"),
    ("/v2/health/live", b"x", {}, 405, "Method Not Allowed"),
    ("/v2/models/other/infer", b"{}", {}, 404, "no model 'other'"),
    ("/v2/models/bundle/versions/9/infer", b"{}", {}, 404, "version '9'"),
    (INFER, b"{", {}, 400, "not valid JSON"),
    (INFER, b"[" * 100_000, {}, 400, "not valid JSON"),
    (INFER, b"[]", {}, 400, "JSON object"),
    (INFER, b"{}", {}, 400, "one input"),
    (INFER, pixels(name="pixels"), {}, 400, "must be named"),
    (INFER, pixels(datatype="FP32"), {}, 400, "must be UINT8"),
    (INFER, pixels(shape=[1, 2, -3]), {}, 400, "list of numbers from 1"),
    (INFER, {**pixels(), "id": 7}, {}, 400, "id must be a text"),
    (INFER, pixels(shape=[1, SIZE[0] * SIZE[1] * 3]), {}, 400, "Images must be of shape"),
    (INFER, pixels(data=[[1], [2, 3]]), {}, 400, "has 3 numbers"),
    (INFER, pixels(data=[300]), {}, 400, "0 to 255"),
    (INFER, pixels(data=7), {}, 400, "0 to 255"),
    (INFER, pixels(data=["a"]), {}, 400, "0 to 255"),
    (INFER, pixels(name="picture", datatype="BYTES", data=["a"]), {}, 400, "binary data"),
    (INFER, pixels(), {"inference-header-content-length": "99999999"}, 400, "has only"),
    (INFER, pixels(), {"inference-header-content-length": "1e3"}, 400, "whole number"),
    (INFER, {**pixels(), "outputs": [{"name": "logits"}]}, {}, 400, "output must be named"),
    (INFER, {**pixels(), "outputs": [OUTPUT | {"parameters": {"classification": -1}}]}, {}, 400, "whole"),
    (INFER, pixels(parameters={"binary_data_size": 4}, data=None), {}, 400, "binary_data_size is 4"),
)


def test_bad_requests_are_refused_with_their_reasons(server: Server) -> None:
    for path, body, headers, status, words in BAD:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        found, document = server.ask("POST", path, content, headers)
        assert (found, words in document["error"]) == (status, True), (path, body, document)
    assert server.ask("POST", "/predict", file_of(LABELS[0]))[1]["label"] == LABELS[0]  # and the server lives on


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(bundle: Path) -> None:
    with Server.start(bundle, "--max-bytes", 1000) as server:
        server.wait_until_ready()
        assert server.ask("POST", "/predict", b"x" * 1001)[0] == 413
        assert server.ask("POST", "/predict", b"x" * 10**6)[0] == 413  # and the client sees it, whatever it still sends
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sent:  # without a length
            sent.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            sent.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            assert sent.recv(100).startswith(b"HTTP/1.1 413")


def test_many_clients_at_once_are_all_answered_rightly_and_counted(server: Server) -> None:
    files = [file_of(label) for label in LABELS]
    with ThreadPoolExecutor(8) as clients:
        found = list(clients.map(lambda i: server.ask("POST", "/predict", files[i % 3])[1]["label"], range(300)))
    assert found == [LABELS[i % 3] for i in range(300)]
    metrics = server.ask("GET", "/metrics")[1]
    assert 'signs_requests_total{path="/predict",status="200"} 300.0' in metrics
    assert f'signs_labels_total{{label="{LABELS[0]}"}} 100.0' in metrics
    assert "signs_batch_pictures_sum 300.0" in metrics
    assert "signs_ready 1.0" in metrics


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_running_request(server: Server, number: int) -> None:
    file = file_of(LABELS[2])
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as running:
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(file)}\r\n\r\n"
        running.sendall(head.encode() + file[:10])
        time.sleep(0.3)
        server.process.send_signal(number)
        time.sleep(0.3)
        running.sendall(file[10:])
        answer = running.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 200")
    assert server.process.wait(20) == 0


def test_after_a_kill_it_starts_again_on_the_same_port(bundle: Path) -> None:
    with Server.start(bundle) as first:
        first.wait_until_ready()
        port = first.port
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
    with Server.start(bundle, "--port", port) as second:
        assert second.wait_until_ready().port == port
        assert second.ask("POST", "/predict", file_of(LABELS[0]))[1]["label"] == LABELS[0]


def test_a_bundle_that_fails_its_proof_is_not_served(bundle: Path, reseal: Callable[..., None]) -> None:
    (bundle / "fp32.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=0.01))
    reseal(bundle)
    ended = subprocess.run([*COMMAND, str(bundle), "--port", "0"], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, "does not give the golden answers" in ended.stderr) == (3, True), ended.stderr
    assert "Traceback" not in ended.stderr
    (bundle / "fp32.onnx").write_bytes(b"")
    ended = subprocess.run([*COMMAND, str(bundle), "--port", "0"], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, "sealed with" in ended.stderr) == (1, True), ended.stderr


def test_a_single_file_is_served_and_a_signal_during_the_start_ends_it(bundle: Path) -> None:
    with Server.start(bundle / "fp32.onnx") as server:
        server.wait_until_ready()
        assert server.ask("POST", "/v2/models/fp32/versions/file/infer", json.dumps(pixels()))[0] == 200
    for wait in (0, 0.1, 0.3):
        with Server.start(bundle) as server:
            time.sleep(wait)
            assert server.end() == 0


def test_a_port_that_is_taken_is_an_error_with_a_reason(server: Server, bundle: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, str(bundle), "--port", str(server.port)], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, "in use" in ended.stderr) == (1, True), ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_describes_itself_to_machines_and_to_people(server: Server) -> None:
    status, document = server.ask("GET", "/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    for path, methods in document["paths"].items():
        for method in methods:
            found = server.ask(method.upper(), path, b"{}")[0]
            assert found not in (404, 405), path
    assert "curl --data-binary" in server.ask("GET", "/")[1]


def test_requests_that_arrive_during_a_run_share_the_next(bundle: Path) -> None:
    """On `Batches` itself, where the model can be held: how many run together is no matter of luck."""
    import asyncio

    from signs_runtime.serving.batches import Batches

    held, sizes = threading.Event(), []

    def model(images: NDArray[np.uint8], alone: bool) -> NDArray[np.float32]:
        sizes.append(len(images))
        held.wait(10)
        if (images == 13).any():
            raise ValueError("thirteen")
        return images[:, 0, 0, :1].astype(np.float32)

    async def ask() -> None:
        batches = Batches(model, 4)
        running = asyncio.create_task(batches.run())
        those = ((1, 1), (2, 2), (1, 3), (1, 4), (6, 5), (1, 13))  # images, and their value
        images = [np.full((n, 2, 2, 3), value, np.uint8) for n, value in those]
        asked = []
        for each in images:
            asked.append(asyncio.create_task(batches.probabilities(each)))
            await asyncio.sleep(0.05)  # the first runs; the others wait
        asked[3].cancel()
        held.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [len(each) for each in answers[:3]] == [1, 2, 1]  # type: ignore[arg-type]
        assert [float(each[0, 0]) for each in answers[:3]] == [1, 2, 3]  # type: ignore[index]
        assert isinstance(answers[3], asyncio.CancelledError)
        assert str(answers[4]) == str(answers[5]) == "thirteen"  # they ran together
        running.cancel()

    asyncio.run(ask())
    assert sizes == [1, 3, 4, 3]  # six in two parts, and the last with the second of them


def test_a_model_that_cannot_answer_is_not_told_as_a_label(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=float("nan")))
    with Server.start(tmp_path / "model.onnx") as server:
        server.wait_until_ready()
        for path in ("/predict", "/v2/models/model/infer"):
            body = file_of(LABELS[0]) if path == "/predict" else json.dumps(pixels()).encode()
            status, document = server.ask("POST", path, body)
            assert (status, document) == (500, {"error": "The model cannot answer; the server's log says why."})
        assert server.ask("GET", "/v2/health/live")[0] == 200


def test_missing_packages_are_named(bundle: Path) -> None:
    code = "import sys; sys.modules['starlette'] = None; from signs_runtime.commands.signs import signs; signs()"
    child = subprocess.run([sys.executable, "-c", code, "serve", bundle], capture_output=True, text=True)
    assert (child.returncode, "pip install starlette" in child.stderr) == (1, True), child.stderr
