"""`signs draw`."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from signs_builder.data.hands import draw_hands
from signs_builder.data.sources import load_dataset

from .invoke import run


def test_draw_makes_a_data_set_to_look_at_and_to_train_on(tmp_path: Path) -> None:
    result = run("draw", tmp_path / "hands")
    assert result.exit_code == 0
    assert "1,200 hands" in result.stdout
    drawn, embedded = load_dataset(tmp_path / "hands"), load_dataset("synthetic")
    assert drawn.counts == embedded.counts == {"train": 1080, "test": 120}
    assert sorted(drawn.train.labels.tolist()) == sorted(embedded.train.labels.tolist())


def test_draw_makes_a_few_and_never_writes_among_other_files(tmp_path: Path) -> None:
    document = json.loads(run("draw", tmp_path / "few", "--count", "3", "--json").stdout)
    assert [Path(each).name for each in document["pictures"]] == [f"{i}_IMG_000{i}.png" for i in range(3)]
    assert np.array_equal(np.asarray(Image.open(document["pictures"][2])), draw_hands(3)[0][2])
    again = run("draw", tmp_path / "few")
    assert again.exit_code == 1
    assert "not an empty folder" in again.stderr
