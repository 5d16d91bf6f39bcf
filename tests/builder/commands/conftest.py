"""Pictures that the commands train on."""

from pathlib import Path

import pytest
from PIL import Image

from signs_builder.data.hands import draw_hands


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty-six drawn hands in CS230's layout."""
    folder = tmp_path_factory.mktemp("few")
    images, labels = draw_hands(36)
    for name, part in (("train_signs", slice(0, 24)), ("test_signs", slice(24, 36))):
        (folder / name).mkdir()
        for i in range(*part.indices(36)):
            Image.fromarray(images[i]).save(folder / name / f"{labels[i]}_IMG_{i}.jpg")
    return folder
