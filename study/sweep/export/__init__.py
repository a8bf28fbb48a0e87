"""A finished trial's net as one file: packed at its bits, or as ONNX."""
