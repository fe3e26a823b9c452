"""Transport operators and the matrix exponential that they need."""
