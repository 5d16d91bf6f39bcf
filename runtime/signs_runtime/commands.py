"""The command `signs` on a device: predict, info, verify; `signs-edge` adds its own where it is installed.

What a command needs is imported when it runs, so that --help is instant on a small device.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signs_runtime.cli import PluggedGroup, json_option, print_json, print_table
from signs_runtime.errors import AnswerError, ImageError, SignsError
from signs_runtime.session import PROVIDERS

if TYPE_CHECKING:
    from signs_runtime.device import Device
    from signs_runtime.manifest import Speed

device_option = click.option(
    "--device", type=click.Choice(list(PROVIDERS)), default="cpu", show_default=True, help="Where to run; or refused."
)
variant_option = click.option("--variant", help="A variant of the bundle, as `signs info` lists them.")
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="Threads for one operator.  [default: one for each core]"
)


@click.group(cls=PluggedGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="signs-runtime", message="%(version)s")
def signs() -> None:
    """Run, inspect and prove sealed picture classifiers.

    Exit codes: 0 done, 1 an error that is explained, 2 wrong usage, 3 the answers are not Keras's.
    """


@signs.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path), nargs=-1, required=True)
@variant_option
@device_option
@threads_option
@json_option
def predict(
    bundle: Path, pictures: tuple[Path, ...], variant: str | None, device: str, threads: int | None, as_json: bool
) -> None:
    """Label PICTURES (files, and folders of them) with BUNDLE (a bundle folder or one .onnx file).

    A picture that cannot be read is reported and the others are labelled; the exit code is then 1.
    """
    from signs_runtime.classifier import Classifier, Prediction
    from signs_runtime.image import find_pictures

    classifier = Classifier(bundle, variant=variant, device=device, threads=threads)
    files = find_pictures(pictures)
    predictions: list[tuple[Path, Prediction]] = []
    errors: list[tuple[Path, str]] = []
    with click.progressbar(files, label="Labelling", file=sys.stderr, hidden=not sys.stderr.isatty()) as progress:
        for file in progress:
            try:
                predictions.append((file, classifier.predict(file)))
            except (AnswerError, ImageError) as error:
                errors.append((file, str(error) if isinstance(error, ImageError) else f"{file}: {error}"))
    if as_json:
        print_json(
            {
                "predictions": [
                    {
                        "picture": str(file),
                        "label": prediction.label,
                        "probability": prediction.probability,
                        "probabilities": dict(zip(classifier.labels, prediction.probabilities.tolist(), strict=True)),
                    }
                    for file, prediction in predictions
                ],
                "errors": [{"picture": str(file), "error": error} for file, error in errors],
            }
        )
    elif predictions:
        print_table(
            [(str(file), prediction.label, f"{prediction.probability:.4f}") for file, prediction in predictions],
            header=("picture", "label", "probability"),
        )
    for _, message in errors:
        click.echo(f"Error: {message}", err=True)
    if errors:
        sys.exit(SignsError.exit_code)


@signs.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def info(bundle: Path, as_json: bool) -> None:
    """Show what BUNDLE is, what was measured on it and where it comes from."""
    from signs_runtime.bundle import open_bundle

    manifest = open_bundle(bundle).manifest
    if as_json:
        print_json({"digest": manifest.digest, **asdict(manifest)})
        return
    spec, provenance, run = manifest.input, manifest.provenance, manifest.run
    print_table(
        [
            ("digest", manifest.digest),
            ("labels", f"{len(manifest.labels)}: {', '.join(manifest.labels)}"),
            ("input", f"uint8 (batch, {', '.join(map(str, spec.shape))}), {spec.colour}, {spec.resize}"),
            ("data", f"{provenance.data} ({', '.join(f'{n:,} {split}' for split, n in provenance.pictures.items())})"),
            ("scaling", provenance.scaling),
            ("made", f"{run.created} by {run.command}"),
            ("with", ", ".join(f"{name} {version}" for name, version in provenance.versions.items())),
            ("golden", f"{manifest.golden.pictures} pictures with Keras's answers; check them with `signs verify`"),
        ]
    )
    click.echo()
    for variant in manifest.variants:
        if variant.in_float:
            click.echo(f"{variant.name} leaves in float: {', '.join(variant.in_float)}\n")
    print_table(
        [
            (
                variant.name,
                variant.precision,
                f"{variant.file.bytes / 1e6:.1f} MB",
                describe_speed(run.speeds.get(variant.name)),
                f"{variant.test_accuracy.correct}/{variant.test_accuracy.total}",
                f"{variant.parity.max_difference:.1e}",
                f"{variant.parity.same_label:,}/{variant.parity.pictures:,}",
                variant.file.sha256[:12],
            )
            for variant in manifest.variants
        ],
        header=("variant", "precision", "size", "speed", "test right", "max difference", "Keras's label", "sha256"),
    )


def describe_speed(speed: "Speed | None") -> str:
    """A variant's speed beside fp32's, for a table."""
    if speed is None:
        return "not compared"
    return f"{speed.speedup:.2f} times fp32's" + (", size only" if speed.size_only else "")


@signs.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@variant_option
@device_option
@threads_option
@json_option
def verify_command(bundle: Path, variant: str | None, device: str, threads: int | None, as_json: bool) -> None:
    """Prove BUNDLE on this device: digests, labels, how pictures are read, and the golden pictures' answers."""
    from signs_runtime.errors import VerificationError
    from signs_runtime.verification import verify

    verification = verify(bundle, variant=variant, device=device, threads=threads)
    if as_json:
        print_json(verification.as_json())
    else:
        print_table([("digest", verification.digest), *_device_rows(verification.device)])
        click.echo()
        print_table(
            [
                (check.name, "passed", check.says) if check.passed else (check.name, "FAILED", "")
                for check in verification.checks
            ]
        )
        click.echo()
        print_table(
            [
                (
                    each.variant,
                    f"{each.same_label}/{each.pictures}",
                    f"{each.max_difference:.1e}",
                    f"{each.tolerance:.1e}",
                    "passed" if each.passed else "FAILED",
                )
                for each in verification.variants
            ],
            header=("variant", "Keras's label", "max difference", "tolerance", "golden pictures"),
        )
    if not verification.passed:
        raise VerificationError(bundle, verification)


def _device_rows(device: "Device") -> list[tuple[str, str]]:
    return [
        ("cpu", f"{device.cpu} ({device.machine})"),
        ("features", " ".join(device.features) or "not told by the system"),
        ("system", device.system),
        ("provider", f"{device.provider} of onnxruntime {device.onnxruntime}"),
        ("threads", f"{device.threads or 'one for each core'}"),
    ]
