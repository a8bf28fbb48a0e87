"""What arrays of images and labels must be: found before anything is trained on them. No torch.

A label that is wrong trains a net all the same, and its numbers look like any other's.
"""

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]
NAMES = ("train_images", "train_labels", "test_images", "test_labels")
COLOURS = (1, 3, 4)  # channels that images have nearly always


def returned(parts: tuple[np.ndarray, ...]) -> Arrays:
    """What a user's function returned, as images (N, C, H, W), float32 in [0, 1], and labels (N,), int64, of each part.

    ValueError naming the array, what is wrong with it and what to do.
    """
    train_x, test_x = images(parts[0], NAMES[0]), images(parts[2], NAMES[2])
    train_y, test_y = labels(parts[1], NAMES[1]), labels(parts[3], NAMES[3])
    check(train_x, train_y, test_x, test_y)
    return train_x, train_y, test_x, test_y


def images(x: np.ndarray, what: str) -> np.ndarray:
    """Images (N, C, H, W), (N, H, W) or (N, D) as (N, C, H, W), float32; ValueError for anything else."""
    if x.dtype.kind not in "biuf":
        hint = " (images of several sizes? bring them to one)" if x.dtype.kind == "O" else ""
        raise ValueError(f"{what} must be an array of numbers, got {x.dtype}{hint}")
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise ValueError(f"{what} must have the shape (N, C, H, W), (N, H, W) or (N, D), got {x.shape}")
    if x.ndim == 4 and x.shape[3] in COLOURS and x.shape[1] not in COLOURS and x.shape[2] not in COLOURS:
        raise ValueError(
            f"{what} of shape {x.shape} seem to have their channels last; channels come first, (N, C, H, W): "
            f"give {what}.transpose(0, 3, 1, 2)"
        )
    x = x.astype(np.float32)
    return x.reshape(len(x), 1, 1, -1) if x.ndim == 2 else x[:, None] if x.ndim == 3 else x


def labels(y: np.ndarray, what: str) -> np.ndarray:
    """Labels (N,) of whole numbers as int64; ValueError for anything else."""
    if y.dtype.kind not in "biuf":
        words = y.dtype.kind in "US" or (y.dtype.kind == "O" and any(isinstance(v, str) for v in y.flat))
        seen = f"words ({', '.join(sorted({repr(str(v)) for v in y.flat})[:3])}, ...)" if words else f"{y.dtype}"
        raise ValueError(f"{what} must be numbers, got {seen}: number the classes 0, 1, ..., alike in both parts")
    if y.ndim == 2:
        column = y.shape[1] == 1
        shape, give = ("a column", "ravel()") if column else ("one-hot", "argmax(axis=1)")
        raise ValueError(f"{what} must have the shape (N,), got {y.shape}, {shape}? Give {what}.{give}")
    if y.ndim != 1:
        raise ValueError(f"{what} must have the shape (N,), got {y.shape}")
    if y.dtype.kind == "f" and (broken := np.flatnonzero(y != np.rint(y))).size:
        raise ValueError(f"{what} must be whole numbers 0, 1, ..., got {y[broken[0]]:g} at {broken[0]}")
    if len(y) and not 0 <= float(y.min()) <= float(y.max()) < 2**31:
        raise ValueError(f"{what} must be 0, 1, ..., got {y.min():g} to {y.max():g}")
    return y.astype(np.int64)


def check(x: np.ndarray, y: np.ndarray, test_x: np.ndarray | None = None, test_y: np.ndarray | None = None) -> None:
    """ValueError unless the images have pixels in [0, 1] (or are bytes), one shape and a label each, and every label
    from 0 to the largest stands in the training part, of two classes at least."""
    for part, pixels, of in (("training", x, y), ("test", test_x, test_y)):
        if pixels is None or of is None:
            continue
        if len(pixels) == 0 or len(pixels) != len(of):
            raise ValueError(f"{len(pixels)} {part} images with {len(of)} labels")
        if pixels.shape[1:] != x.shape[1:]:
            raise ValueError(f"{part} images have the shape {pixels.shape[1:]}, training images {x.shape[1:]}")
        if pixels.dtype != np.uint8 and not (np.isfinite(pixels).all() and 0 <= pixels.min() <= pixels.max() <= 1):
            low, high = pixels.min(), pixels.max()
            hint = "; divide bytes by 255" if 1 < high <= 255 and low >= 0 else ""
            raise ValueError(f"pixels must lie in [0, 1], got {low:g} to {high:g} in the {part} images{hint}")
    found = np.unique(y)
    if len(found) < 2:
        raise ValueError(f"every training image has the label {found[0]}; at least two classes are needed")
    if (missing := _first_missing(found)) is not None:
        todo = f"subtract {found[0]}" if missing == 0 else "number the classes without gaps"
        raise ValueError(f"no training image has the label {missing}, of 0 to {found[-1]}; {todo}")
    strange = test_y[~np.isin(test_y, found)] if test_y is not None else found[:0]
    if strange.size:
        raise ValueError(f"{strange.size} test images have labels that no training image has, {strange[0]} for one")


def _first_missing(found: np.ndarray) -> int | None:
    """The smallest label that is not among sorted ones."""
    gaps = np.flatnonzero(found != np.arange(len(found)))
    return int(gaps[0]) if gaps.size else None
