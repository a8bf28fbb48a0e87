"""Compression: a model goes in, a new model comes out; the argument is never changed."""
