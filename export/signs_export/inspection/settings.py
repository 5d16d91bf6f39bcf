"""What may have been done to pictures before a model was trained on them, and the options that say so."""

from dataclasses import asdict, dataclass, replace

from signs_export.config import SCALINGS, Scaling
from signs_export.source.reference import Reference
from signs_runtime.pictures.input_spec import CHANNELS, Reading, ResizeFilter

# One of each kind: those that differ by less than pictures can tell are left out, and can still be asked for.
_FILTERS: tuple[ResizeFilter, ...] = (
    *("bilinear", "nearest", "bicubic", "lanczos"),
    *("tf-bilinear", "cv2-linear", "cv2-area"),
)


@dataclass(frozen=True)
class Setting:
    """How pixels are scaled, and how they are read before that."""

    scaling: Scaling
    reading: Reading

    def options(self, usual: Reading = Reading()) -> tuple[str, ...]:  # noqa: B008  # frozen
        """What to say to `signs export`, as words of a command; `usual` need not be said."""
        mine, theirs = asdict(self.reading), asdict(usual)
        said = [word for name in mine if mine[name] != theirs[name] for word in (f"--{name}", mine[name])]
        return ("--scaling", self.scaling, *said)


def scalings_and_colours(reference: Reference, reading: Reading) -> list[Setting]:
    """Every scaling that the model can have, with colours in both orders where there are some."""
    grey = reference.input.mode == "L"
    scalings = [each for each in SCALINGS if not (grey and each in ("torch", "caffe"))]
    scalings = [reference.scaling] if reference.takes_alpha else scalings
    orders = (reading.channels,) if grey else CHANNELS
    return [Setting(scaling, replace(reading, channels=order)) for scaling in scalings for order in orders]


def fits(setting: Setting) -> list[Setting]:
    """The ways to bring a picture to the model's proportions."""
    return [_read(setting, fit=fit) for fit in ("stretch", "crop", "pad")]


def filters(setting: Setting) -> list[Setting]:
    """The filters that shrink or enlarge it."""
    own = setting.reading.resize
    return [_read(setting, resize=each) for each in (*_FILTERS, *(() if own in _FILTERS else (own,)))]


def turns(setting: Setting) -> list[Setting]:
    """Whether a camera's orientation was heeded."""
    return [_read(setting, exif=each) for each in ("turned", "ignored")]


def _read(setting: Setting, **changes: str) -> Setting:
    return replace(setting, reading=replace(setting.reading, **changes))  # type: ignore[arg-type]  # of its own kinds
