"""Code shared by the experiments on digits: data, measures, figures, settings."""
