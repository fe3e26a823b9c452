"""Variational Autoencoder with Learned Latent Structure in functional JAX."""
