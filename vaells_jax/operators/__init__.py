"""Transport operators, and the matrix exponential behind them."""
