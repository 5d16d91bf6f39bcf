"""The options that all export commands share."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from signs_builder.commands.shared import image_size_option
from signs_export.config import VARIANTS, ExportConfig, Int8Config, VariantName
from signs_runtime.commands.shared import gathered


@dataclass(frozen=True)
class ExportOptions:
    """The values of the options that all export commands share."""

    image_size: tuple[int, int] | None
    parity_pictures: int
    int8: bool
    variants: tuple[VariantName, ...]
    agreement: float
    calibration_pictures: int
    all_int8: bool
    as_is: bool
    calibrate: bool
    others: str | None
    output: Path

    def config(self, seed: int | None = None) -> ExportConfig:
        """The export's settings; `seed` is the training's, if the model was trained here."""
        asked = {*self.variants, *(("int8",) if self.int8 else ())}
        return ExportConfig(
            parity_pictures=self.parity_pictures,
            variants=tuple(name for name in VARIANTS if name == "fp32" or name in asked),
            int8=Int8Config(
                calibration_pictures=self.calibration_pictures,
                agreement=self.agreement,
                float_layers=not self.all_int8,
            ),
            seed=seed,
            as_is=self.as_is,
            calibrate=self.calibrate,
            others=self.others,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        )


data_of_model = click.argument("data", required=False)  # `data_for` explains what to do if it is missing


def data_for(model: Path, data: str | None) -> str:
    """DATA, which is required with a model. Raises click.UsageError if it is missing."""
    if data is None:
        raise click.UsageError(
            f"DATA is missing. After {model}, pass the pictures to measure it on, such as a folder for each label. "
            "They also give the labels. (For the hands that this project draws, pass: synthetic)"
        )
    return data


class Variants(click.ParamType[tuple[VariantName, ...]]):
    """Comma-separated names of variants."""

    name = "names"

    def convert(
        self, value: str | tuple[VariantName, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[VariantName, ...]:
        if isinstance(value, tuple):
            return value
        names = [name.strip() for name in value.split(",")]
        if unknown := [name for name in names if name not in VARIANTS]:
            self.fail(f"{', '.join(unknown)}: choose from {', '.join(VARIANTS)}", param, ctx)
        return tuple(name for name in VARIANTS if name in names)


pictures_option = click.option(
    "--parity-pictures",
    type=click.IntRange(min=1),
    default=ExportConfig.parity_pictures,
    show_default=True,
    help="Compare at most this many pictures: first those of the test split, then others, evenly chosen.",
)
agreement_option = click.option(
    "--agreement",
    type=click.FloatRange(0, 1),
    default=Int8Config.agreement,
    show_default=True,
    help="The share of pictures on which int8 and fp16 must give Keras's label.",
)
_OPTIONS = (
    image_size_option("the model's own; 64 for a new one"),
    pictures_option,
    click.option("--int8", is_flag=True, help="Add an int8 variant: short for --variants fp32,int8."),
    click.option(
        "--variants",
        type=Variants(),
        default=ExportConfig.variants,
        show_default=True,
        help="The bundle's variants. fp32 is always one of them.",
    ),
    agreement_option,
    click.option(
        "--calibration-pictures",
        type=click.IntRange(min=1),
        default=Int8Config.calibration_pictures,
        show_default=True,
        help="Calibrate int8 on this many training pictures.",
    ),
    click.option(
        "--all-int8",
        is_flag=True,
        help="Quantize all layers of the int8 variant, even if it then misses --agreement and the export fails.",
    ),
    click.option(
        "--as-is",
        is_flag=True,
        help="Seal the bundle even if the pictures contradict the model's labels, scaling or colours. The "
        "report opens with that warning.",
    ),
    click.option(
        "--calibrate",
        is_flag=True,
        help="Add a temperature to the graph, so that a probability matches how often it is right. Labels do not "
        "change. It is fitted on validation pictures, or on training pictures if there are none.",
    ),
    click.option(
        "--others",
        metavar="FOLDER|drawn",
        help='Let devices answer "unsure" below a probability that is chosen from pictures that show none of the '
        "labels: FOLDER has such pictures, `drawn` draws textures.",
    ),
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, resolve_path=True),
        default="bundle",
        show_default=True,
        help="The bundle's folder. An existing bundle is replaced after the new one has passed.",
    ),
)
export_options = gathered("options", ExportOptions, _OPTIONS)
