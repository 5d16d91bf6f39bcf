"""The command `signs serve`: a bundle behind HTTP on this device. Its libraries are an extra."""

import os
import sys
from functools import partial
from pathlib import Path

import click

from signs_runtime.commands.options import (
    batch_size_option,
    bundle_argument,
    device_option,
    threads_option,
    variant_option,
)
from signs_runtime.commands.shared import Command
from signs_runtime.errors import OptionError
from signs_runtime.serving.config import ServeConfig

NEEDED = ("starlette", "uvicorn", "python-multipart", "prometheus-client")


@click.command(cls=Command)
@bundle_argument
@click.option("--host", default=ServeConfig.host, show_default=True, help="Address to listen on; 0.0.0.0 means all.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=ServeConfig.port, show_default=True, help="Port; 0 means any free."
)
@variant_option
@device_option
@threads_option
@batch_size_option
@click.option(
    "--max-waiting",
    type=click.IntRange(min=1),
    default=ServeConfig.max_waiting,
    show_default=True,
    help="Requests that may wait for their answers; more are refused with 429.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=ServeConfig.max_bytes,
    show_default=True,
    help="Largest body of a request; larger ones are refused with 413.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=ServeConfig.timeout,
    show_default=True,
    help="Seconds for a request; slower ones end with 504.",
)
def serve(
    bundle: Path,
    host: str,
    port: int,
    variant: str | None,
    device: str,
    threads: int | None,
    batch: int | None,
    max_waiting: int,
    max_bytes: int,
    timeout: float,
) -> None:
    """Serve BUNDLE over HTTP: POST a picture to /predict, or use the Open Inference Protocol (v2).

    The server is ready once the bundle is proved on this device. (A single .onnx file has no proof.) There is no
    encryption and no password: put it behind a proxy if others can reach it.

    SIGTERM and Ctrl+C end it after the running requests. Exit codes: 0 ended by a signal, 1 an error with an
    explanation, 2 wrong usage, 3 the bundle fails its proof.
    """
    from signs_runtime.bundle.folder import is_model_file, open_bundle
    from signs_runtime.classifier import Classifier
    from signs_runtime.engine.import_check import check_import

    if timeout != timeout:
        raise click.UsageError("--timeout nan is not a number of seconds.")
    if not host:
        raise click.UsageError("--host is empty. Pass an address, such as 0.0.0.0 for all.")
    try:
        from signs_runtime.serving.server import serve as run
        from signs_runtime.serving.service import Service
    except ImportError as error:
        raise OptionError(f"signs serve needs more packages ({error}): pip install {' '.join(NEEDED)}") from error
    check_import()
    is_file = is_model_file(bundle)
    version = "file" if is_file else open_bundle(bundle).manifest.digest[:12]
    name = (bundle.absolute().stem if is_file else bundle.absolute().name) or "bundle"
    open_classifier = partial(Classifier, bundle, variant=variant, device=device, threads=threads, verify=not is_file)
    config = ServeConfig(host, port, batch, max_bytes, max_waiting, timeout)
    service = Service(open_classifier, name, version, config)
    run(service, config, lambda at: click.echo(f"Serving {name} ({version}) at {at}. Ctrl+C ends it.", err=True))
    if service.is_busy:  # an exit would wait for the thread, however long it takes
        sys.stderr.flush()
        os._exit(0)
