"""Encoders and decoders: the contract, the stock networks, users' own."""
