"""The command `signs parity`: the gate that a CI job runs, and the walk that shows where an export goes wrong."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_builder.commands import start_keras
from signs_builder.recipe import SYNTHETIC
from signs_export.config import ExportConfig, Int8Config, Scaling
from signs_export.options import agreement_option, pictures_option, resize_option, scaling_option
from signs_runtime.cli import Command, finite, json_option, print_json, print_table
from signs_runtime.errors import EXIT_PARITY
from signs_runtime.input_spec import ResizeFilter

if TYPE_CHECKING:
    from signs_builder.dataset import Dataset
    from signs_export.parity import ParityReport
    from signs_export.reference import Reference
    from signs_export.trace import Stage
    from signs_runtime import Classifier


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data", default=SYNTHETIC, show_default=True, help="The pictures to compare on; as for build-and-export."
)
@scaling_option
@resize_option
@pictures_option
@agreement_option
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write the checks as a JUnit file, for CI systems.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write a page that shows what differs, and where.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    help="Instead, walk this picture file through both sides and show each stage.",
)
@json_option
def parity(
    model: Path,
    bundle: Path,
    data: str,
    scaling: Scaling | None,
    resize: ResizeFilter,
    parity_pictures: int,
    agreement: float,
    junit: Path | None,
    html: Path | None,
    trace: Path | None,
    as_json: bool,
) -> None:
    """Compare every variant of BUNDLE (or one .onnx file) with the Keras MODEL, picture files in, through the runtime.

    Exit codes: 0 the same answers, 1 an error that is explained, 2 wrong usage, 3 other answers.
    """
    start_keras()
    from signs_builder.disk import check_room
    from signs_builder.model_file import load_model
    from signs_builder.progress import progress_bar
    from signs_builder.sources import load_dataset
    from signs_export.errors import ParityError
    from signs_export.evidence import collected
    from signs_export.junit import write_junit
    from signs_export.parity import compare
    from signs_export.reference import examine

    if trace is not None and (junit is not None or html is not None):
        raise click.UsageError("--trace shows one picture; --junit and --html are about all of them.")
    for path in (junit, html):
        if path is not None:
            check_room(path.parent, 0)  # before the work, not after it
    variants = _variants(bundle)
    spec = next(iter(variants.values()))[0].input
    reference = examine(load_model(model), scaling=scaling, image_size=(spec.height, spec.width), resize=resize)
    if trace is not None:
        _show_trace(trace, reference, variants, as_json=as_json)
        return
    config = ExportConfig(parity_pictures=parity_pictures, int8=Int8Config(agreement=agreement))
    dataset = load_dataset(data)
    with collected(reference, dataset, config, progress=progress_bar) as evidence:
        reports = [
            compare(classifier, file, name, evidence, config, progress=progress_bar)
            for name, (classifier, file) in variants.items()
        ]
        if junit is not None:
            write_junit(reports, junit)
        if html is not None:
            _write_page(html, bundle, variants, reports, reference, dataset)
    failed = [report for report in reports if not report.passed]
    if as_json:
        floor = {"says": evidence.floor.says, "tolerance": evidence.floor.tolerance}
        print_json({"passed": not failed, "floor": floor, "variants": [report.as_json() for report in reports]})
    else:
        click.echo(evidence.floor.says)
        for report in [*(each for each in reports if each.passed), *failed[1:]]:  # the first failed is in the error
            click.echo(report.describe())
    if failed:
        raise ParityError(
            failed[0],
            f"{bundle} is not an export of {model} for pictures read with --resize {resize}, or was damaged; export "
            "the model again.",
        )


def _variants(bundle: Path) -> dict[str, tuple["Classifier", Path]]:
    """A classifier for each variant, by name, with the .onnx file that it runs."""
    from signs_runtime import Classifier
    from signs_runtime.bundle import is_model_file, open_bundle

    if is_model_file(bundle):
        return {bundle.stem: (Classifier(bundle, device="cpu", cache=False), bundle)}
    variants = open_bundle(bundle).manifest.variants
    return {
        each.name: (Classifier(bundle, variant=each.name, device="cpu", cache=False), bundle / each.file.path)
        for each in variants
    }


def _write_page(
    path: Path,
    bundle: Path,
    variants: dict[str, tuple["Classifier", Path]],
    reports: list["ParityReport"],
    reference: "Reference",
    dataset: "Dataset",
) -> None:
    """The report of an export, of what this gate has looked at."""
    import hashlib

    import onnx

    from signs_builder.disk import written_whole
    from signs_export.export import provenance_of
    from signs_export.page import report_page
    from signs_export.report import describe
    from signs_export.variants import Made
    from signs_runtime.bundle import is_model_file, open_bundle
    from signs_runtime.manifest import FileRecord

    files = {name: file.read_bytes() for name, (_, file) in variants.items()}
    made = [
        Made(name, FileRecord(f"{i}.onnx", hashlib.sha256(files[name]).hexdigest(), len(files[name])), report)
        for i, (name, report) in enumerate(zip(variants, reports, strict=True))
    ]
    document = describe(
        bundle.name,
        onnx.load_from_string(next(iter(files.values()))),
        reference,
        dataset,
        reports[0].evidence,
        made,
        provenance_of(reference, dataset, ExportConfig()),
        command="",
        golden_pictures=0 if is_model_file(bundle) else open_bundle(bundle).manifest.golden.pictures,
        training=None,
        warnings=(),
    )
    page = report_page(document, reports[0].evidence.images, {each.name: each.report.stages for each in made})
    with written_whole(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _show_trace(
    picture: Path, reference: "Reference", variants: dict[str, tuple["Classifier", Path]], *, as_json: bool
) -> None:
    """Walk one picture through each variant and Keras; ends the command with 3 where a stage differs."""
    import numpy as np
    import onnx

    from signs_export.graph import precision_of
    from signs_export.noise_floor import float64_of
    from signs_export.trace import first_difference, keras_stages, walk_layers, walk_pixels
    from signs_runtime.image import read_image

    image = read_image(picture, reference.input)
    keras_side = keras_stages(reference, float64_of(reference), np.stack([image]))
    document: dict[str, Any] = {}  # Any: JSON
    differs = False
    for name, (classifier, file) in variants.items():
        model = onnx.load(file)
        stages = (
            *walk_pixels(classifier, picture, reference.input),
            *walk_layers(keras_side, model, precision_of(model)),
        )
        first = first_difference(stages)
        differs |= first is not None
        document[name] = {
            "first_difference": first and first.name,
            "stages": [_as_json(stage) for stage in stages],
        }
        if not as_json:
            rows = [(stage.name, "same" if stage.passed else "DIFFERS", stage.says) for stage in stages]
            print_table(rows, header=(f"{name}: stage", "", "the two sides"))
            verdict = "every stage is Keras's" if first is None else f"the first stage that differs is {first.name}"
            click.echo(f"{name}: {verdict}.\n")
    if as_json:
        print_json({"passed": not differs, "picture": str(picture), "variants": document})
    if differs:
        sys.exit(EXIT_PARITY)


def _as_json(stage: "Stage") -> dict[str, Any]:  # Any: JSON
    return {"name": stage.name, "passed": stage.passed, "error": finite(stage.error), "limit": stage.limit}
