"""No import runs upward, and each foreign library has one owner."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
ORDER = [
    "checks", "operators", "inference", "networks", "model", "sharding", "training",
    "evaluation", "baselines", "data",
]  # fmt: skip
OWNERS = {
    "jaxopt": "vaells_jax/inference/lbfgs.py",
    "flax.linen": "vaells_jax/networks/",
    "flax.nnx": "vaells_jax/networks/adapters.py",
    "equinox": "vaells_jax/networks/adapters.py",
    "torch": "vaells_jax/model/published.py",
    "orbax": "vaells_jax/training/checkpoints.py",
    "matplotlib": "vaells_jax/evaluation/figures/",
    "tensorflow_datasets": "vaells_jax/data/images.py",
}
FILES = [
    path.relative_to(ROOT)
    for folder in ("vaells_jax", "experiments")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def imports(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rank(parts):
    """Order the rooms; data knows none of the others, experiments know them all."""
    room = parts[1].removesuffix(".py") if len(parts) > 1 else ""
    if parts[0] != "vaells_jax" or room not in ORDER:
        return len(ORDER)
    return ORDER.index(room)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_run_downward(path):
    if path.name == "__init__.py" and len(path.parts) == 2:
        return  # the public names
    own = rank(path.parts)
    for name in imports(path):
        parts = name.split(".")
        assert not (parts[0] == "experiments" and path.parts[0] == "vaells_jax"), name
        assert parts[0] != "benchmarks", name
        if parts[0] == "vaells_jax" and len(parts) > 1 and parts[1] in ORDER:
            assert rank(parts) <= own, f"{path} imports {name}"
            assert path.parts[1] != "data" or parts[1] == "data", name


@pytest.mark.parametrize("library", OWNERS)
def test_each_foreign_library_has_one_owner(library):
    users = {
        path.as_posix()
        for path in FILES
        if any(f"{name}.".startswith(f"{library}.") for name in imports(path))
    }
    assert users, f"nobody uses {library}"
    assert all(user.startswith(OWNERS[library]) for user in users), users
