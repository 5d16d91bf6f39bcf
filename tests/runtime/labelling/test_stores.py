"""Pictures and rows in an object store, served by a program that speaks S3."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .jobs import colour_of, draw, label, summary

pytest.importorskip("pyarrow")
moto_server: Any = pytest.importorskip("moto.server")
moto_core: Any = pytest.importorskip("moto.core")
boto3: Any = pytest.importorskip("boto3")

import pyarrow  # noqa: E402  # after the check that it is there
from pyarrow import fs, parquet  # noqa: E402

from signs_runtime.labelling import pictures  # noqa: E402
from signs_runtime.labelling.addresses import StoreError  # noqa: E402


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """S3 with an empty bucket, "hands", and where programs find it."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ):
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        boto3.client("s3").create_bucket(Bucket="hands")
        yield fs.FileSystem.from_uri("s3://hands/")[0]
    server.stop()


def upload(system: Any, folder: Path, place: str) -> list[str]:
    """Copy a folder's pictures; return their addresses."""
    addresses = []
    for path in sorted(folder.rglob("*.png")):
        key = f"{place}/{path.relative_to(folder).as_posix()}"
        with system.open_output_stream(key) as stream:
            stream.write(path.read_bytes())
        addresses.append(f"s3://{key}")
    return addresses


def remote_rows(system: Any, place: str) -> list[dict[str, Any]]:
    found = sorted(each.path for each in system.get_file_info(fs.FileSelector(place)) if each.extension == "parquet")
    return [row for path in found for row in parquet.read_table(path, filesystem=system).to_pylist()]


def test_pictures_and_rows_lie_in_a_bucket(bundle: Path, tmp_path: Path, store: Any) -> None:
    many = draw(tmp_path / "many", 40)
    (many / "0" / "a b #1%20-red.png").write_bytes((many / "0" / "0000-red.png").read_bytes())
    (many / "0" / "broken.png").write_text("no picture")
    addresses = upload(store, many, "hands/in")
    arguments = (bundle, "s3://hands/in/", "-o", "s3://hands/out", "--block-size", 9)
    result = label(*arguments, "--json")
    assert (result.exit_code, summary(result)["pictures"], summary(result)["errors"]) == (1, 42, 1), result.output
    found = remote_rows(store, "hands/out")
    assert sorted(row["picture"] for row in found) == sorted(addresses)
    assert all(row["error"] or row["label"] == colour_of(row["picture"]) for row in found)
    store.delete_file("hands/out/part-000002.parquet")
    again = label(*arguments, "--resume", "--json")
    assert (summary(again)["labelled_now"], len(remote_rows(store, "hands/out"))) == (9, 42)


def test_lists_and_parquet_in_a_bucket(bundle: Path, tmp_path: Path, store: Any) -> None:
    addresses = upload(store, draw(tmp_path / "many", 4), "hands/few")
    with store.open_output_stream("hands/list.txt") as stream:
        stream.write("\n".join([*addresses, "s3://hands/few/gone.png"]).encode())
    file = io.BytesIO()
    contents = [path.read_bytes() for path in (tmp_path / "many").rglob("*.png")]
    parquet.write_table(pyarrow.table({"image": contents}), file)
    with store.open_output_stream("hands/rows.parquet") as stream:
        stream.write(file.getvalue())
    result = label(bundle, "s3://hands/list.txt", "s3://hands/rows.parquet", "-o", tmp_path / "out", "--json")
    assert (summary(result)["pictures"], summary(result)["errors"]) == (9, 1)


def test_what_a_store_lacks_is_explained(bundle: Path, tmp_path: Path, store: Any, monkeypatch: Any) -> None:
    for source in ("s3://no-such-bucket/x", "s3://hands/nothing-here"):
        result = label(bundle, source, "-o", tmp_path / "out")
        assert (result.exit_code, source in result.stderr) == (1, True), result.output
    result = label(bundle, draw(tmp_path / "many", 3), "-o", "s3://no-such-bucket/out")
    assert (result.exit_code, "no-such-bucket" in result.stderr) == (1, True), result.output
    assert "AWS_" in result.stderr
    monkeypatch.setitem(sys.modules, "fsspec", None)
    result = label(bundle, "hf://datasets/someone/hands", "-o", tmp_path / "out")
    assert (result.exit_code, "pip install fsspec huggingface_hub" in result.stderr) == (1, True), result.output


def test_a_store_that_is_gone_for_a_while_spoils_no_row(
    bundle: Path, tmp_path: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(store, draw(tmp_path / "many", 6), "hands/for-a-while")
    arguments = (bundle, "s3://hands/for-a-while", "-o", tmp_path / "out", "--block-size", 3)
    assert label(*arguments).exit_code == 0
    (tmp_path / "out" / "part-000001.parquet").unlink()

    def refuse(address: str) -> Any:
        raise StoreError(f"{address}: cannot be used (connection refused).")

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "located", refuse)
        patch.setattr(pictures, "_PAUSE", 0.01)
        result = label(*arguments, "--resume")
    assert (result.exit_code, "connection refused" in result.stderr) == (1, True), result.output
    assert not (tmp_path / "out" / "part-000001.parquet").exists()
    again = label(*arguments, "--resume", "--json")
    assert (again.exit_code, summary(again)["labelled_now"]) == (0, 3), again.output


def test_wrong_credentials_are_explained_and_the_job_goes_on_with_right_ones(
    bundle: Path, tmp_path: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(store, draw(tmp_path / "many", 6), "hands/private")
    arguments = (bundle, "s3://hands/private", "-o", tmp_path / "out", "--block-size", 3)
    monkeypatch.setattr(pictures, "_PAUSE", 0.01)
    enforced = moto_core.set_initial_no_auth_action_count(0)(label)  # the store then looks at who asks
    refused = enforced(*arguments)
    assert (refused.exit_code, "s3://hands/private" in refused.stderr, "AWS_PROFILE" in refused.stderr) == (1, 1, 1)
    assert label(*arguments).exit_code == 0
    (tmp_path / "out" / "part-000001.parquet").unlink()
    expired = enforced(*arguments, "--resume")
    assert (expired.exit_code, "ACCESS_DENIED" in expired.stderr) == (1, True), expired.output
    again = label(*arguments, "--resume", "--json")
    assert (again.exit_code, summary(again)["labelled_now"], summary(again)["errors"]) == (0, 3, 0), again.output
