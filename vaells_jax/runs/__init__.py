"""Runs: configuration, folder, training, evaluation, results, loading."""
