"""What the experiments on digits share: data, measures, figures, settings."""
