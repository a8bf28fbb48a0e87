"""Attacks: pure functions in pixel units, always inside [0, 1] and inside the ball of radius eps."""
