"""A classifier behind HTTP: opens it in the background, answers requests, and bounds what they may take."""

import asyncio
import io
import logging
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from signs_runtime.classifier import Classifier
from signs_runtime.errors import AnswerError, ImageError
from signs_runtime.placement.limits import find_limits
from signs_runtime.serving.batches import Batches
from signs_runtime.serving.config import ServeConfig
from signs_runtime.serving.metrics import Metrics
from signs_runtime.serving.protocol import HEADER_LENGTH, ProtocolError, make_response, parse_request

Handle = Callable[[Request, Classifier, bytes], Awaitable[Response]]
T = TypeVar("T")

_LARGE = 20_000_000  # pixels: such pictures are decoded one at a time, since each takes hundreds of MB
_LATER = {"retry-after": "1"}
_log = logging.getLogger(__name__)


class Service:
    """One classifier, by the name and version that its addresses have."""

    def __init__(self, open_classifier: Callable[[], Classifier], name: str, version: str, config: ServeConfig) -> None:
        self.name, self.version, self.config, self.metrics = name, version, config, Metrics()
        self.classifier: Classifier | None = None  # None: not ready
        self.failure: Exception | None = None  # why it could not be opened
        self.on_failure: Callable[[], None] = lambda: None
        self.is_settled = asyncio.Event()  # it is ready, or has failed
        self.is_opening = False
        self._open_classifier = open_classifier
        self._batches: Batches | None = None
        self._readers = ThreadPoolExecutor(find_limits().threads, "reader")
        self._one_large = threading.Lock()
        self._open, self._held = 0, 0

    @property
    def is_busy(self) -> bool:
        """Whether a thread still opens or runs the model, for which an exit would have to wait."""
        return self.is_opening or (self._batches is not None and self._batches.is_running)

    async def run(self) -> None:
        """Open the classifier, then answer until this task is cancelled."""
        try:
            classifier = await self._opened()
            largest = self.config.batch or classifier.batch
            run = partial(_run, classifier)
            for count in (1, largest):  # what is made at the first run of a size is made before anybody waits
                images = np.zeros((count, *classifier.input.shape), np.uint8)
                await self._in_thread(run, images, count == 1)
        except Exception as error:  # the command shows it, whatever it is
            self.failure = error
            self.is_settled.set()
            self.on_failure()
            return
        workers = classifier.placement.threads if classifier.placement.device == "cpu" else 1
        self._batches = Batches(run, largest, workers, self.metrics.batch.observe)
        self.classifier = classifier
        self.metrics.ready.set(1)
        self.is_settled.set()
        await self._batches.run()

    def close(self) -> None:
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def predict(self, request: Request, classifier: Classifier, body: bytes) -> Response:
        """`POST /predict`: one picture in, its label out."""
        k = request.query_params.get("top_k", "1")
        if not (k.isascii() and k.isdigit() and len(k) < 10 and int(k)):
            raise HTTPException(400, "top_k must be a whole number from 1.")
        file = await _file_of(request, body)
        image = await self._in_thread(self._read, classifier, file)
        (row,) = await self._answers(image[None])
        prediction = classifier.decide(row)
        self._count(prediction.found or (prediction.label,))
        return JSONResponse(
            {
                "label": prediction.label,
                "probability": prediction.probability,
                "found": list(prediction.found),
                "top": [{"label": label, "probability": share} for label, share in prediction.top_k(int(k))],
                "model": self.name,
                "version": self.version,
            }
        )

    async def infer(self, request: Request, classifier: Classifier, body: bytes) -> Response:
        """`POST /v2/models/NAME/infer`: pixels or files in, probabilities out."""
        length, most = request.headers.get(HEADER_LENGTH), self.config.max_pictures
        try:
            asked = await self._in_thread(parse_request, body, length, classifier.input, most)
        except ProtocolError as error:
            raise HTTPException(400, str(error)) from error
        if asked.images is None:
            images = np.stack([await self._in_thread(self._read, classifier, file) for file in asked.files])
        else:
            images = asked.images
        rows = await self._answers(images)

        def respond() -> tuple[bytes, dict[str, str]]:
            for row in rows:
                prediction = classifier.decide(row)
                self._count(prediction.found or (prediction.label,))
            return make_response(asked, self.name, self.version, classifier.labels, rows)

        content, headers = await self._in_thread(respond)
        return Response(content, headers=headers)

    def limited(self, handle: Handle, path: str) -> Callable[[Request], Awaitable[Response]]:
        """The handler, within the limits of time, bytes and waiting requests; counted under `path`."""

        async def limited(request: Request) -> Response:
            began, status = time.perf_counter(), 500
            try:
                response = await asyncio.wait_for(self._within(request, handle), self.config.timeout)
                status = response.status_code
                return response
            except HTTPException as error:
                status = error.status_code
                raise
            except (ImageError, ClientDisconnect) as error:
                status = 400
                raise HTTPException(status, str(error)) from error
            except asyncio.TimeoutError:
                status = 504
                says = f"The request and its answer took more than {self.config.timeout:g} seconds."
                raise HTTPException(status, says) from None
            except AnswerError as error:
                _log.error("%s", error)  # its text is onnxruntime's, and not for strangers
                raise HTTPException(status, "The model cannot answer; the server's log says why.") from error
            finally:
                self.metrics.requests.labels(path, str(status)).inc()
                self.metrics.seconds.labels(path).observe(time.perf_counter() - began)

        return limited

    def ready(self) -> Classifier:
        """The classifier. Raises HTTPException if it is not ready."""
        if self.classifier is None:
            raise HTTPException(503, "The bundle is not proved yet. Try again later.", _LATER)
        return self.classifier

    def check_name(self, request: Request) -> None:
        """Raise HTTPException if the address is another model's."""
        name, version = request.path_params.get("name", self.name), request.path_params.get("version", self.version)
        if (name, version) != (self.name, self.version):
            says = f"This server has no model {name!r}, version {version!r}. It serves {self.name!r}, {self.version!r}."
            raise HTTPException(404, says)

    async def _opened(self) -> Classifier:
        """Open the classifier in a daemon thread, for which an exit does not wait: a proof can take minutes."""
        opened: asyncio.Future[Classifier] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def tell(found: Classifier | None, error: Exception | None) -> None:
            if opened.done():  # cancelled
                return
            if error is not None:
                opened.set_exception(error)
            elif found is not None:
                opened.set_result(found)

        def work() -> None:
            found, error = None, None
            try:
                found = self._open_classifier()
            except Exception as raised:  # it is raised again by `run`
                error = raised
            self.is_opening = False
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, found, error)

        self.is_opening = True
        threading.Thread(target=work, daemon=True).start()
        return await opened

    async def _within(self, request: Request, handle: Handle) -> Response:
        self.check_name(request)
        classifier = self.ready()
        self._check_open()
        held = [0]
        try:
            body = await self._body(request, held)
            self._check_open()
            self._open += 1
            self.metrics.open.set(self._open)
            try:
                return await handle(request, classifier, body)
            finally:
                self._open -= 1
                self.metrics.open.set(self._open)
        finally:
            self._held -= held[0]
            self.metrics.held.set(self._held)

    def _check_open(self) -> None:
        if self._open >= self.config.max_waiting:
            raise HTTPException(429, f"{self._open} requests are waiting. Try again later.", _LATER)

    async def _body(self, request: Request, held: list[int]) -> bytes:
        """The whole body, within the limits; `held` counts its bytes. Raises HTTPException."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise HTTPException(415, "Compressed bodies are not read. Send the body as it is.")
        most, length = self.config.max_bytes, request.headers.get("content-length", "0")
        too_large = HTTPException(413, f"The body is larger than the {most} bytes allowed.")
        if not length.isdigit() or len(length) > 15 or int(length) > most:
            raise too_large
        parts = []
        async for part in request.stream():
            held[0] += len(part)
            self._held += len(part)
            self.metrics.held.set(self._held)
            if held[0] > most:
                raise too_large
            if self._held > self.config.max_held:
                raise HTTPException(429, "The server holds as much as it may. Try again later.", _LATER)
            parts.append(part)
        return b"".join(parts)

    def _read(self, classifier: Classifier, file: bytes) -> NDArray[np.uint8]:
        if _pixels(file) <= _LARGE:
            return classifier.preprocess(io.BytesIO(file))
        with self._one_large:
            return classifier.preprocess(io.BytesIO(file))

    async def _answers(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert self._batches is not None  # ready
        return await self._batches.probabilities(images)

    async def _in_thread(self, work: Callable[..., T], *given: Any) -> T:  # Any: what `work` takes
        return await asyncio.get_running_loop().run_in_executor(self._readers, partial(work, *given))

    def _count(self, labels: tuple[str, ...]) -> None:
        for label in labels:
            self.metrics.labels.labels(label).inc()


def _run(classifier: Classifier, images: NDArray[np.uint8], alone: bool) -> NDArray[np.float32]:
    return classifier.probabilities(images, alone=alone)


async def _file_of(request: Request, body: bytes) -> bytes:
    """The picture's file: the body, or the only file of a form. Raises HTTPException."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        if not body:
            raise HTTPException(400, "The body is empty. Send a picture's file as the body.")
        return body

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=8)
    parser.spool_max_size = len(body) + 1  # in memory: the disk may be read-only
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError) as error:
        raise HTTPException(400, f"The form cannot be read: {error}") from error
    files = [each for each in form.values() if not isinstance(each, str)]
    if len(files) != 1:
        raise HTTPException(400, "The form must have one file, the picture.")
    content: bytes = await files[0].read()
    return content


def _pixels(file: bytes) -> int:
    """The number of pixels that a picture's header claims; 0 if it has none that can be read."""
    try:
        with Image.open(io.BytesIO(file)) as image:
            return image.width * image.height
    except Exception:  # whatever a decoder raises; reading the picture tells
        return 0
