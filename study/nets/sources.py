"""Where data and models come from: files under the data folder, functions of the user's; their digests. No torch."""

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from study.nets import checks, decoded, folders, handed, keyed
from study.nets.modules import own_modules
from study.spec.datasets import ACCEPTED, DATASETS, HANDED, image_folder, is_user_function, names
from study.spec.errors import UsageError, of_a_function, told


def user_object(name: str, what: str) -> Any:
    """What `package:name` names, looked up in the working folder too; UsageError when it is not there."""
    if found := handed.function(name):
        return found
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), attribute)
    except UsageError:
        raise
    except BaseException as error:  # a user's module may raise anything while it is imported
        if not of_a_function(error):
            raise
        if name.startswith(HANDED):
            raise UsageError(
                f"{what} {name} was handed over by the process that made these results (study.audit), and is in no file"
            ) from None
        cause = told(error).splitlines()[0]
        raise UsageError(f"{what} {name}: cannot import it ({cause}); give package:function") from None


def user_function(name: str, what: str) -> Callable[..., Any]:
    """The function that `package:function` names; UsageError when there is none."""
    function = user_object(name, what)
    if not callable(function):
        raise UsageError(f"{what} {name}: {name.partition(':')[2]} is not a function")
    return function


def function_digests(values: Iterable[Any], what: str) -> dict[str, str]:
    """The digest of each function of the user's among knob values, by name; UsageError for one that is not there."""
    names = sorted({value for value in values if is_user_function(value)})
    return {name: source_digest(name, what) for name in names}


def source_digest(name: str, what: str) -> str:
    """16 hexadecimal digits of the hash of the source that `package:function` is made of: the module that defines the
    function, the one that names it, and all that this one imports of its own package and folder.

    UsageError where there is no such function, or no source.
    """
    if known := handed.digest(name):
        return known
    function = user_function(name, what)
    named = sys.modules[name.partition(":")[0]]
    defined = inspect.getmodule(function)
    try:
        source = inspect.getsource(defined or function)
        file = inspect.getsourcefile(named)
        others = own_modules(named.__name__, Path(file)) if file else {}
        texts = {n: path.read_bytes() for n, path in others.items() if defined is None or n != defined.__name__}
    except (OSError, TypeError, AttributeError):  # a module may have given itself any __name__
        raise UsageError(
            f"{getattr(function, '__name__', function)!r} has no Python source to identify it by"
        ) from None
    whole = hashlib.sha256(source.encode())  # of one module alone it is what it has always been
    for other, text in texts.items():
        whole.update(f"\0{other}\0".encode() + text)
    return whole.hexdigest()[:16]


def file_digest(path: str) -> str:
    """16 hexadecimal digits of the hash of a file of weights, and of what is named in it; UsageError without it."""
    file, name = keyed.split(path)
    try:
        with file.open("rb") as stream:
            whole = hashlib.file_digest(stream, "sha256")
    except OSError as error:
        raise UsageError(
            f"--set weights: the file {path} cannot be read ({error.strerror}); give file:PATH of a state dict, "
            ".safetensors or .pt"
        ) from None
    if name:
        whole.update(f"#{name}".encode())
    return whole.hexdigest()[:16]


def unchanged(name: str, digest: str, what: str) -> None:
    """UsageError where the source of a user's function is not the one that a trial was planned with: `digest` of it, or
    of its module alone, as earlier versions knew it. Without a digest nothing is promised."""
    if digest and digest not in (source_digest(name, what), _digest_of_module(name, what)):
        raise UsageError(
            f"{what} {name} was edited since this trial was planned; --resume --retry-failed takes it as it is now"
        )


def _digest_of_module(name: str, what: str) -> str:
    function = user_function(name, what)
    return hashlib.sha256(inspect.getsource(inspect.getmodule(function) or function).encode()).hexdigest()[:16]


def paths(name: str, root: str) -> list[Path]:
    """The files that hold a data set; UsageError when the name is unknown or a file is missing or empty."""
    if name == "digits":
        spec = importlib.util.find_spec("sklearn")
        if spec is None or spec.origin is None:
            raise UsageError("data digits needs scikit-learn, which is not installed")
        return [Path(spec.origin).parent / "datasets/data/digits.csv.gz"]
    if name.startswith("imagefolder:"):
        folder = Path(name.partition(":")[2])
        if not folder.is_dir():
            raise UsageError(f"--data {name}: no folder {folder}; give a folder of class folders")
        files = folders.files(folder)
        if not files:
            raise UsageError(f"--data {name}: the folder {folder} is empty; give a folder of class folders")
        return files
    if name not in DATASETS:
        raise UsageError(f"unknown data {name!r}; choose from {ACCEPTED}")
    if inside := image_folder(name, root):
        if not (Path(inside) / "train").is_dir():
            archive = Path(f"{inside}.tar.gz")
            unpack = f"unpack it: mkdir {inside} && tar xzf {archive} -C {inside}"
            must = unpack if archive.is_file() else "point --data-dir at the folder that it lies in"
            raise UsageError(f"data {name}: no folder {inside} with train/ and test/; {must}")
        return folders.files(Path(inside))
    files = [Path(root) / f for f in DATASETS[name].files]
    for path in files:
        if not path.is_file():
            raise UsageError(
                f"data {name}: no file {path}; point --data-dir at torchvision's root folder, or give --download"
            )
        if path.stat().st_size == 0:
            raise UsageError(f"data {name}: the file {path} is empty; remove it and give --download")
    return files


def digest(name: str, root: str) -> str:
    """16 hexadecimal digits of the hash of a data set's files; of a user's function, its source and what it returns.

    Of a large image folder that was decoded before and has not changed since, it is read in the cache.
    """
    if is_user_function(name):
        return returned(name)[1]
    folder = image_folder(name, root)
    try:
        stamp = decoded.stamp(folder, names(name)) if folder else None
    except OSError:
        stamp = None  # what is wrong is said below
    return (decoded.digest(stamp) if stamp and stamp.kept else "") or digest_of_files(name, root)


def digest_of_files(name: str, root: str) -> str:
    """The digest of a named data set or image folder, from what its files hold now."""
    files, inside = paths(name, root), image_folder(name, root)
    folder = Path(inside) if inside else None
    whole = hashlib.sha256()
    for path in files:
        whole.update(str(path.relative_to(folder) if folder else path.name).encode() + b"\0")
        try:
            with path.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise UsageError(f"data {name}: the file {path} cannot be read ({error.strerror})") from None
    if folder:
        try:
            folders.samples(folder, *layout(name))
        except (ValueError, OSError) as error:
            raise UsageError(f"--data {name}: {error}") from None
    if folder and folders.is_grey(files):  # which were read as three equal channels once
        whole.update(b"one channel")
    return whole.hexdigest()[:16]


def layout(name: str) -> tuple[tuple[str, ...], tuple[int, int] | None]:
    """The class folders that an image folder must have, and how many images, where its name says so."""
    return (names(name), DATASETS[name].images) if names(name) else ((), None)


def returned(name: str) -> tuple[checks.Arrays, str]:
    """The images and labels that a user's function returns, and the digest of its source and of what it returned.

    UsageError naming what is wrong with them.
    """
    function = user_function(name, "--data")
    whole = hashlib.sha256(source_digest(name, "--data").encode())
    try:
        found = function()
        if not isinstance(found, tuple) or len(found) != 4:
            raise ValueError(f"the function must return ({', '.join(checks.NAMES)}), got {type(found).__name__}")
        parts = tuple(_array(part, what) for part, what in zip(found, checks.NAMES, strict=True))
        arrays = checks.returned(parts)
    except ValueError as error:
        raise UsageError(f"data {name} cannot be read: {error}") from None
    except BaseException as error:  # a user's function may raise anything; the message is what helps
        if not of_a_function(error):
            raise
        raise UsageError(f"data {name} cannot be read: {told(error)}") from None
    for part in parts:
        whole.update(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    return arrays, whole.hexdigest()[:16]


def _array(part: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(part)
    except Exception as error:  # of lists of several lengths, of tensors on another device, of anything of the user's
        raise ValueError(f"{what} are no array: {error}") from None
