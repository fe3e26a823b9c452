"""The model of Section 2.3: posterior, prior and objective."""
