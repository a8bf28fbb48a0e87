"""A seeded fuzz of the command line, of results folders, and of users' functions and data."""
