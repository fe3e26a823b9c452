"""Likelihoods of test digits, each with all that decides it recorded beside it."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

from experiments.problem import Run
from vaells_jax.evaluation.importance import ImportanceOptions, log_marginal_likelihood
from vaells_jax.evaluation.likelihood import (
    UNIT_WEIGHTS,
    describe,
    estimate,
    image_constant,
)
from vaells_jax.model.types import Batch


@contextlib.contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with the time left, once an evaluation has taken a few seconds."""
    bar = tqdm(
        total=total, desc=f"  {name}", unit="example", delay=5, dynamic_ncols=True
    )
    with bar:
        yield lambda count: bar.update(count) and None


def paper_likelihoods(run: Run, key: Array) -> dict[str, Any]:
    """Apply the paper's estimator with two searches, and estimate the ELBO.

    Args:
        run: A trained model and its test digits.
        key: Random key.

    Returns:
        Figures of merit by name, with values for each digit under `values`.
    """
    options = run.problem.config.evaluation
    weights = run.problem.config.weights
    batch = digits(run, options.digits)
    constant = image_constant(int(np.prod(batch.inputs.shape[1:])))
    sampled = dataclasses.replace(run.model, num_samples=options.samples)
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
        with progress(name, len(batch.labels)) as on_done:
            values = estimate(
                run.state.params, key, batch, model=model, anchors=options.anchors,
                objective=weights, on_done=on_done, mesh=run.mesh,
            )  # fmt: skip
        settings = {
            "digits": len(batch.labels),
            **describe(model, options.anchors, UNIT_WEIGHTS, weights),
        }
        found[name] = {
            "values": values.log_likelihood,
            "meaning": "the paper's estimator [nats]: a surrogate of log p(x), no "
            f"bound on it; {words}",
            "constant": constant,
            "settings": settings,
        }
        if model is sampled:
            elbo = {"values": values.elbo, **_elbo_record(run.model, weights, settings)}
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


def consistent_likelihood(run: Run, key: Array) -> dict[str, Any]:
    """Estimate log p(x) with coefficients and latents integrated.

    Returns:
        One figure of merit by name, or none where no digits are asked for.
    """
    config = run.problem.config
    asked, weights = config.evaluation, config.weights
    if asked.consistent_digits == 0:
        return {}
    gamma, rate = asked.consistent_noise_std, asked.consistent_rate
    options = ImportanceOptions(
        noise_std=weights.prior_residual**-0.5 if gamma is None else gamma,
        coefficient_rate=weights.prior_l1 if rate is None else rate,
        pixel_std=weights.reconstruction**-0.5,
        label=asked.consistent_label,
        num_samples=asked.consistent_samples,
    )
    batch = digits(run, asked.consistent_digits)
    name = "log_likelihood_consistent"
    with progress(name, len(batch.labels)) as on_done:
        found = log_marginal_likelihood(
            run.state.params, key, batch, model=run.model, options=options,
            on_done=on_done, mesh=run.mesh,
        )  # fmt: skip
    what = "log p(x)" if options.label == "marginal" else "log p(x | label)"
    size = int(np.prod(batch.inputs.shape[1:]))
    return {
        name: {
            "values": found.log_likelihood,
            "meaning": f"{what} of the generative model, coefficients and latents "
            "integrated [nats]: a lower bound in expectation, which grows with the "
            "samples",
            "constant": image_constant(size, weights),
            "median_effective_samples": float(np.median(found.effective_samples)),
            "median_sampling_error": float(np.median(found.standard_error)),
            "settings": {"digits": len(batch.labels), **dataclasses.asdict(options)},
        }
    }


def digits(run: Run, count: int) -> Batch:
    """Return the first test digits."""
    test = run.problem.data.test
    return Batch(jnp.asarray(test.images[:count]), jnp.asarray(test.labels[:count]))
