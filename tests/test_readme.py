import pathlib
import re

import numpy as np

README = pathlib.Path(__file__).parents[1] / "README.md"


def test_the_lines_for_ones_own_code_run():
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict = {}
    exec(compile(block, str(README), "exec"), names)
    np.testing.assert_allclose(
        names["path"][-1], names["reached"][0], rtol=1e-4, atol=1e-4
    )
    gap = np.asarray(names["goal"] - names["reached"])
    energy = 0.5 * np.sum(gap**2, axis=1)
    np.testing.assert_allclose(names["fit"].objective, energy, rtol=1e-2, atol=1e-3)


def test_every_picture_and_file_that_is_named_is_there():
    for name in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / name).exists(), name
