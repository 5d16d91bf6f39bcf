"""Labels the blocks of a job on a Ray cluster: each worker holds one classifier, and a lost block is labelled again.

Ray's actors are used directly, not Ray Data: a block is a unit of work that leaves one file behind, so nothing has to
be exchanged between workers, and a block that kills its worker is tried a known number of times.
"""

import atexit
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from signs_runtime.bundle.folder import MANIFEST, is_model_file, open_bundle
from signs_runtime.cache import part_of_cache
from signs_runtime.classifier import Classifier
from signs_runtime.errors import OptionError, SignsError
from signs_runtime.labelling.addresses import is_uri
from signs_runtime.labelling.job import Job, open_job
from signs_runtime.labelling.work import BlockResult, label_block
from signs_runtime.placement.choices import AUTO

MOST_LOSSES = 3  # workers that one block may lose before the job ends
_RECOUNT = 5  # seconds between looks at the cluster, which may have grown
_REACH = 10  # seconds for a cluster's first answer
_PATIENCE = 30  # seconds without a worker before the user is told
ACCELERATORS = ("cuda", "tensorrt")


class WorkerError(SignsError):
    """A worker cannot label pictures, or one block has lost too many workers."""

    def __init__(self, message: str, exit_code: int = SignsError.exit_code) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # that of the worker's own error


@dataclass(frozen=True)
class WorkerSettings:
    """What each worker is started with."""

    device: str = AUTO  # a worker gets a GPU only if the device is named
    cpus: int = 1  # of each worker, which are its threads
    batch: int | None = None


def label_on_ray(
    bundle: Path, job: Job, blocks: Sequence[int], settings: WorkerSettings, say: Callable[[str], None]
) -> Iterator[BlockResult]:
    """Yield each block's result as soon as its rows are written, in any order; `say` gets what the user should know.

    Connects to the cluster that RAY_ADDRESS names or that `ray start` began on this machine, or else starts one. All
    hosts need this package and must reach the pictures and the job's folder; the bundle is sent to them. Raises
    WorkerError.
    """
    with _cluster():
        yield from _Pool(bundle, job, settings, say).label(blocks)


@dataclass(frozen=True)
class _Refusal:
    """An error that a worker explains."""

    message: str
    exit_code: int


class _Worker:
    """Runs in a process of the cluster."""

    def start(self, files: dict[str, bytes], job: Job, settings: WorkerSettings) -> _Refusal | None:
        """Open the classifier, and prove a bundle if this host has not proved it before."""
        opened = open_job(job.folder.address)
        if opened is None or opened.id != job.id:
            return _Refusal(
                f"{job.folder.address}: a host of the cluster does not see this folder. "
                "Choose one that all hosts share by -o.",
                SignsError.exit_code,
            )
        if unseen := [each for each in opened.settings.sources if not is_uri(each) and not os.path.lexists(each)]:
            return _Refusal(
                f"{unseen[0]}: a host of the cluster does not see these pictures. Put them on a disk that all hosts "
                "share, or in a store.",
                SignsError.exit_code,
            )
        self._job, self._batch = opened, settings.batch
        is_folder = MANIFEST in files
        path = _unpacked(files, opened.settings.bundle)
        try:
            self._classifier = Classifier(
                path if is_folder else path / next(iter(files)),
                variant=opened.settings.variant if is_folder else None,
                device="cpu" if settings.device == AUTO else settings.device,
                threads=settings.cpus,
                threshold=opened.settings.threshold,
                verify=is_folder,
            )
        except SignsError as error:
            return _Refusal(str(error), error.exit_code)
        return None

    def label(self, block: int) -> BlockResult | _Refusal:
        """Label one block and write its rows."""
        try:
            return label_block(self._classifier, self._job, block, self._batch)
        except SignsError as error:
            return _Refusal(str(error), error.exit_code)


class _Pool:
    """As many workers as the cluster has room for, each with one block at a time."""

    def __init__(self, bundle: Path, job: Job, settings: WorkerSettings, say: Callable[[str], None]) -> None:
        self._job, self._settings, self._say = job, settings, say
        self._gpus = 1 if settings.device in ACCELERATORS else 0
        self._files = ray.put(_files_of(bundle))
        self._kind = ray.remote(num_cpus=settings.cpus, num_gpus=self._gpus, max_restarts=0)(_Worker)
        self._running: dict[Any, tuple[Any, int | None]] = {}  # a result to come: by which worker, and of which block
        self._losses: Counter[int | None] = Counter()  # workers that each block lost; None: before they had started
        self._next_look = 0.0

    def label(self, blocks: Sequence[int]) -> Iterator[BlockResult]:
        """Yield the blocks' results in the order in which they come."""
        waiting, last = deque(blocks), time.monotonic()
        while waiting or any(block is not None for _, block in self._running.values()):
            self._add_workers(len(waiting))
            ready: list[Any] = []
            if self._running:
                ready, _ = ray.wait(list(self._running), timeout=_RECOUNT)
            else:
                time.sleep(_RECOUNT)
            if any(block is not None for _, block in self._running.values()):
                last = time.monotonic()
            elif time.monotonic() > last + _PATIENCE:
                self._say("Waiting for the cluster: no worker is running. `ray status` shows what is missing.")
                last = time.monotonic()
            for result in ready:
                worker, block = self._running.pop(result)
                try:
                    found = ray.get(result)
                except RayTaskError as error:
                    raise error.cause or error from error
                except RayError as error:  # the worker or its host is gone
                    self._note_loss(block, error)
                    if block is not None:
                        waiting.appendleft(block)
                    continue
                if isinstance(found, _Refusal):
                    raise WorkerError(found.message, found.exit_code)
                if found is None:  # it has started
                    self._losses.pop(None, None)
                else:
                    yield found
                if waiting:
                    block = waiting.popleft()
                    self._running[worker.label.remote(block)] = (worker, block)

    def _add_workers(self, blocks: int) -> None:
        """Start workers where there is room, at most one for each block that waits."""
        if not blocks or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _RECOUNT
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = sum(self._room(node) for node in nodes)
        if not room and not self._running and nodes:
            gpu = " and a GPU" if self._gpus else ""
            raise OptionError(
                f"No host of the cluster has {self._settings.cpus} CPUs{gpu} for a worker. `ray status` shows what it "
                f"has; pass another --cpus-per-worker{' or --device' if gpu else ''}, or continue with --resume once "
                "there are hosts."
            )
        starting = sum(block is None for _, block in self._running.values())
        for _ in range(min(room - len(self._running), blocks - starting)):
            worker = self._kind.remote()
            self._running[worker.start.remote(self._files, self._job, self._settings)] = (worker, None)

    def _room(self, resources: dict[str, float]) -> int:
        """How many workers a host has room for."""
        room = int(resources.get("CPU", 0) // self._settings.cpus)
        return min(room, int(resources.get("GPU", 0))) if self._gpus else room

    def _note_loss(self, block: int | None, error: RayError) -> None:
        """Raise WorkerError if a block has lost too many workers, or if no worker can start."""
        if block is not None:
            self._next_look = 0.0
        self._losses[block] += 1
        if self._losses[block] < MOST_LOSSES:
            return
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        if block is not None:
            entries = self._job.entries(block)
            raise WorkerError(
                f"Block {block} has ended {MOST_LOSSES} workers; its pictures are {entries[0].name} to "
                f"{entries[-1].name} ({reason:.150}). Too little memory, or a picture that crashes its decoder? "
                "Everything else can be continued with --resume."
            ) from error
        if not any(busy is not None for _, busy in self._running.values()):
            raise WorkerError(
                f"{MOST_LOSSES} workers ended before they could start ({reason:.150}). "
                "Does every host have the same versions of Python, Ray and signs-runtime?"
            ) from error
        if self._losses[block] == MOST_LOSSES:
            self._say(f"{MOST_LOSSES} workers ended before they could start ({reason:.150}). Others go on.")


@contextlib.contextmanager
def _cluster() -> Iterator[None]:
    """A connection to a running cluster, or one that is started here and ends with the job."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing calls home
    before = signal.getsignal(signal.SIGTERM)  # Ray sets its own, which would not clean up
    was_connected = ray.is_initialized()
    try:
        if not was_connected:
            _check_reachable(os.environ.get("RAY_ADDRESS", ""))
            try:
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
            except SystemExit:  # by Ray's own handler of SIGTERM
                sys.exit(128 + signal.SIGTERM)
            except (OSError, RuntimeError, ValueError, RayError) as error:
                reason = " ".join(str(error).split())
                raise WorkerError(
                    f"Cannot connect to a Ray cluster ({reason:.150}). Check RAY_ADDRESS, or run `ray stop` if a "
                    "cluster on this machine has ended."
                ) from error
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(signal.SIGTERM, before)
        try:
            yield
        except RayTaskError:
            raise
        except RayError as error:
            reason = " ".join(str(error).split())
            raise WorkerError(f"The cluster was lost ({reason:.150}). Continue with --resume.") from error
    finally:
        if not was_connected:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise WorkerError if nothing answers at a cluster's address; Ray itself takes minutes to tell."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():  # Ray knows other addresses, such as auto and local
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()
    except OSError as error:
        raise WorkerError(
            f"No Ray cluster answers at {address} ({error.strerror or error}). Check RAY_ADDRESS, or unset it."
        ) from error


def _files_of(bundle: Path) -> dict[str, bytes]:
    """What a worker needs of a bundle, or the single model file."""
    if is_model_file(bundle):
        return {bundle.name: bundle.read_bytes()}
    manifest = open_bundle(bundle).manifest
    names = (MANIFEST, manifest.golden.file.path, *(each.file.path for each in manifest.variants))
    return {name: (bundle / name).read_bytes() for name in names}


def _unpacked(files: dict[str, bytes], digest: str) -> Path:
    """A folder with the bundle on this host, written once into the user's cache."""
    top = part_of_cache("bundles")
    if top is None:
        top = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, top, ignore_errors=True)
    folder = top / digest
    if _holds(folder, files):
        return folder
    with tempfile.TemporaryDirectory(dir=top, prefix=".", ignore_cleanup_errors=True) as work:
        written = Path(work, digest)
        written.mkdir()
        for name, content in files.items():
            (written / name).write_bytes(content)
        if not _move(written, folder) and not _holds(folder, files):  # it is damaged
            shutil.rmtree(folder, ignore_errors=True)
            _move(written, folder)
    return folder


def _move(written: Path, folder: Path) -> bool:
    try:
        os.rename(written, folder)
    except OSError:  # it exists: perhaps another worker of this host was faster
        return False
    return True


def _holds(folder: Path, files: dict[str, bytes]) -> bool:
    try:
        return all((folder / name).read_bytes() == content for name, content in files.items())
    except OSError:
        return False
