"""One trial: stages folded over a state, the training loop, measures. No files, no clocks but its own."""
