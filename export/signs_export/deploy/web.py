"""Makes a static site that runs and proves a bundle in the browser. There is no build step; no picture leaves it."""

import hashlib
import html
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from signs_builder.progress import Progress, no_progress
from signs_export.deploy.folder import (
    BUNDLE,
    copy_bundle,
    copy_templates,
    files_in,
    filled,
    lightest,
    open_whole,
    placed,
)
from signs_export.errors import ExportError

# The onnxruntime-web that the page was tested with, and the digests of its files.
ONNXRUNTIME_WEB = "1.30.0"
ONNXRUNTIME_FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
_PAGE, _WORKER = "index.html", "worker.js"  # templates with names to fill in


@dataclass(frozen=True)
class WebConfig:
    """The variant and the title of the site."""

    variant: str | None = None  # None: int8 if there is one, else the first
    title: str = "What does this picture show?"


def deploy_web(
    bundle: Path, destination: Path, config: WebConfig, *, progress: Progress = no_progress
) -> tuple[Path, ...]:
    """Write the site, and return its files.

    Raises ExportError, and BundleError if a file of the bundle is not the one that was sealed.
    """
    opened = open_whole(bundle)
    variant = lightest(opened, config.variant)
    with placed(destination) as site:
        with progress("Fetching onnxruntime-web", 0):
            _fetch_onnxruntime(site)
        copy_templates("javascript", site)
        copy_templates("web", site, leaving=(_PAGE, _WORKER))
        told = {"title": html.escape(config.title), "variant": html.escape(variant.name)}
        (site / _PAGE).write_text(filled(f"web/{_PAGE}", told), encoding="utf-8")
        copy_bundle(opened, [variant], site / BUNDLE)
        _write_worker(site)
        return files_in(site)


def _write_worker(site: Path) -> None:
    """Write the service worker that caches the site for use without a network. Changed content gets a new cache."""
    files = files_in(site)
    digest = hashlib.sha256()
    for each in files:
        digest.update(hashlib.sha256((site / each).read_bytes()).digest())
    kept = json.dumps(["./", *(f"./{each.as_posix()}" for each in files)], indent=2)
    told = {"digest": digest.hexdigest()[:16], "files": kept}
    (site / _WORKER).write_text(filled(f"web/{_WORKER}", told), encoding="utf-8")


def _fetch_onnxruntime(site: Path) -> None:
    """Fetch onnxruntime-web with npm, which caches downloads. Raises ExportError."""
    npm = shutil.which("npm")
    if npm is None:
        raise ExportError("npm is needed to fetch onnxruntime-web, but is not installed. Install Node.js.")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", f"onnxruntime-web@{ONNXRUNTIME_WEB}"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        archives = list(Path(folder).glob("*.tgz"))
        if result.returncode or len(archives) != 1:
            raise ExportError(f"npm cannot fetch onnxruntime-web {ONNXRUNTIME_WEB}:\n{result.stderr.strip()[-1500:]}")
        with tarfile.open(archives[0]) as archive:
            for name, expected in ONNXRUNTIME_FILES.items():
                member = archive.extractfile(f"package/dist/{name}")
                content = b"" if member is None else member.read()
                if hashlib.sha256(content).hexdigest() != expected:
                    raise ExportError(
                        f"{name} of onnxruntime-web {ONNXRUNTIME_WEB} does not have its pinned SHA-256. "
                        "Nothing was written."
                    )
                (site / name).write_bytes(content)
