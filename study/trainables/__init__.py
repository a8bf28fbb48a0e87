"""Tune trainables under a name to rely on: study.trainables.base."""
