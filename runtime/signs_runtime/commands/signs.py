"""The command `signs` on a device: predict, info, verify, tune, serve, benchmark, doctor. The other wheel adds its own.

Each subcommand imports what it needs when it runs, so that --help is instant on a small device.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signs_runtime.commands.benchmark import benchmark
from signs_runtime.commands.doctor import doctor
from signs_runtime.commands.options import (
    bundle_argument,
    device_option,
    threads_option,
    variant_option,
)
from signs_runtime.commands.predict import predict
from signs_runtime.commands.serve import serve
from signs_runtime.commands.shared import (
    PluggedGroup,
    describe_memory,
    describe_speed,
    json_option,
    print_json,
    print_table,
)
from signs_runtime.commands.tune import tune
from signs_runtime.errors import OnnxruntimeMissingError

if TYPE_CHECKING:
    from signs_runtime.bundle.manifest import Manifest
    from signs_runtime.engine.device import Device
    from signs_runtime.placement.choices import Placement


@click.group(cls=PluggedGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="signs-runtime", message="%(version)s")
def signs() -> None:
    """Run, inspect and prove sealed picture classifiers.

    Exit codes: 0 success, 1 an error with an explanation, 2 wrong usage, 3 the answers differ from Keras's.
    """


def _describe_thresholds(manifest: "Manifest") -> str:
    """The thresholds of a multi-label classifier, for a table."""
    if len(set(manifest.thresholds)) == 1:
        return f"multi-label; {manifest.thresholds[0]:g} for every label"
    pairs = zip(manifest.labels, manifest.thresholds, strict=True)
    return "multi-label; " + ", ".join(f"{label} {threshold:g}" for label, threshold in pairs)


@signs.command()
@bundle_argument
@variant_option
@device_option
@threads_option
@json_option
def info(bundle: Path, variant: str | None, device: str, threads: int | None, as_json: bool) -> None:
    """Show BUNDLE's labels, input, origin and measurements, and how it would run on this device."""
    from signs_runtime.bundle.folder import open_bundle
    from signs_runtime.bundle.strict_json import as_json as _as_json

    manifest = open_bundle(bundle).manifest
    placement, refusal = _place(bundle, variant, device, threads)
    if as_json:
        here = None if placement is None else asdict(placement)
        print_json({"digest": manifest.digest, "placement": here, "refusal": refusal, **_as_json(manifest)})
        return
    spec, provenance, run = manifest.input, manifest.provenance, manifest.run
    print_table(
        [
            ("digest", manifest.digest),
            ("labels", f"{len(manifest.labels)}: {', '.join(manifest.labels)}"),
            *([("thresholds", _describe_thresholds(manifest))] if manifest.thresholds else []),
            *([("unsure", f"below {manifest.unsure_below:.4g}")] if manifest.unsure_below else []),
            *([("temperature", f"{manifest.temperature:.4g}")] if manifest.temperature != 1 else []),
            ("input", f"uint8 (batch, {', '.join(map(str, spec.shape))}); {spec.describe()}"),
            ("data", f"{provenance.data} ({', '.join(f'{n:,} {split}' for split, n in provenance.pictures.items())})"),
            ("scaling", provenance.scaling),
            ("created", f"{run.created} by {run.command}"),
            ("versions", ", ".join(f"{name} {version}" for name, version in provenance.versions.items())),
            ("golden", f"{manifest.golden.pictures} pictures with Keras's answers; check them with `signs verify`"),
            ("this device", f"cannot run: {refusal}" if placement is None else _describe_placement(placement)),
        ]
    )
    click.echo()
    for each in manifest.variants:
        if each.in_float:
            click.echo(f"Layers that {each.name} keeps in float: {', '.join(each.in_float)}\n")
    print_table(
        [
            (
                each.name,
                each.precision,
                f"{each.file.bytes / 1e6:.1f} MB",
                describe_memory(run.peak_memory.get(each.name)),
                describe_speed(run.speeds.get(each.name)),
                f"{each.test_accuracy.correct}/{each.test_accuracy.total}",
                f"{each.parity.max_difference:.1e}",
                f"{each.parity.same_label:,}/{each.parity.pictures:,}",
                each.file.sha256[:12],
            )
            for each in manifest.variants
        ],
        header=(
            *("variant", "precision", "size", "memory", "speed", "test right", "max difference", "Keras's label"),
            "sha256",
        ),
    )


def _place(
    bundle: Path, variant: str | None, device: str, threads: int | None
) -> tuple["Placement | None", str | None]:
    """How the bundle would run here, or, without an onnxruntime, why it cannot."""
    try:
        from signs_runtime.classifier import Classifier
        from signs_runtime.engine.import_check import check_import

        check_import()
        return Classifier(bundle, variant=variant, device=device, threads=threads).placement, None
    except OnnxruntimeMissingError as error:
        return None, str(error).splitlines()[0]


def _describe_placement(placement: "Placement") -> str:
    nodes = placement.nodes or {}
    counted = ", ".join(f"{count} nodes on {provider}" for provider, count in nodes.items()) or "nodes not counted"
    return (
        f"{placement.variant} on {placement.device} (requested: {placement.requested}), {placement.threads} thread"
        f"{'s' if placement.threads > 1 else ''}, {counted}; {placement.why}"
    )


@signs.command("verify")
@bundle_argument
@variant_option
@device_option
@threads_option
@json_option
def verify_command(bundle: Path, variant: str | None, device: str, threads: int | None, as_json: bool) -> None:
    """Prove BUNDLE on this device: check digests, labels, the reading of pictures, and the golden pictures' answers.

    Exit code 3 means that this device does not answer as Keras did.
    """
    from signs_runtime.device_proof import verify
    from signs_runtime.engine.import_check import check_import
    from signs_runtime.proof.verification import VerificationError

    check_import()
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
        ("features", " ".join(device.features) or "not reported by the system"),
        ("system", device.system),
        ("provider", f"{device.provider} of onnxruntime {device.onnxruntime}"),
        ("threads", f"{device.threads or 'one for each core'}"),
    ]


signs.add_command(predict)
signs.add_command(tune)
signs.add_command(serve)
signs.add_command(benchmark)
signs.add_command(doctor)
