"""Evaluation: likelihood, latent structure, figures."""
