"""The parts of `datasets.simulate_multiome`: genome and motifs, regulation, cells, counts."""
