"""The part of `signs predict` that writes Parquet files: a job, here or on a cluster, which can be resumed."""

import hashlib
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_runtime.bundle.folder import is_model_file, open_bundle
from signs_runtime.commands.predict_options import JobOptions, ModelOptions, bar
from signs_runtime.commands.shared import print_json, print_table
from signs_runtime.errors import BundleNotFoundError, OptionError, SignsError

if TYPE_CHECKING:
    from signs_runtime.classifier import Classifier
    from signs_runtime.labelling.job import Job
    from signs_runtime.labelling.work import BlockResult

NEEDED = {None: "pyarrow", "ray": "pyarrow ray"}  # packages for each engine
BLOCK = 2_000  # pictures


class Clock:
    """How long each step took, in seconds."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note the time since the last step."""
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now


def run_job(
    bundle: Path,
    pictures: Sequence[str],
    model: ModelOptions,
    options: JobOptions,
    top_k: int,
    *,
    strict: bool,
    as_json: bool,
) -> None:
    """Write predictions into Parquet files, and print how many pictures have each label."""
    assert options.output is not None  # the caller's choice
    with _needing(options.engine):
        if options.engine == "ray":
            import ray  # noqa: F401  # only to see whether it is there
        from signs_runtime.labelling.job import check_same, open_job

    digest = _digest(bundle)
    before = open_job(options.output) if options.resume else None
    if before is not None:
        check_same(before, bundle=digest)
        model = replace(model, variant=model.variant or (None if is_model_file(bundle) else before.settings.variant))
    clock = Clock()
    classifier = None if options.engine else model.open(bundle)
    variant = classifier.placement.variant if classifier else _variant(bundle, model)
    job = _begin(options, before, digest, variant, pictures, model.threshold, top_k)
    clock.lap("listing")
    blocks = sorted(set(range(job.blocks)) - job.finished())
    work = _here(classifier, job, blocks, model) if classifier else _on_ray(bundle, job, blocks, model, options)
    labelled = 0
    with bar(job.pictures) as progress, closing(work) as results:
        progress.update(job.pictures - sum(map(job.size, blocks)))
        for result in results:
            labelled += result.pictures
            progress.update(result.pictures)
            if strict and result.first_error:
                raise SignsError(f"{result.first_error} Continue with --resume, without --strict.")
    job.folder.clear_unfinished()  # what lost workers left
    clock.lap("labelling")
    _end(job, labelled, clock, as_json=as_json)


def _here(
    classifier: "Classifier", job: "Job", blocks: Sequence[int], model: ModelOptions
) -> Generator["BlockResult", None, None]:
    from signs_runtime.labelling.work import label_block

    for block in blocks:
        yield label_block(classifier, job, block, model.batch)


def _on_ray(
    bundle: Path, job: "Job", blocks: Sequence[int], model: ModelOptions, options: JobOptions
) -> Generator["BlockResult", None, None]:
    from signs_runtime.labelling.on_ray import WorkerSettings, label_on_ray

    settings = WorkerSettings(model.device, options.cpus or WorkerSettings.cpus, model.batch)
    yield from label_on_ray(bundle, job, blocks, settings, lambda said: click.echo(said, err=True))


def _variant(bundle: Path, model: ModelOptions) -> str:
    """The variant that all workers of a cluster run."""
    from signs_runtime.labelling.on_ray import ACCELERATORS

    is_file = is_model_file(bundle)
    opened = None if is_file else open_bundle(bundle)
    if opened is not None and (model.variant or model.device in ACCELERATORS):
        return opened.variant(model.variant or opened.manifest.variants[0].name).name
    return replace(model, device="cpu").open(bundle).placement.variant


def _begin(
    options: JobOptions,
    before: "Job | None",
    digest: str,
    variant: str,
    pictures: Sequence[str],
    threshold: float | None,
    top_k: int,
) -> "Job":
    """Plan a job, or go on with the one that was begun."""
    from signs_runtime.labelling.addresses import is_uri
    from signs_runtime.labelling.job import Settings, check_same, start_job

    settings = Settings(
        bundle=digest,
        variant=variant,
        threshold=threshold,
        top_k=top_k,
        block=options.block or (before.settings.block if before else BLOCK),
        column=options.column or (before.settings.column if before else None),
        sources=tuple(each if is_uri(each) else str(Path(each).absolute()) for each in pictures),
    )
    if before is not None:
        check_same(before, **{field.name: getattr(settings, field.name) for field in fields(settings)})
        before.folder.clear_unfinished()
        return before
    click.echo("Listing the pictures ...", err=True)
    return start_job(options.output or "", settings)


def _end(job: "Job", labelled: int, clock: Clock, *, as_json: bool) -> None:
    """Write and print the summary; exit with 1 if a picture has an error."""
    labels, errors = job.summarise()
    clock.lap("summary")
    summary: dict[str, Any] = {  # Any: JSON
        "pictures": job.pictures,
        "errors": errors,
        "labels": dict(labels.most_common()),
        "bundle": job.settings.bundle,
        "variant": job.settings.variant,
        "files": job.blocks,
    }
    job.end(summary)
    if as_json:
        print_json({**summary, "labelled_now": labelled, "seconds": clock.laps})
    else:
        print_table(
            [(label, f"{count:,}", f"{count / job.pictures:.1%}") for label, count in labels.most_common()],
            ("label", "pictures", "share"),
        )
    if labelled:
        speed = labelled / max(clock.laps["labelling"], 1e-6)
        click.echo(f"{labelled:,} pictures labelled: {speed:,.0f} a second.", err=True)
    click.echo(f"{job.pictures:,} rows in {job.folder.address}", err=True)
    if errors:
        click.echo(f'{errors:,} pictures could not be labelled; the column "error" says why.', err=True)
        sys.exit(SignsError.exit_code)


def _digest(bundle: Path) -> str:
    if is_model_file(bundle):
        if not bundle.exists():
            raise BundleNotFoundError(f"No model at {bundle}; run build-and-export first.")
        return hashlib.sha256(bundle.read_bytes()).hexdigest()
    return open_bundle(bundle).manifest.digest


@contextmanager
def _needing(engine: str | None) -> Iterator[None]:
    """Explain which packages are missing."""
    try:
        yield
    except ImportError as error:
        needed = NEEDED[engine]
        raise OptionError(f"signs predict -o needs more packages ({error}): pip install {needed}") from error
