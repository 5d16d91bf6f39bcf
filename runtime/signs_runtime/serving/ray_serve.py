"""A Ray Serve application around the same service: replicas on many hosts, and updates without a lost request."""

import os
from functools import partial
from pathlib import Path
from typing import Any

from ray import serve
from starlette.applications import Starlette

from signs_runtime.bundle.folder import open_bundle
from signs_runtime.classifier import Classifier
from signs_runtime.errors import BundleTamperedError
from signs_runtime.placement.choices import AUTO
from signs_runtime.serving.app import make_app
from signs_runtime.serving.config import ServeConfig
from signs_runtime.serving.service import Service


def application(
    bundle: str | os.PathLike[str],
    *,
    digest: str | None = None,
    variant: str | None = None,
    device: str = AUTO,
    cpus: int = 1,
    gpus: int = 0,
    min_replicas: int = 1,
    max_replicas: int = 8,
) -> Any:  # ray.serve.Application
    """Make an application for `ray.serve.run`, whose replicas answer as `signs serve` does.

    Each replica has `cpus` cores and `gpus` GPUs, opens the bundle at this path on its own host, and proves it there
    before it takes a request. Serve starts and stops replicas by the number of waiting requests. Running an application
    of the same name with another bundle starts each new replica before it stops an old one; if the new bundle fails its
    proof, the old one goes on. `digest` is the bundle that you mean, if the path may lead to another one later. Raises
    BundleError.
    """
    folder, limits = Path(bundle).absolute(), ServeConfig()
    found = open_bundle(folder).manifest.digest
    if digest not in (None, found):
        raise BundleTamperedError(f"{folder} has the bundle {found}, not {digest}. Deploy that bundle's own folder.")
    chosen = "cpu" if device == AUTO and not gpus else device  # Ray does not hide GPUs that it has not given
    opening = partial(Classifier, folder, variant=variant, device=chosen, threads=cpus, verify=True)

    def build() -> Starlette:
        return make_app(Service(opening, folder.name or "bundle", found[:12], limits), waits=True)

    deployment = serve.deployment(
        name="signs",
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus},
        max_ongoing_requests=limits.max_waiting,
        max_queued_requests=limits.max_waiting * max_replicas,
        max_surge_percent=100,
        autoscaling_config={
            "min_replicas": min_replicas,
            "max_replicas": max_replicas,
            "target_ongoing_requests": max(1, limits.max_waiting // 4),
        },
        graceful_shutdown_timeout_s=limits.grace + limits.timeout,
    )
    return deployment(serve.ingress(build)()).bind()


def build(options: dict[str, Any]) -> Any:  # Any: of several types; ray.serve.Application
    """The application of a file for `serve deploy`, whose `args` are those of `application`."""
    return application(**options)
