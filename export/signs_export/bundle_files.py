"""The names of a bundle's files, and how a file is written and recorded."""

import hashlib
from pathlib import Path

from signs_export.config import FILES
from signs_runtime.bundle.folder import MANIFEST
from signs_runtime.bundle.manifest import FileRecord

GOLDEN = "golden.npz"
REPORT, REPORT_DATA, MODEL_CARD = "report.html", "report.json", "MODEL_CARD.md"
JUNIT = "junit.xml"
GIT_ATTRIBUTES = (".gitattributes", b"* -text\n")  # git must not change line endings, and with them the digests
MODELS = {f"{name}.onnx" for name in FILES}
BUNDLE_FILES = {*MODELS, GOLDEN, REPORT, REPORT_DATA, MODEL_CARD, JUNIT, MANIFEST}  # in bundles of every schema
FAILED_FILES = {*MODELS, REPORT, REPORT_DATA, JUNIT}  # in the `.failed` folder of an export that failed


def write_file(path: Path, content: bytes) -> FileRecord:
    """Write a file of the bundle and record it."""
    path.write_bytes(content)
    return FileRecord(path.name, hashlib.sha256(content).hexdigest(), len(content))
