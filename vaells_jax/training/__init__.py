"""Training (Appendix B): phases, optimisers, the step, the loop, checkpoints."""
