"""What compression does to adversarial robustness: sweeps of trained, attacked and measured networks on Ray."""

__version__ = "0.1.0"
