"""The web application: `POST /predict` for a picture, the Open Inference Protocol, health, metrics, a manual."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from signs_runtime.serving.manual import MANUAL, openapi
from signs_runtime.serving.protocol import EXTENSIONS, describe_model
from signs_runtime.serving.service import Service
from signs_runtime.version import __version__

_log = logging.getLogger(__name__)


def make_app(service: Service, *, waits: bool = False) -> Starlette:
    """The application around a service; its lifespan runs the service, and begins once that is ready if it `waits`."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(service.run())
        if waits:
            await service.is_settled.wait()
            if service.failure is not None:
                raise service.failure
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        service.close()

    async def about_server(request: Request) -> Response:
        return JSONResponse({"name": "signs-edge", "version": __version__, "extensions": list(EXTENSIONS)})

    async def about_model(request: Request) -> Response:
        service.check_name(request)
        classifier = service.ready()
        return JSONResponse(describe_model(service.name, service.version, classifier.input, classifier.labels))

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Request) -> Response:
        service.check_name(request)
        service.ready()
        return JSONResponse({"ready": True, "name": service.name})

    async def show_metrics(request: Request) -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def show_manual(request: Request) -> Response:
        return HTMLResponse(MANUAL)

    async def show_openapi(request: Request) -> Response:
        return JSONResponse(openapi(service.name))

    model = "/v2/models/{name}"
    versions = (model, f"{model}/versions/{{version}}")
    infer = service.limited(service.infer, "/v2/models/infer")
    routes = [
        Route("/", show_manual),
        Route("/openapi.json", show_openapi),
        Route("/metrics", show_metrics),
        Route("/predict", service.limited(service.predict, "/predict"), methods=["POST"]),
        Route("/v2", about_server),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        *(Route(path, about_model) for path in versions),
        *(Route(f"{path}/ready", ready) for path in versions),
        *(Route(f"{path}/infer", infer, methods=["POST"]) for path in versions),
    ]
    # Starlette's own types are narrower: a handler may take the exception that it is for.
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _refuse, Exception: _fail},  # type: ignore[dict-item]
    )


async def _refuse(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _fail(request: Request, error: Exception) -> Response:
    _log.error("a request failed", exc_info=error)
    return JSONResponse({"error": "Internal error; the server's log says more."}, 500)
