"""The command `signs draw`: writes the embedded data set as picture files."""

from pathlib import Path

import click

from signs_builder.data.embedded import SYNTHETIC_TEST, SYNTHETIC_TRAIN
from signs_runtime.commands.shared import Command, json_option, print_json


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--count",
    type=click.IntRange(min=1),
    show_default=f"all {SYNTHETIC_TRAIN:,} + {SYNTHETIC_TEST}",
    help="Number of pictures, all in one folder.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the drawing.")
@json_option
def draw(folder: Path, count: int | None, seed: int, as_json: bool) -> None:
    """Draw synthetic hands as picture files in FOLDER, to look at or to use as DATA (in CS230's layout).

    Seed 0 draws the embedded data set, the same as DATA "synthetic".
    """
    from signs_builder.data.dataset import Split
    from signs_builder.data.hands import LABELS, draw_hands
    from signs_builder.errors import DatasetError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f"{folder} is not an empty folder; choose a new or an empty one.")
    if count is not None:
        files = Split(*draw_hands(count, seed=seed)).files(folder, LABELS)
    else:
        train = Split(*draw_hands(SYNTHETIC_TRAIN, seed=seed))
        test = Split(*draw_hands(SYNTHETIC_TEST, seed=seed, first=SYNTHETIC_TRAIN))
        files = train.files(folder / "train_signs", LABELS) + test.files(folder / "test_signs", LABELS)
    if as_json:
        print_json({"pictures": [str(file) for file in files]})
    else:
        click.echo(f"Drew {len(files):,} hands in {folder}.")
