"""The ways in which training may have read and scaled pictures, and the options for each."""

from dataclasses import asdict, dataclass, replace

from signs_export.config import SCALINGS, Scaling
from signs_export.source.reference import Reference
from signs_runtime.pictures.input_spec import CHANNELS, Reading, ResizeFilter

# One filter of each kind. Filters that differ less than pictures can show are left out, but can still be chosen.
_FILTERS: tuple[ResizeFilter, ...] = (
    *("bilinear", "nearest", "bicubic", "lanczos"),
    *("tf-bilinear", "cv2-linear", "cv2-area"),
)


@dataclass(frozen=True)
class Setting:
    """A way of reading pictures, and of scaling their pixels."""

    scaling: Scaling
    reading: Reading

    def options(self, usual: Reading = Reading()) -> tuple[str, ...]:  # noqa: B008  # frozen
        """The options for `signs export`, as words of a command, without those that equal `usual`."""
        mine, theirs = asdict(self.reading), asdict(usual)
        said = [word for name in mine if mine[name] != theirs[name] for word in (f"--{name}", mine[name])]
        return ("--scaling", self.scaling, *said)


def scalings_and_colours(reference: Reference, reading: Reading) -> list[Setting]:
    """Every scaling that is possible for the model, with both orders of colours if it has colours."""
    grey = reference.input.mode == "L"
    scalings = [each for each in SCALINGS if not (grey and each in ("torch", "caffe"))]
    scalings = [reference.scaling] if reference.takes_alpha else scalings
    orders = (reading.channels,) if grey else CHANNELS
    return [Setting(scaling, replace(reading, channels=order)) for scaling in scalings for order in orders]


def fits(setting: Setting) -> list[Setting]:
    """The setting with each way of fitting a picture to the model's proportions."""
    return [_read(setting, fit=fit) for fit in ("stretch", "crop", "pad")]


def filters(setting: Setting) -> list[Setting]:
    """The setting with each resize filter."""
    own = setting.reading.resize
    return [_read(setting, resize=each) for each in (*_FILTERS, *(() if own in _FILTERS else (own,)))]


def turns(setting: Setting) -> list[Setting]:
    """The setting with and without EXIF rotation."""
    return [_read(setting, exif=each) for each in ("turned", "ignored")]


def _read(setting: Setting, **changes: str) -> Setting:
    return replace(setting, reading=replace(setting.reading, **changes))  # type: ignore[arg-type]  # of its own kinds
