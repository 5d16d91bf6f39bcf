"""Converts a model to the ORT format, and lists the operators that a small build of onnxruntime needs for it."""

import contextlib
import io
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np

from signs_builder.progress import Progress, no_progress
from signs_export.deploy.folder import files_in, filled, lightest, open_whole, placed
from signs_export.deploy.platforms import Processor, SmallConfig
from signs_export.errors import ExportError
from signs_runtime.bundle.folder import MANIFEST, Bundle
from signs_runtime.bundle.manifest import Variant
from signs_runtime.bundle.onnx_metadata import INPUT, OUTPUT
from signs_runtime.engine.session import import_onnxruntime

OPERATORS = "operators.config"


def deploy_small(
    bundle: Path, destination: Path, config: SmallConfig, *, progress: Progress = no_progress
) -> tuple[Path, ...]:
    """Write the model, the list of its operators and types, and the golden pictures, and return the files.

    The converted model is checked on the golden pictures first. Raises ExportError, and BundleError if a file of the
    bundle is not the one that was sealed.
    """
    opened = open_whole(bundle)
    variant = lightest(opened, config.variant)
    with placed(destination) as folder:
        model = folder / f"{variant.name}.ort"
        with progress("Converting to the ORT format", 0):
            _convert(opened.folder / variant.file.path, model, folder / OPERATORS, config.processor)
        _prove(model, opened, variant)
        for name in (MANIFEST, opened.manifest.golden.file.path):
            shutil.copyfile(opened.folder / name, folder / name)
        told = {"model": model.name, "operators": OPERATORS, "processor": config.processor}
        (folder / "README.md").write_text(filled("small.md", told), encoding="utf-8")
        return files_in(folder)


def _convert(onnx_file: Path, model: Path, operators: Path, processor: Processor) -> None:
    """Convert with onnxruntime's own script, whose output is suppressed. Raises ExportError."""
    import_onnxruntime()  # this turns its telemetry off
    from onnxruntime.tools import convert_onnx_models_to_ort as script

    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()):
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            script.convert_onnx_models_to_ort(
                onnx_file,
                output_dir=Path(work),
                optimization_styles=[script.OptimizationStyle.Fixed],
                target_platform=processor,
                enable_type_reduction=True,
            )
        except Exception as error:  # the script passes on any exception of its steps
            raise ExportError(f"onnxruntime cannot convert {onnx_file.name} to the ORT format: {error}") from error
        finally:
            logging.disable(before)
        (made,) = Path(work).glob("*.ort")
        (config,) = Path(work).glob("*.config")
        lines = [line for line in config.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        operators.write_text("\n".join([f"# What {model.name} needs.", *lines, ""]), encoding="utf-8")
        shutil.move(made, model)


def _prove(model: Path, bundle: Bundle, variant: Variant) -> None:
    """Compare the converted model with Keras's answers, on this machine. Raises ExportError."""
    onnxruntime = import_onnxruntime()
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    golden = bundle.golden()
    (given,) = session.run([OUTPUT], {INPUT: golden.images})
    difference = float(np.abs(given - golden.probabilities).max())
    if not difference <= variant.tolerance:
        raise ExportError(
            f"{model.name} differs from Keras's answers by {difference:.1e}; the bundle allows "
            f"{variant.tolerance:.1e}. onnxruntime's conversion changed it. Nothing was written."
        )
