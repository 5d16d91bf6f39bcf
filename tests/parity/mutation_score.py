"""The gate's mutation score: how many faults it catches, how many at the right stage, and its false alarms.

    python -m tests.parity.mutation_score                                        a small network, hands drawn here
    python -m tests.parity.mutation_score --model my.keras --data PICTURES --scaling unit
    python -m tests.parity.mutation_score --honest 20                            honest exports: none may fail

Ends with 1 unless every fault is caught at its stage and no honest export fails.
"""

import itertools
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import keras
import numpy as np
import onnx

from signs_builder.commands.progress_bar import progress_bar
from signs_builder.data.dataset import Dataset
from signs_builder.data.sources import load_dataset
from signs_builder.network.model_file import load_model
from signs_export.config import SCALINGS, ExportConfig, Int8Config, Scaling
from signs_export.convert.convert import convert
from signs_export.export import export_bundle
from signs_export.gate.compare import compare
from signs_export.gate.evidence import Evidence, collected
from signs_export.gate.verdict import ParityError
from signs_export.int8.calibration import choose_calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import quantize
from signs_export.job import Job
from signs_export.onnx_graph import answers
from signs_export.source.reference import Reference, examine
from signs_export.source.scaling import scale
from signs_runtime import Classifier
from signs_runtime.commands.shared import print_json, print_table

from ..export.networks import branched_network, hands, mobile_network, train_a_little
from .faults import FAULTS, Export, Fault, NotApplicableError

SIDES = (24, 32, 48)
PICTURES = 120  # of a model's data that each fault is tried on


@dataclass(frozen=True)
class Score:
    """What the gate says of a fault."""

    fault: str
    caught: bool
    stage: str | None
    right_stage: bool
    checks: tuple[str, ...]  # that failed


def try_fault(fault: Fault, export: Export, evidence: Evidence, config: ExportConfig) -> Score:
    """Break an export and put it through the gate, as a file. Raises NotApplicableError."""
    model, runtime = fault.make(export)
    stages = fault.stage(export)
    if runtime is Classifier and fault in FAULTS and _answers_alike(model, export.float32, evidence):
        raise NotApplicableError("it changes no bit of an answer here")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        file.write_bytes(model.SerializeToString())
        verdict = compare(runtime(file), file, "model", evidence, config)
    failed = tuple(check.name for check in verdict.misses)
    return Score(fault.name, not verdict.passed, verdict.stage, verdict.stage in stages, failed)


def _answers_alike(model: onnx.ModelProto, honest: onnx.ModelProto, evidence: Evidence) -> bool:
    if list(model.metadata_props) != list(honest.metadata_props):
        return False
    return all(
        np.array_equal(answers(model, images), answers(honest, images))
        for images in (evidence.images, evidence.images[:1])
    )


def honest_int8_passes(export: Export, evidence: Evidence, config: ExportConfig) -> bool:
    """Tell whether int8 everywhere, made as it should be, passes here: if not, a fault of int8 proves nothing."""

    def make(export: Export) -> tuple[onnx.ModelProto, type[Classifier]]:
        return quantize(prepare(export.float32, export.calibration, Int8Config())), Classifier

    try:
        return not try_fault(Fault("none", make, lambda export: set()), export, evidence, config).caught
    except NotApplicableError:  # nothing of it is in int8
        return False


def try_all(
    export: Export, evidence: Evidence, config: ExportConfig, on_done: Callable[[int], None]
) -> tuple[list[Score], list[str]]:
    """The scores of all faults that apply, and the others with the reason."""
    scores: list[Score] = []
    spared: list[str] = []
    int8_passes = honest_int8_passes(export, evidence, config)
    for fault in FAULTS:
        try:
            if fault.name.startswith("int8") and not int8_passes:
                raise NotApplicableError("honest int8 misses its budget here")
            scores.append(try_fault(fault, export, evidence, config))
        except NotApplicableError as error:
            spared.append(f"{fault.name}: {error}")
        on_done(1)
    return scores, spared


def small_export() -> tuple[Export, Dataset]:
    """A small network with all that faults are made in, and the data it learned."""
    dataset = hands(480, 60)
    reference, other = (examine(train_a_little(branched_network(seed=seed), dataset, epochs=16)) for seed in (0, 1))
    return honest_export(reference, other, dataset), dataset


def honest_export(reference: Reference, other: Reference, dataset: Dataset) -> Export:
    """What faults are made of; `other` is of the same architecture and another training."""
    float32 = convert(reference, dataset.labels, ExportConfig())
    calibration = choose_calibration(dataset, reference.input, Int8Config.calibration_pictures)
    return Export(reference, dataset.labels, float32, calibration, other)


def trained_on(reference: Reference, dataset: Dataset) -> Reference:
    """The same model after one more epoch: a later training."""
    model = keras.models.clone_model(reference.model)
    model.set_weights(reference.model.get_weights())
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
    images = dataset.train.images(reference.input)
    model.fit(scale(images.astype("float32"), reference.scaling), dataset.train.labels, verbose=0)
    return examine(model, scaling=reference.scaling)


def score_honest(count: int) -> list[str]:
    """Train, export and prove so many small networks of both kinds, in all sizes, with int8 and without.

    What failed, in words.
    """
    alarms = []
    kinds = itertools.cycle(itertools.product((branched_network, mobile_network), SIDES, (("fp32",), ("fp32", "int8"))))
    with progress_bar("Honest exports", count) as on_done, tempfile.TemporaryDirectory() as folder:
        for seed, (network, side, variants) in zip(range(count), kinds, strict=False):
            dataset = hands(480, 60, side=side, seed=seed)
            reference = examine(train_a_little(network(side=side, seed=seed), dataset, epochs=6))
            config = ExportConfig(variants=variants, speed_rounds=1)
            try:
                export_bundle(Job(reference, dataset, config, warn=lambda doubt: None), Path(folder, str(seed)))
            except ParityError as error:
                alarms.append(f"{network.__name__}, {side}x{side}, seed {seed}, {', '.join(variants)}: {error}")
            on_done(1)
    return alarms


@click.command()
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="A Keras model instead of a small network.")
@click.option("--data", help="Its pictures.")
@click.option("--scaling", type=click.Choice(SCALINGS))
@click.option("--honest", type=click.IntRange(min=1), help="Instead, make so many honest exports.")
@click.option("--json", "as_json", is_flag=True)
def main(model: Path | None, data: str | None, scaling: Scaling | None, honest: int | None, as_json: bool) -> None:
    """Print the gate's mutation score, or its false alarms on honest exports."""
    if honest is not None:
        alarms = score_honest(honest)
        if as_json:
            print_json({"honest_exports": honest, "false_alarms": alarms})
        else:
            click.echo("\n".join([*alarms, f"{len(alarms)} false alarms on {honest} honest exports"]))
        sys.exit(bool(alarms))
    if model is None:
        export, dataset = small_export()
    else:
        dataset = load_dataset(data or "synthetic")
        reference = examine(load_model(model), scaling=scaling)
        export = honest_export(reference, trained_on(reference, dataset), dataset)
    config = ExportConfig(variants=("fp32", "int8"), parity_pictures=PICTURES)
    with collected(Job(export.reference, dataset, config)) as evidence, progress_bar("Faults", len(FAULTS)) as on_done:
        scores, spared = try_all(export, evidence, config, on_done)
    caught, named = sum(score.caught for score in scores), sum(score.right_stage for score in scores)
    if as_json:
        print_json(
            {"caught": caught, "right_stage": named, "faults": [asdict(each) for each in scores], "spared": spared}
        )
    else:
        rows = [
            (
                each.fault,
                "caught" if each.caught else "MISSED",
                each.stage or "",
                "" if each.right_stage else "WRONG",
                ", ".join(each.checks),
            )
            for each in scores
        ]
        print_table(rows, header=("fault", "", "stage", "", "failed checks"))
        click.echo("".join(f"does not apply here: {each}\n" for each in spared), nl=False)
        click.echo(f"{caught} of {len(scores)} faults caught, {named} with the right stage")
    sys.exit(not caught == named == len(scores))


if __name__ == "__main__":
    main()
