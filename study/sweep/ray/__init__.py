"""The Ray room: trainables, the back end, nodes, jobs on a cluster."""
