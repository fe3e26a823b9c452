"""Trained models: encode, decode, sample, move, compute likelihoods, export."""
