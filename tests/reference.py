"""The NumPy/SciPy oracle: the paper's equations once more, one example at a time."""

import numpy as np
import scipy.linalg
import scipy.special


def transport(operators, coefficients, z):
    """`expm(sum_m c_m Psi_m) z` by SciPy."""
    A = sum(
        c * psi
        for c, psi in zip(np.float64(coefficients), np.float64(operators), strict=True)
    )
    return scipy.linalg.expm(A) @ np.float64(z)


def search_objective(operators, coefficients, start, end, l1_weight):
    """`1/2 ||end - T(c) start||^2 + zeta ||c||_1`."""
    residual = np.float64(end) - transport(operators, coefficients, start)
    return 0.5 * residual @ residual + l1_weight * np.abs(coefficients).sum()


def log_density(z, mean, operators, coefficients, residual_weight, l1_weight):
    """Eq. 11 without its constant."""
    residual = np.float64(z) - transport(operators, coefficients, mean)
    return (
        -0.5 * residual_weight * residual @ residual
        - l1_weight * np.abs(np.float64(coefficients)).sum()
    )


def log_prior(z, anchor_means, operators, coefficients, residual_weight, l1_weight):
    """Eq. 7 without its constant, in log-space."""
    components = [
        log_density(z, mean, operators, c, residual_weight, l1_weight)
        for mean, c in zip(anchor_means, coefficients, strict=True)
    ]
    return scipy.special.logsumexp(components) - np.log(len(components))


def log_prior_closest(
    z, anchor_means, operators, coefficients, residual_weight, l1_weight
):
    """Eq. 12 without its constant: the largest density of all."""
    return max(
        log_density(z, mean, operators, c, residual_weight, l1_weight)
        for mean, c in zip(anchor_means, coefficients, strict=True)
    )
