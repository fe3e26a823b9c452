"""No import runs upward, each foreign library has one owner, experiments are short."""

import ast
import fnmatch
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
ORDER = [
    "version", "checks", "loops", "progress", "operators", "inference", "networks",
    "model", "sharding", "training", "evaluation", "baselines", "trained", "data",
    "runs",
    "__main__",
]  # fmt: skip
"""The library's rooms, from the ground up."""

ALONE = {"data": {"data", "checks"}}
"""Rooms that know but these."""

OWNERS = {
    "jaxopt": "vaells_jax/inference/lbfgs.py",
    "flax.linen": "vaells_jax/networks/",
    "flax.nnx": "vaells_jax/networks/adapters.py",
    "equinox": "vaells_jax/networks/adapters.py",
    "torch": "vaells_jax/model/published.py",
    "orbax": "vaells_jax/training/checkpoints.py",
    "matplotlib": "vaells_jax/evaluation/figures/",
    "sklearn": "vaells_jax/evaluation/disentanglement.py",
    "tensorflow_datasets": "vaells_jax/data/images.py",
    "filelock": "vaells_jax/runs/folder.py",
    "pydantic": "vaells_jax/runs/folder.py",
    "tyro": ("vaells_jax/runs/co", "vaells_jax/__main__.py"),
}
LONGEST = 150
"""Lines of a file of an experiment: values, and what is measured and drawn."""

FILES = [
    path.relative_to(ROOT)
    for folder in ("vaells_jax", "experiments", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
LIBRARY = [path for path in FILES if path.parts[0] == "vaells_jax"]
EXPERIMENTS = [path for path in FILES if path.parts[0] == "experiments"]


def imports(path):
    """Name what a file imports, at its top or anywhere else."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(parts):
    return parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_imports_of_the_library_run_downward(path):
    if path.parts[1:] == ("__init__.py",):
        return  # the public names
    own = room_of(path.parts)
    assert own in ORDER, f"{own} has no place in the order"
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in ("experiments", "benchmarks", "tests"), name
        if parts[0] != "vaells_jax":
            continue
        assert len(parts) > 1, f"{path} imports the public names, which stand above"
        room = room_of(parts)
        assert ORDER.index(room) <= ORDER.index(own), f"{path} imports {name}"
        assert room in ALONE.get(own, ORDER), f"{path} imports {name}"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=str)
def test_an_experiment_knows_the_library_and_its_own_folder(path):
    folders = {p.parts[1] for p in EXPERIMENTS if len(p.parts) > 2}
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in ("benchmarks", "tests"), name
        if parts[0] == "experiments" and len(parts) > 1:
            assert parts[1] in folders, f"{path} imports {name}"
            if len(path.parts) > 2:
                assert parts[1] == path.parts[1], f"{path} imports {name}"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=str)
def test_an_experiment_is_short(path):
    assert len((ROOT / path).read_text().splitlines()) <= LONGEST


def test_git_ignores_no_room():
    lines = (ROOT / ".gitignore").read_text().splitlines()
    anywhere = [line.strip("/") for line in lines if line and line[0] not in "#/"]
    for path in FILES:
        for part in path.parts:
            assert not any(fnmatch.fnmatch(part, name) for name in anywhere), path


@pytest.mark.parametrize("library", OWNERS)
def test_each_foreign_library_has_one_owner(library):
    users = {
        path.as_posix()
        for path in (*LIBRARY, *EXPERIMENTS)
        if any(f"{name}.".startswith(f"{library}.") for name in imports(path))
    }
    assert users, f"nobody uses {library}"
    assert all(user.startswith(OWNERS[library]) for user in users), users
