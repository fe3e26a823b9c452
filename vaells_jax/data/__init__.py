"""Data: image sets, 2-D manifolds lifted to 20-D, rotations, anchors, batches."""
