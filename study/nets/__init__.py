"""Networks, the data they see, penalties on their weights, and their compression."""
