"""Where the libraries keep published weights, and how they are fetched: torch's hub folder, Hugging Face's cache."""

import sys
from pathlib import Path

import huggingface_hub
import torch
import torchvision
from huggingface_hub import constants

from study.nets.vision.resnet import KINDS
from study.spec.errors import UsageError

TORCHVISION = {**KINDS, "vgg16": "vgg16", "swin_t": "swin_t"}
TIMM = {"vit_b8": "vit_base_patch8_224", "vit_tiny": "vit_tiny_patch16_224"}
FILES = ("model.safetensors", "pytorch_model.bin")  # as timm names them


def path_of(model: str, weights: str) -> Path:
    """The file of a model's published weights by their library's name, fetched once where it is not there.

    Torchvision's lie in torch's hub folder (TORCH_HOME), timm's in Hugging Face's cache (HF_HOME) or as a file of their
    name in the former, where both are fetched to. UsageError naming the places looked at and the file to put there
    where they cannot be had.
    """
    if model in TORCHVISION:
        url = torchvision.models.get_model_weights(TORCHVISION[model])[weights].url
        name = url.rpartition("/")[2]
        start = Path(name).stem.rpartition("-")[2]  # of the file's sha256
        return _fetched(f"{weights} of model {model}", url, name, [], start)
    name = f"{TIMM[model]}.{weights}"
    repository, cache = f"timm/{name}", Path(constants.HF_HUB_CACHE)
    for file in FILES:
        if isinstance(found := huggingface_hub.try_to_load_from_cache(repository, file, cache_dir=cache), str):
            return Path(found)
    url = huggingface_hub.hf_hub_url(repository, FILES[0])
    looked_at = [cache / f"models--timm--{name}"]
    return _fetched(f"{weights} of model {model}", url, f"{name}.safetensors", looked_at)


def _fetched(what: str, url: str, name: str, looked_at: list[Path], start: str | None = None) -> Path:
    """The file of a name in torch's hub folder, fetched from the url where it is not there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    print(f"Fetching weights from {url}", file=sys.stderr)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=start, progress=False)
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; a wrong hash is a RuntimeError
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        places = ", ".join(map(str, [*looked_at, path]))
        raise UsageError(
            f"weights {what} are not here and cannot be fetched ({cause}); looked at {places}. Put {url} there as "
            f"{path}, or anywhere and give weights=file:PATH"
        ) from None
    return path
