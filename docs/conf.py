"""How Sphinx builds these pages: `make docs`."""

from importlib import metadata

project = "signs-edge"
copyright = "the signs-edge authors, Apache-2.0"  # noqa: A001  # Sphinx's name
version = release = metadata.version("signs-edge")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
exclude_patterns = ["peers.md"]  # a part of benchmarks.md
smartquotes = False  # options begin with two hyphens
html_theme = "furo"
html_title = f"signs-edge {release}"
html_copy_source = False
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
