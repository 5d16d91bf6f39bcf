"""`signs serve` and clients that are slow, greedy or broken: none takes memory, time or a place that others need."""

import http.client
import io
import json
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..colours import LABELS, SIZE
from .running import Server, file_of, pixels

for needed in ("starlette", "uvicorn", "prometheus_client", "python_multipart"):
    pytest.importorskip(needed)

INFER = "/v2/models/bundle/infer"
GET = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def is_closed(connection: socket.socket) -> bool:
    """Read what there is, until the end; False if the server keeps the connection for 20 seconds."""
    try:
        while connection.recv(2**16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def refuses(connection: socket.socket, parts: Iterable[bytes]) -> bool:
    """Whether the server closes the connection, or reads no more, before all parts are sent."""
    try:
        for each in parts:
            connection.sendall(each)
            time.sleep(0.001)
    except (ConnectionError, TimeoutError):
        return True
    return is_closed(connection)


def ends(connection: socket.socket, drip: bytes) -> bool:
    """Whether the server ends the connection within ten seconds, though something comes all the time."""
    connection.settimeout(0.05)
    for _ in range(50):
        time.sleep(0.15)
        try:
            connection.sendall(drip)
            if not connection.recv(2**16):
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def metric(server: Server, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", server.ask("GET", "/metrics")[1], re.MULTILINE)
    assert found
    return float(found[1])


def test_small_requests_that_ask_for_much_are_refused_at_once(bundle: Path) -> None:
    files = b"".join(struct.pack("<I", 1) + b"x" for _ in range(1000))
    head = {"name": "picture", "datatype": "BYTES", "shape": [1000], "parameters": {"binary_data_size": len(files)}}
    text = json.dumps({"inputs": [head]}).encode()
    with Server.start(bundle) as server:
        server.wait_until_ready()
        before = server.memory()
        for body, headers, words in (
            (pixels(shape=[99] * 100_000), {}, "1 to 4 numbers"),
            (pixels(shape=[1] * 65), {}, "1 to 4 numbers"),
            (pixels(shape=[10**9, *SIZE, 3]), {}, "may have 64 pictures"),
            (pixels(shape=[64, *SIZE, 3], data=[0] * 10), {}, "has 10 numbers"),
            (pixels(data=["x" * 200_000] + [1] * 50_000), {}, "whole numbers from 0 to 255"),
            (pixels(data=[[[[[[1]]]]]]), {}, "whole numbers from 0 to 255"),
            (pixels(data=[True] * 12), {}, "whole numbers from 0 to 255"),
            (pixels(name="x" * 100_000), {}, "must be named"),
            (text + files, {"inference-header-content-length": str(len(text))}, "may have 64 pictures"),
        ):
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            began = time.perf_counter()
            status, document = server.ask("POST", INFER, content, headers)
            assert (status, words in document["error"]) == (400, True), document
            assert len(document["error"]) < 500
            assert time.perf_counter() - began < 5
        assert server.memory() < before + 50


def test_a_header_and_trailers_have_a_limit(bundle: Path) -> None:
    with Server.start(bundle) as server:
        server.wait_until_ready()
        chunked = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        for begun in (b"GET / HTTP/1.1\r\n", chunked):
            with connected(server) as greedy:
                greedy.sendall(begun)
                assert refuses(greedy, (f"a{i}: {'x' * 10_000}\r\n".encode() for i in range(100)))
        assert server.ask("GET", "/v2/health/live")[0] == 200


def test_many_requests_in_one_go_are_not_piled_up(bundle: Path) -> None:
    with Server.start(bundle, "--timeout", 2) as server:
        server.wait_until_ready()
        before = server.memory()
        with connected(server) as greedy:
            greedy.settimeout(5)
            assert refuses(greedy, (GET * 100 for _ in range(10_000)))
            assert server.memory() < before + 50
            assert is_closed(greedy)  # who reads nothing is not waited for
        assert server.end() == 0


def test_a_connection_without_a_request_is_ended(bundle: Path) -> None:
    with Server.start(bundle, "--timeout", 1) as server:
        server.wait_until_ready()
        drips: tuple[tuple[bytes, bytes], ...] = (
            (b"", b""),
            (b"GET / HT", b"T"),
            (GET, b"\r\n"),
            (b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"x"),
        )
        for begun, drip in drips:
            with connected(server) as slow:
                slow.sendall(begun)
                assert ends(slow, drip)


def test_a_connection_that_is_used_lives_on(bundle: Path) -> None:
    """It was ended after a while if it happened to be between two requests whenever the server looked."""
    with Server.start(bundle, "--timeout", 0.4) as server:
        server.wait_until_ready()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for _ in range(60):
            connection.request("GET", "/v2/health/live")
            assert connection.getresponse().read() == b'{"live":true}'
            time.sleep(0.05)
        connection.close()


def test_slow_uploads_take_nobodys_place(bundle: Path) -> None:
    with Server.start(bundle, "--max-waiting", 4, "--timeout", 2) as server:
        server.wait_until_ready()
        slow = [connected(server) for _ in range(10)]
        for each in slow:
            each.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
        time.sleep(0.2)
        assert server.ask("POST", "/predict", file_of(LABELS[0]))[0] == 200
        assert metric(server, "signs_held_bytes") == 10
        assert {each.recv(100)[:12] for each in slow} == {b"HTTP/1.1 504"}
        for each in slow:
            each.close()
        time.sleep(0.2)
        assert metric(server, "signs_held_bytes") == 0


def test_too_many_connections_are_ended(bundle: Path) -> None:
    with Server.start(bundle, "--max-waiting", 2) as server:
        server.wait_until_ready()
        many = [connected(server) for _ in range(256)]
        time.sleep(0.3)
        with connected(server) as late:
            assert is_closed(late)
        for each in many:
            each.close()
        time.sleep(0.2)
        assert server.ask("GET", "/v2/health/live")[0] == 200


def test_requests_beyond_the_queue_get_429_and_the_others_their_answers(bundle: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)).save(file, "PNG")
    with Server.start(bundle, "--max-waiting", 2) as server:
        server.wait_until_ready()
        with ThreadPoolExecutor(6) as clients:
            asked = clients.map(lambda _: server.ask("POST", "/predict", file.getvalue())[0], range(60))
            found = Counter(asked)
        assert found.keys() == {200, 429}
        assert metric(server, "signs_open_requests") == 0


def test_a_client_that_goes_away_leaves_nothing(bundle: Path) -> None:
    with Server.start(bundle) as server:
        server.wait_until_ready()
        for sent in (b"x", file_of(LABELS[0])):
            with connected(server) as gone:
                head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(file_of(LABELS[0]))}\r\n\r\n"
                gone.sendall(head.encode() + sent)
        for _ in range(50):
            if (metric(server, "signs_held_bytes"), metric(server, "signs_open_requests")) == (0, 0):
                break
            time.sleep(0.05)
        else:
            raise AssertionError("something is still held")
        assert server.ask("POST", "/predict", file_of(LABELS[1]))[1]["label"] == LABELS[1]
