"""What the experiments on curves in the plane share: data, measures, figures."""
