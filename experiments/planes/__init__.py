"""Code shared by the experiments on curves in the plane: data, measures, figures."""
