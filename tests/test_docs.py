"""The site's pages name what there is; nothing is built here."""

import importlib
import inspect
import pathlib
import pkgutil
import re

import pytest

import vaells_jax

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    path for path in DOCS.rglob("*.md") if "_build" not in path.relative_to(DOCS).parts
)
PUBLIC = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(vaells_jax.__path__, "vaells_jax.")
    if not found.name.endswith("__main__")
)


def prose(path):
    """Return a page without its blocks of code."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`", "", text)


def listed(path):
    """Return the pages that a page's tables of contents list."""
    tables = re.findall(r"```\{toctree\}\n(.*?)```", path.read_text(), re.DOTALL)
    lines = [line.strip() for table in tables for line in table.splitlines()]
    names = [line for line in lines if line and not line.startswith(":")]
    files = [re.sub(r".*<(.*)>", r"\1", name) for name in names]  # Title <file>
    return [path.parent / f"{file}.md" for file in files]


def anchors(path):
    """Return what headings are called in links, as GitHub and MyST do."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def test_every_public_name_is_in_the_reference():
    pages = [path.read_text() for path in (DOCS / "api").glob("*.md")]
    directive = r"^\.\. auto(?:function|class|data):: (\w+)$"
    found = [name for page in pages for name in re.findall(directive, page, re.M)]
    assert sorted(found) == sorted(vaells_jax.__all__)


def test_every_module_is_in_the_reference():
    pages = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    found = re.findall(r"^\.\. automodule:: (\S+)$", pages, re.MULTILINE)
    # Rooms themselves hold nothing but a line of what they are.
    rooms = {name for name in MODULES if name.count(".") == 1}
    assert len(found) == len(set(found))
    assert set(MODULES) - set(found) <= rooms
    assert set(found) <= set(MODULES)


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = (path.parent / name) if name else path
        assert goal.exists(), target
        if anchor:
            assert anchor in anchors(goal), target


def test_every_page_is_in_a_table_of_contents():
    found = [page for path in PAGES for page in listed(path)]
    assert sorted(found) == [path for path in PAGES if path != DOCS / "index.md"]


def test_no_page_has_the_name_of_one_that_sphinx_makes():
    assert not {"genindex", "py-modindex", "search"} & {path.stem for path in PAGES}


def test_tutorials_run_when_the_site_is_built():
    tutorials = [path for path in PAGES if path.parent == DOCS / "tutorials"]
    for path in tutorials:
        if path.name != "index.md":
            assert path.read_text().startswith("---\nfile_format: mystnb\n"), path
            assert "```{code-cell} ipython3\n" in path.read_text(), path


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (\S+)$", text, re.M) == [vaells_jax.__version__]


def own(module):
    """Yield the public functions and classes that a module defines, and methods."""
    for name, value in vars(module).items():
        value = inspect.unwrap(value) if callable(value) else value  # of jax.jit
        kind = inspect.isfunction(value) or inspect.isclass(value)
        if name.startswith("_") or not kind or value.__module__ != module.__name__:
            continue
        yield f"{module.__name__}.{name}", value
        if inspect.isclass(value):
            for method, function in vars(value).items():
                function = getattr(function, "fget", function)
                if not method.startswith("_") and inspect.isfunction(function):
                    yield f"{module.__name__}.{name}.{method}", function


@pytest.mark.parametrize("name", ["vaells_jax", *MODULES])
def test_everything_public_has_a_docstring(name):
    module = importlib.import_module(name)
    assert module.__doc__, name
    # Records without a docstring are given their signature for one.
    lacking = [
        found
        for found, value in own(module)
        if not value.__doc__ or value.__doc__.startswith(f"{value.__name__}(")
    ]
    assert not lacking
