"""The model of Section 2.3: networks, posterior, prior and objective."""
