"""Trained models as values: encode, decode, sample, move, weigh, export."""
