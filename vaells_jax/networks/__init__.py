"""Encoders and decoders: the contract, the stock networks, your own."""
