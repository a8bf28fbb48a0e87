"""Pure mathematics: tensors in, tensors or floats out. Imports torch and nothing of ours."""
