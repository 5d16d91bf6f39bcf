"""The command `signs parity`: runs the gate (in CI), or traces one picture to see where an export goes wrong."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_builder.commands.shared import describe_counts, reading_options, start_keras
from signs_export.commands.opening import ModelOptions, model_options, open_data, open_reference, with_thresholds
from signs_export.commands.options import (
    agreement_option,
    data_for,
    data_of_model,
    pictures_option,
)
from signs_export.config import SCALINGS, ExportConfig, Int8Config
from signs_runtime.commands.shared import Command, gathered, json_option, print_json, print_table
from signs_runtime.errors import EXIT_PARITY
from signs_runtime.figures import finite
from signs_runtime.pictures.input_spec import Reading

if TYPE_CHECKING:
    from signs_builder.data.dataset import Dataset
    from signs_export.gate.evidence import Evidence
    from signs_export.gate.trace import Stage
    from signs_export.gate.verdict import Verdict
    from signs_export.job import Job
    from signs_export.source.reference import Reference
    from signs_runtime import Classifier


@dataclass(frozen=True)
class Outputs:
    """Files to write, and the picture to trace instead of the comparison."""

    junit: Path | None
    html: Path | None
    trace: Path | None


_output_options = gathered(
    "outputs",
    Outputs,
    (
        click.option(
            "--junit",
            type=click.Path(path_type=Path, dir_okay=False, writable=True),
            help="Write the checks as a JUnit file, for CI systems.",
        ),
        click.option(
            "--html",
            type=click.Path(path_type=Path, dir_okay=False, writable=True),
            help="Write a report page that shows what differs and where.",
        ),
        click.option(
            "--trace",
            type=click.Path(path_type=Path),
            help="Follow this one picture through Keras and the export instead, and show each stage.",
        ),
    ),
)


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@data_of_model
@model_options(scalings=SCALINGS)
@reading_options
@pictures_option
@agreement_option
@_output_options
@json_option
def parity(
    model: Path,
    bundle: Path,
    data: str | None,
    about_model: ModelOptions,
    reading: Reading,
    parity_pictures: int,
    agreement: float,
    outputs: Outputs,
    as_json: bool,
) -> None:
    """Compare every variant of BUNDLE (or one .onnx file) with the Keras MODEL, from picture files on.

    DATA is required, except with --trace: the pictures to compare on. The runtime reads them as a device does.

    Exit codes: 0 the same answers, 1 an error with an explanation, 2 wrong usage, 3 different answers.
    """
    if outputs.trace is None:
        data = data_for(model, data)
    start_keras()
    import onnx

    from signs_builder.commands.progress_bar import progress_bar
    from signs_builder.disk import check_room
    from signs_builder.errors import DatasetError
    from signs_export.confidence.temperature import temperature_of, tempered
    from signs_export.gate.verdict import ParityError
    from signs_export.job import Job
    from signs_export.onnx_graph import precision_of

    if outputs.trace is not None and (outputs.junit is not None or outputs.html is not None):
        raise click.UsageError("--trace shows one picture and writes no files; leave out --junit and --html.")
    for path in (outputs.junit, outputs.html):
        if path is not None:
            check_room(path.parent, 0)  # before the work, not after it
    variants = _variants(bundle)
    exported = next(iter(variants.values()))[0]
    spec = exported.input
    dataset = None if outputs.trace is not None or data is None else open_data(data, model, about_model)
    if dataset is not None and dataset.test.is_multi_label != bool(exported.thresholds):
        kinds = (
            ("a multi-label classifier", "a table of labels")
            if exported.thresholds
            else ("a classifier with one label a picture", "a folder for each label")
        )
        raise DatasetError(f"{bundle} is {kinds[0]}, which {data} does not fit: pass {kinds[1]} as DATA.")
    reference = open_reference(
        model,
        about_model,
        image_size=(spec.height, spec.width),
        reading=reading,
        multi_label=bool(exported.thresholds),
    )
    if (temperature := temperature_of(next(iter(variants.values()))[1])) != 1:
        reference = tempered(reference, temperature)
    if dataset is None:
        assert outputs.trace is not None  # without --trace, DATA is required
        _show_trace(outputs.trace, reference, variants, as_json=as_json)
        return
    in_int8 = any(precision_of(onnx.load(file)) == "int8" for _, file in variants.values())
    config = ExportConfig(
        parity_pictures=parity_pictures,
        variants=("fp32", "int8") if in_int8 else ("fp32",),
        int8=Int8Config(agreement=agreement),
    )
    reference = with_thresholds(reference, dataset, about_model, exported.thresholds)
    verdicts = _compare(Job(reference, dataset, config, progress_bar), bundle, variants, outputs)
    _show_verdicts(verdicts, dataset, as_json=as_json)
    failed = next((verdict for verdict in verdicts if not verdict.passed), None)
    if failed is not None:
        raise ParityError(
            failed,
            f"{bundle} is not an export of {model} with this reading ({reference.input.describe()}), or it was "
            "damaged. Pass the same options as for the export, or export the model again.",
        )


def _variants(bundle: Path) -> dict[str, tuple["Classifier", Path]]:
    """A classifier for each variant and the .onnx file that it runs, by the variant's name."""
    from signs_runtime import Classifier
    from signs_runtime.bundle.folder import is_model_file, open_bundle

    if is_model_file(bundle):
        return {bundle.stem: (Classifier(bundle, device="cpu", cache=False), bundle)}
    variants = open_bundle(bundle).manifest.variants
    return {
        each.name: (Classifier(bundle, variant=each.name, device="cpu", cache=False), bundle / each.file.path)
        for each in variants
    }


def _compare(
    job: "Job", bundle: Path, variants: dict[str, tuple["Classifier", Path]], outputs: Outputs
) -> list["Verdict"]:
    """The verdict on each variant. Writes the files of `outputs`."""
    from signs_export.gate.compare import compare
    from signs_export.gate.evidence import collected
    from signs_export.report.junit import write_junit

    with collected(job) as evidence:
        verdicts = [
            compare(classifier, file, name, evidence, job.config, progress=job.progress)
            for name, (classifier, file) in variants.items()
        ]
        if outputs.junit is not None:
            write_junit(verdicts, outputs.junit)
        if outputs.html is not None:
            files = [file for _, file in variants.values()]
            _write_page(outputs.html, bundle, job, evidence, dict(zip(files, verdicts, strict=True)))
    return verdicts


def _show_verdicts(verdicts: list["Verdict"], dataset: "Dataset", *, as_json: bool) -> None:
    failed = [verdict for verdict in verdicts if not verdict.passed]
    floor = verdicts[0].evidence.floor
    if as_json:
        document = {"says": floor.says, "tolerance": floor.tolerance}
        print_json(
            {
                "passed": not failed,
                "floor": document,
                "variants": [each.as_json() for each in verdicts],
                "caveats": dataset.caveats,
            }
        )
        return
    click.echo(describe_counts(dataset))
    click.echo(floor.says)
    for verdict in [*(each for each in verdicts if each.passed), *failed[1:]]:  # the first failed is in the error
        click.echo(verdict.describe())


def _write_page(path: Path, bundle: Path, job: "Job", evidence: "Evidence", verdicts: dict[Path, "Verdict"]) -> None:
    """Write the report page; `verdicts` by model file."""
    import hashlib

    import onnx

    from signs_builder.disk import written_whole
    from signs_export.manifest_entries import provenance_of
    from signs_export.report.describe import Findings, describe, describe_variant
    from signs_export.report.document import ModelFile, shown
    from signs_export.report.page import report_page
    from signs_runtime.bundle.folder import is_model_file, open_bundle

    contents = {file: file.read_bytes() for file in verdicts}
    described = [
        describe_variant(
            verdict.variant,
            ModelFile(shown(file.name), hashlib.sha256(contents[file]).hexdigest(), len(contents[file])),
            verdict,
        )
        for file, verdict in verdicts.items()
    ]
    findings = Findings(
        bundle=bundle.name,
        float32=onnx.load_from_string(next(iter(contents.values()))),
        job=job,
        evidence=evidence,
        variants=tuple(described),
        provenance=provenance_of(job),
        golden_pictures=0 if is_model_file(bundle) else open_bundle(bundle).manifest.golden.pictures,
    )
    stages = {verdict.variant: verdict.stages for verdict in verdicts.values()}
    page = report_page(describe(findings), evidence.images, stages)
    with written_whole(path) as partial:
        partial.write_bytes(page.encode(errors="backslashreplace"))


def _show_trace(
    picture: Path, reference: "Reference", variants: dict[str, tuple["Classifier", Path]], *, as_json: bool
) -> None:
    """Trace one picture through Keras and each variant. Ends the command with 3 if a stage differs."""
    import numpy as np
    import onnx

    from signs_export.gate.noise_floor import float64_of
    from signs_export.gate.trace import first_difference, keras_stages, walk_layers, walk_pixels
    from signs_export.onnx_graph import precision_of
    from signs_runtime.pictures.read import read_image

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
            print_table(rows, header=(f"{name}: stage", "", "difference"))
            outcome = "every stage matches Keras" if first is None else f"the first stage that differs is {first.name}"
            click.echo(f"{name}: {outcome}.\n")
    if as_json:
        print_json({"passed": not differs, "picture": str(picture), "variants": document})
    if differs:
        sys.exit(EXIT_PARITY)


def _as_json(stage: "Stage") -> dict[str, Any]:  # Any: JSON
    return {"name": stage.name, "passed": stage.passed, "error": finite(stage.error), "limit": finite(stage.limit)}
