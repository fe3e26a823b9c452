"""Figures: arrays in, a matplotlib figure out. The one owner of matplotlib.

No pyplot and no global state: a figure is an object that `save_figure` writes. Colours
are those of Okabe and Ito, distinct for colour-blind readers and in grey print.
"""

from vaells_jax.evaluation.figures.algebra import operator_algebra
from vaells_jax.evaluation.figures.canvas import save_figure
from vaells_jax.evaluation.figures.curves import (
    compared_curves,
    operator_eigenvalues,
    operator_magnitudes,
    training_curves,
)
from vaells_jax.evaluation.figures.images import (
    compared_sample_grids,
    image_rows,
    operator_path_rows,
    posterior_sample_grids,
    reconstruction_grid,
)
from vaells_jax.evaluation.figures.latent_map import latent_map

__all__ = [
    "compared_curves",
    "compared_sample_grids",
    "image_rows",
    "latent_map",
    "operator_algebra",
    "operator_eigenvalues",
    "operator_magnitudes",
    "operator_path_rows",
    "posterior_sample_grids",
    "reconstruction_grid",
    "save_figure",
    "training_curves",
]
