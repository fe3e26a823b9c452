"""Runs: configuration, folder, training to the end, evaluation, results, loading."""
