"""From what was typed to the list of jobs, and the output folder's contract."""
