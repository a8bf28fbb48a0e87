"""What a file of weights is by its first bytes, whatever its name: many are renamed, packed, cut off, or a saved error
page. Nothing of a file is run."""

import re
import zipfile
from pathlib import Path

from study.spec.errors import brief

HEAD = 512  # bytes that are looked at
MAGIC = {  # the first bytes of a file, and what it is
    b"version https://git-lfs": "is a Git LFS pointer, not the file that it stands for: run git lfs pull",
    b"\x1f\x8b": "is compressed with gzip: unpack it first",
    b"BZh": "is compressed with bzip2: unpack it first",
    b"\xfd7zXZ\0": "is compressed with xz: unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: unpack it first",
    b"\x89HDF\r\n": "is HDF5, as Keras writes it",
    b"\x93NUMPY": "is one NumPy array",
    b"GGUF": "is GGUF, whose weights are quantized",
}
PAGE = ("<!doctype", "<html", "<head", "<?xml")
ONNX = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]")  # the version, then a model's next field
TORCH = (b"PK\x03\x04", b"\x80")  # a zip archive, or a pickle as torch.save wrote it before 1.6
SAFETENSORS = 1 << 32  # more than the header of such a file has bytes


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins as safetensors: the length of the header in 8 bytes, then its JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < SAFETENSORS


def foreign(head: bytes) -> str:
    """What a file is that begins with `head` (HEAD bytes, fewer where it has fewer) and is neither safetensors nor of
    torch.save; "" where it may be one of these."""
    if not head:
        return "is empty (0 bytes)"
    if is_safetensors(head) or head.startswith(TORCH):
        return ""
    if known := next((words for magic, words in MAGIC.items() if head.startswith(magic)), ""):
        return known
    if ONNX.match(head):
        return "is ONNX, a program without a state dict: give the checkpoint that it was made from"
    if head[257:262] == b"ustar":
        return "is a tar archive: unpack it first"
    text = head.decode(errors="ignore").lstrip("\ufeff \t\r\n")
    if text.lower().startswith(PAGE):
        return "is a web page (HTML), as a download that failed leaves it: fetch the file again"
    if text and all(c.isprintable() or c.isspace() for c in text):
        return f"is text, which begins with {text[:20]!r}"
    return f"is neither safetensors nor of torch.save (its first bytes are {head[:4].hex(' ')})"


def why(error: Exception, path: Path) -> str:
    """What is wrong with a file, of torch.save by its first bytes or safetensors, that raised `error` as it was
    decoded. What torch says of weights_only, which advises to run what the file holds, is never passed on."""
    text = str(error)
    if found := re.search(r"[Uu]nsupported (?:global|class|GLOBAL):? (?:GLOBAL )?([\w.]+)", text):
        return (
            f"holds pickled Python objects ({found[1]}), which are never run; load it where its code is trusted, and "
            "save model.state_dict() alone"
        )
    cause = "" if "weights_only" in text else f" ({brief(text)})" if text else f" ({type(error).__name__})"
    return _zipped(path) or f"is cut off or damaged{cause}"


def _zipped(path: Path) -> str:
    """What a zip archive is where it is not of torch.save; "" where it is, or is no zip archive."""
    with path.open("rb") as stream:
        if stream.read(2) != b"PK":
            return ""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # of a damaged archive zipfile raises many kinds
        return "is cut off or damaged (the end of its zip archive is missing)"
    if any(name.endswith("constants.pkl") for name in names):
        return (
            "is TorchScript, a program, which is never run; load it where it is trusted (torch.jit.load), and save its "
            "state_dict() alone"
        )
    if any(name.endswith(".npy") for name in names):
        return "is an archive of NumPy arrays (.npz)"
    if not any(name.endswith("data.pkl") for name in names):
        return f"is a zip archive that torch.save did not write (it has {', '.join(names[:3]) or 'nothing in it'})"
    return ""
