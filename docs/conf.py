"""How the documentation is built: make docs."""

from neurostatic import __version__

project = "neurostatic"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"neurostatic {version}"
autodoc_typehints = "signature"
exclude_patterns = ["site"]
