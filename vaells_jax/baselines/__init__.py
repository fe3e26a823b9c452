"""The compared models: VAE, hyperspherical VAE, VampPrior; and VAELLS beside them."""
