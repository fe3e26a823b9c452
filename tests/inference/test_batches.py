"""How lanes are put in order and taken together."""

import jax.numpy as jnp
import numpy as np
import pytest

from vaells_jax.inference.batches import _rough_order


@pytest.mark.parametrize("count", [1, 2, 300])
def test_rough_order_is_an_order_but_for_last_digits(count, dtype):
    size = np.random.default_rng(0).lognormal(sigma=3.0, size=count)
    size[count // 2 :: 3] = np.inf
    order = np.asarray(_rough_order(jnp.asarray(size, dtype)))
    assert sorted(order) == list(range(count))
    found = size[order]
    assert np.all(found[1:] >= found[:-1] * (1 - 2.0**-13))
