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
TIMM = {"vit_b8": "vit_base_patch8_224"}
FILES = ("model.safetensors", "pytorch_model.bin")


def path_of(model: str, weights: str) -> Path:
    """The file of a model's published weights by their library's name, fetched once where it is not there.

    UsageError naming the places looked at and the file to put there where it cannot be had.
    """
    return _torchvision(model, weights) if model in TORCHVISION else _timm(model, weights)


def _torchvision(model: str, weights: str) -> Path:
    url = torchvision.models.get_model_weights(TORCHVISION[model])[weights].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        _say(url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            start = path.stem.rpartition("-")[2]  # of its sha256, which stands in its name
            torch.hub.download_url_to_file(url, str(path), hash_prefix=start, progress=False)
        except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; a wrong hash is a RuntimeError
            raise _missing(model, weights, [path], f"{url} as {path}", error) from None
    return path


def _timm(model: str, weights: str) -> Path:
    repository = f"timm/{TIMM[model]}.{weights}"
    cache = Path(constants.HF_HUB_CACHE)
    for name in FILES:
        if isinstance(found := huggingface_hub.try_to_load_from_cache(repository, name, cache_dir=cache), str):
            return Path(found)
    _say(f"https://huggingface.co/{repository}")
    try:
        return Path(huggingface_hub.hf_hub_download(repository, FILES[0], cache_dir=cache))
    except Exception as error:  # of the network, the hub and its client: many kinds, one meaning
        folder = cache / f"models--{repository.replace('/', '--')}"
        file = f"https://huggingface.co/{repository}/resolve/main/{FILES[0]} anywhere, and give weights=file:PATH"
        raise _missing(model, weights, [folder], file, error) from None


def _say(source: str) -> None:
    print(f"Fetching weights from {source}", file=sys.stderr)


def _missing(model: str, weights: str, places: list[Path], todo: str, error: Exception) -> UsageError:
    cause = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UsageError(
        f"weights {weights} of model {model} are not here and cannot be fetched ({cause}); looked at "
        f"{', '.join(map(str, places))}. Where there is a network, get {todo}"
    )
