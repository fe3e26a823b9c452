"""The likelihoods of Fig. 6's table, each recorded with its settings."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from vaells_jax.evaluation.likelihood import (
    UNIT_WEIGHTS,
    describe,
    estimate,
    image_constant,
)
from vaells_jax.evaluation.reconstruction import reconstruction_errors
from vaells_jax.model.types import Batch
from vaells_jax.runs.config import VaellsConfig
from vaells_jax.runs.experiment import Merits
from vaells_jax.runs.likelihood import progress
from vaells_jax.runs.records import merit
from vaells_jax.runs.run import Run

FIGURE_6 = {
    (2, 8): {"log_likelihood": -744.9376, "mse": 0.0286},
    (4, 8): {"log_likelihood": -744.6206, "mse": 0.0236},
    (8, 8): {"log_likelihood": -756.7853, "mse": 0.0233},
    (4, 12): {"log_likelihood": -745.7737, "mse": 0.0222},
    (4, 16): {"log_likelihood": -744.1835, "mse": 0.0222},
}
"""The table of Fig. 6, by (M, N_a)."""


def paper_figures(run: Run) -> Merits:
    """Measure VAELLS's reconstruction and likelihood of test digits as the paper does.

    Args:
        run: A trained run of VAELLS on natural digits.

    Returns:
        Figures of merit by name, beside the paper's where they are of the same data.
    """
    assert isinstance(run.config, VaellsConfig)
    images = run.data.source.test.inputs
    with progress("mse", len(images)) as on_done:
        errors = reconstruction_errors(
            jax.random.fold_in(run.key, 0), run.trained.params, images,
            model=run.trained.model, weights=run.config.weights, on_done=on_done,
        )  # fmt: skip
    found = {
        "mse": {
            "values": errors,
            "meaning": "squared pixel error, without a half, mean over pixels and "
            "posterior samples; all test digits",
        },
        **_surrogates(run, run.config, jax.random.fold_in(run.key, 1)),
    }
    row = (run.config.model.num_operators, run.config.data.anchors_per_class)
    paper = FIGURE_6.get(row, {}) if run.data.name == "mnist" else {}
    return {name: _mean(paper.get(name), **more) for name, more in found.items()}


def _mean(paper, *, values, meaning, **more):
    """Average over digits."""
    error = float(np.std(values) / np.sqrt(len(values)))
    mean = float(np.mean(values))
    return merit(mean, meaning, paper=paper, standard_error=error, **more)


def _surrogates(run: Run, config: VaellsConfig, key: Array) -> dict[str, Any]:
    """Apply the paper's estimator with two searches, and estimate the ELBO."""
    options, weights = config.evaluation, config.weights
    params, trained = run.trained.params, run.trained.model
    test, count = run.data.source.test, options.surrogate_points
    batch = Batch(jnp.asarray(test.inputs[:count]), jnp.asarray(test.labels[:count]))
    constant = image_constant(math.prod(batch.inputs.shape[1:]))
    sampled = dataclasses.replace(trained, num_samples=options.surrogate_samples)
    matched = dataclasses.replace(
        sampled,
        prior_search=dataclasses.replace(sampled.prior_search, l1_weight=1.0),
        posterior_search=dataclasses.replace(sampled.posterior_search, l1_weight=1.0),
    )
    found = {}
    for name, model, words in (
        ("log_likelihood", sampled, "searches as in training"),
        ("log_likelihood_density_search", matched, "searches of the density itself"),
    ):
        anchors = options.surrogate_anchors
        with progress(name, len(batch.labels)) as on_done:
            values = estimate(
                params, key, batch, model=model, anchors=anchors, objective=weights,
                on_done=on_done, mesh=run.mesh,
            )  # fmt: skip
        settings = {
            "digits": len(batch.labels),
            **describe(model, anchors, UNIT_WEIGHTS, weights),
        }
        found[name] = {
            "values": values.log_likelihood,
            "meaning": "the paper's estimator [nats]: a surrogate of log p(x), no "
            f"bound on it; {words}",
            "constant": constant,
            "settings": settings,
        }
        if model is sampled:
            elbo = {"values": values.elbo, **_elbo_record(trained, weights, settings)}
    return found | {"elbo": elbo}


def _elbo_record(model, weights, settings):
    """Say what the ELBO is made of: the negative of what training minimises."""
    prior = "closest anchor" if model.closest_anchor else "mean over the anchors"
    return {
        "meaning": "eq. 4 with training's surrogate densities and weights [nats], mean "
        "over samples of log p(x|z) + log p(z) - log q(z|x): "
        "-1/2 zeta_1 |x - g(z)|^2 with its constant, "
        "-1/2 zeta_4 |residual|^2 - zeta_5 |c|_1 and "
        "-1/2 zeta_2 |residual|^2 - zeta_3 |c|_1 without theirs, which are equal",
        "constant": image_constant(28 * 28, weights),
        "settings": {
            "weights": dataclasses.asdict(weights),
            "prior": f"{prior} of the data point's class",
            "labels_used": True,
            **{
                name: settings[name]
                for name in settings
                if "sampl" in name or "search" in name or name == "digits"
            },
        },
    }
