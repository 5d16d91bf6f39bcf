"""The fleet's page for people, self-contained."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from signs_export.fleet.devices import Fleet

_PAGES = Environment(
    loader=PackageLoader("signs_export.fleet"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def fleet_page(fleet: Fleet, expected: str | None) -> str:
    """Render the page; `expected` is the digest that every device should have, if one was named."""
    return _PAGES.get_template("fleet.html").render(fleet=fleet, expected=expected)
