"""From a request to a finished folder."""
