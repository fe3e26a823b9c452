"""The documentation site: `python -m sphinx -W --keep-going docs docs/_build/html`."""

import importlib.resources
import os
import pathlib
import re
import shutil

import vaells_jax

# Of programs that were tuned for another machine XLA logs an error each.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

project = "vaells_jax"
author = "the vaells_jax authors"
release = vaells_jax.__version__
copyright = "the vaells_jax authors; Apache-2.0"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build", "figures", "natural_mnist", "rotated_mnist"]

html_theme = "sphinx_book_theme"
html_title = "vaells_jax"
html_static_path = ["_static"]
html_css_files = ["vaells.css"]
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the sidebar has a search already
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
}

# Pages of results write plain Markdown; their formulas are code.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Tutorials run while the site is built, in folders of their own.
nb_execution_mode = "auto"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autoclass_content = "class"
python_maximum_signature_line_length = 68
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False

bibtex_bibfiles = ["references.bib"]

# Formulas without a network: one file of MathJax, which draws them as SVG. It comes
# with the package sphinx-mathjax-offline and is copied when the site is built.
MATHJAX = "tex-svg.js"
mathjax_path = f"mathjax/{MATHJAX}"


def copy_mathjax(app, error):
    """Copy MathJax beside the site's other scripts."""
    if error is not None or app.builder.format != "html":
        return
    package = importlib.resources.files("sphinx-mathjax-offline")
    target = pathlib.Path(app.outdir) / "_static" / mathjax_path
    target.parent.mkdir(parents=True, exist_ok=True)
    with importlib.resources.as_file(package / "static" / "mathjax" / MATHJAX) as file:
        shutil.copyfile(file, target)


SECTION = re.compile(r"[A-Z][a-z]+:$")
"""First line of a section of a Google docstring."""

SHORT = {
    "eq": "equation",
    "eqs": "equations",
    "Eq": "Equation",
    "Fig": "Figure",
    "Figs": "Figures",
}
"""Summaries end at the first stop; these have none in the middle of a sentence."""


def as_rst(app, what, name, obj, options, lines):
    """Turn a docstring's plain text into reStructuredText, before Napoleon reads it.

    What stands in backquotes is code, indented formulas are blocks, and marks that
    would mean something there (`|u|`, `c*`) are plain.
    """
    # Napoleon would take a first line "words: more words" of a constant for its type.
    found = [""] if what in ("attribute", "data") else []
    section, block, code = False, False, False
    for line in lines:
        blank, indented = not line.strip(), line.startswith("    ")
        if not blank:
            section = bool(SECTION.match(line)) or (section and indented)
            starts = indented and not section and not block
            block = indented and not section
            if starts and found and not found[-1]:
                found += ["::", ""]
        code = code and not blank
        if not block:
            parts = line.split("`")
            for i, part in enumerate(parts):
                if not code ^ bool(i % 2):
                    for short, long in SHORT.items():
                        part = re.sub(rf"\b{short}\.(?=\s|$)", long, part)
                    parts[i] = re.sub(r"([\\|*]|_(?!\w))", r"\\\1", part)
            code ^= len(parts) % 2 == 0
            line = "``".join(parts)
        found.append(line)
    lines[:] = found


def short_types(app, what, name, obj, options, signature, returns):
    """Name arrays in signatures as the code does."""
    shorter = lambda text: text and re.sub(r"\b(jaxlib\._jax|jax|numpy)\.", "", text)
    return shorter(signature), shorter(returns)


def skip_fields(app, what, name, obj, skip, options):
    """Leave out fields of records, which their class describes."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Register what this file adds to Sphinx."""
    app.connect("autodoc-process-docstring", as_rst, priority=400)
    app.connect("autodoc-process-signature", short_types)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("build-finished", copy_mathjax)
