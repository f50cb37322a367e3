"""Graph Agreement Models: which edges of a noisy graph to believe (Stretcu et al., NeurIPS 2019)."""
