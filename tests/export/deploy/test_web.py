"""The page in a real browser: it proves its model, labels pictures however they come, and works without a network."""

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from playwright.sync_api import expect

from signs_export.deploy.web import WebConfig, deploy_web
from signs_export.errors import ExportError
from signs_runtime import BundleNotFoundError, Classifier
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.commands.signs import signs

from .browser import browser, opened, served

STORED = Path(__file__).parents[2] / "runtime/bundle/stored/schema6"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    output = tmp_path_factory.mktemp("web") / "site"
    result = CliRunner().invoke(signs, ["deploy", "web", str(STORED), "--title", "Hands & <feet>", "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert "http.server" in result.stdout
    return output


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with served(site) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    context = chromium.new_context(locale="en-GB", permissions=["camera"])
    made = context.new_page()
    wrong: list[str] = []
    made.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    made.on("pageerror", lambda error: wrong.append(str(error)))
    opened(made, address)
    yield made
    context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Larger than the model's, and not square."""
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)).save(path)
    return path


def answer(page: Any) -> list[str]:
    page.wait_for_selector("#answer:not([hidden])")
    found: list[str] = page.locator("#answers li").all_inner_texts()
    return found


def test_it_proves_itself_and_answers_as_the_runtime(page: Any, picture: Path) -> None:
    proof = page.evaluate("signs.proof")
    assert proof["passed"]
    assert proof["pixels"] == 0
    assert "Proved in this browser" in page.inner_text("#state")
    assert page.inner_text("h1") == page.title() == "Hands & <feet>"
    page.set_input_files("#file", picture)
    answer(page)
    classifier = Classifier(STORED, variant=page.evaluate("signs.classifier.variant.name"))
    given = page.evaluate(
        """async () => Array.from(await signs.classifier.probabilities(
            await (await import('./reading.js')).readPicture(document.getElementById('file').files[0],
                                                            signs.classifier.input)))"""
    )
    expected = classifier.predict(picture)
    assert np.allclose(given, expected.probabilities, atol=1e-5)
    assert page.inner_text("#label") == expected.label
    assert "%" in page.inner_text("#detail")


def test_pictures_come_from_the_chooser_a_drop_and_the_clipboard(page: Any, picture: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a picture").click()
    chooser.value.set_files(picture)
    first = answer(page)
    for kind, data in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.evaluate("document.getElementById('answer').hidden = true")
        page.evaluate(
            """async ([kind, data]) => {
                const file = document.getElementById('file').files[0];
                const carried = new DataTransfer();
                carried.items.add(file);
                const event = new Event(kind, { bubbles: true, cancelable: true });
                Object.defineProperty(event, data, { value: carried });
                document.body.dispatchEvent(event);
            }""",
            [kind, data],
        )
        assert answer(page) == first
    assert page.locator("#picture").is_visible()


def test_the_camera_is_read_until_it_is_stopped(page: Any) -> None:
    page.get_by_role("button", name="Use the camera").click()
    page.wait_for_selector("#video:not([hidden])")
    expect(page.locator("#detail")).to_contain_text("pictures a second")
    page.get_by_role("button", name="Stop the camera").click()
    assert page.locator("#video").is_hidden()
    assert page.get_by_role("button", name="Use the camera").is_visible()


def test_what_is_no_picture_is_said_and_the_next_one_works(page: Any, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    page.set_input_files("#file", tmp_path / "text.png")
    expect(page.locator("#state")).to_contain_text("cannot read this file")
    assert page.locator("#answer").is_hidden()
    page.set_input_files("#file", picture)
    assert answer(page)
    assert page.get_attribute("#state", "data-state") == "passed"  # the proof's verdict is there again


def test_the_keyboard_alone_suffices_and_the_page_speaks_german(page: Any, address: str) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "choose"
    page.evaluate(CHOOSER)
    page.keyboard.press("Enter")
    page.wait_for_selector("html[data-chooser]", state="attached")
    page.get_by_role("link", name="Deutsch").click()
    page.wait_for_selector("#state[data-state=passed]")
    assert page.get_by_role("button", name="Bild wählen").is_visible()
    assert page.evaluate("document.documentElement.lang") == "de"
    english, german = (json.loads(page.evaluate(KEYS, language)) for language in ("en", "de"))
    assert english == german


CHOOSER = """() => document.getElementById('file').addEventListener('click', (event) => {
    event.preventDefault();
    document.documentElement.dataset.chooser = 'asked for';
}, { once: true })"""
KEYS = "async (language) => JSON.stringify(Object.keys((await import('./texts.js')).TEXTS[language]))"


CONTROLLED = """() => navigator.serviceWorker.controller
    || new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', () => done()))"""


def test_it_works_without_a_network_once_it_was_loaded(chromium: Any, site: Path, picture: Path) -> None:
    context = chromium.new_context()
    page = context.new_page()
    with served(site) as address:
        opened(page, address)
        page.evaluate("navigator.serviceWorker.ready")
        page.evaluate(CONTROLLED)
    context.set_offline(True)  # and the server is gone
    page.reload()
    page.wait_for_selector("#state[data-state=passed]", timeout=60_000)
    page.set_input_files("#file", picture)
    assert answer(page)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_axe_finds_no_fault_and_nothing_is_cut_off(
    chromium: Any, address: str, picture: Path, axe: str, scheme: Any, width: int
) -> None:
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True)
    page = context.new_page()
    opened(page, address)
    page.set_input_files("#file", picture)
    answer(page)
    page.add_script_tag(content=axe)
    found = page.evaluate("axe.run()")
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What looks for faults that shut people out: https://github.com/dequelabs/axe-core."""
    folder = tmp_path_factory.mktemp("axe")
    result = subprocess.run(["npm", "pack", "--silent", "axe-core@4"], cwd=folder, check=False)
    if result.returncode:
        pytest.skip("npm cannot fetch axe-core")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as opened_archive:
        member = opened_archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def test_another_file_than_the_sealed_one_is_refused(chromium: Any, site: Path, tmp_path: Path) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    (model,) = (copy / "bundle").glob("*.onnx")
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    page = chromium.new_page()
    with served(copy) as address:
        opened(page, address)
    assert "is not the file that was sealed" in page.inner_text("#state")
    assert page.locator("#choose").is_disabled()
    page.close()


def test_files_and_variants_are_checked_before_anything_is_written(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {path.name for path in (site / "bundle").iterdir()} == {
        "manifest.json",
        "golden.npz",
        open_bundle(STORED).variant(None).file.path,
    }
    with pytest.raises(BundleNotFoundError):
        deploy_web(STORED, tmp_path / "site", WebConfig("int4"))
    with pytest.raises(ExportError, match="is not overwritten"):
        deploy_web(STORED, site, WebConfig())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match=r"Install Node\.js"):
        deploy_web(STORED, tmp_path / "site", WebConfig())
    assert list(tmp_path.iterdir()) == []


def test_a_picture_without_its_exif_is_not_turned(page: Any) -> None:
    """Browsers turn what has an orientation; a model whose training ignored it must see it as it lies."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(stream, "JPEG", exif=exif)
    size = page.evaluate(
        """async (bytes) => {
            const { withoutOrientation } = await import('./reading.js');
            const sides = async (content) => {
                const bitmap = await createImageBitmap(new Blob([content]));
                return [bitmap.width, bitmap.height];
            };
            return [await sides(new Uint8Array(bytes)), await sides(withoutOrientation(new Uint8Array(bytes)))];
        }""",
        list(stream.getvalue()),
    )
    assert size == [[20, 30], [30, 20]]
