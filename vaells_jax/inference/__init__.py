"""The coefficient search: c* of eqs. 5 and 7, for whole batches of pairs."""

from vaells_jax.inference.api import infer_coefficients
from vaells_jax.inference.options import CoefficientFit, InferenceOptions

__all__ = ["CoefficientFit", "InferenceOptions", "infer_coefficients"]
