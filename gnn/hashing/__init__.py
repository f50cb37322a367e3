"""Binary codes for the index vectors: learnt, searched by Hamming distance, and ranked again exactly."""
