"""Measurements of time, one command each; every one takes --quick and --json."""
