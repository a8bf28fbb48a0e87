"""Where an attempt at a trial runs: files, clocks, checkpoints, signs of life."""
