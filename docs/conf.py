"""Sphinx reads this. Nothing here needs a network: no links to other projects' indexes, formulas as plain text."""

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "ladle"
author = "The ladle authors"
release = version = _PROJECT["version"]
project_copyright = "the ladle authors; Apache-2.0"

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 3

html_theme = "furo"
html_title = f"ladle {release}"
html_show_sphinx = False
