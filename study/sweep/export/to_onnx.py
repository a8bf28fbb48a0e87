"""The one room of onnx and onnxruntime: a net as an ONNX program, and its predictions by another library."""

import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import Tensor

from study.nets.net import Net
from study.spec.errors import UsageError, brief, of_a_function, told
from study.tracking.models import plain

NEEDED = ("onnx", "onnxruntime", "onnxscript")


def check() -> None:
    """UsageError where the libraries are not installed."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"--to onnx needs {', '.join(missing)}, which the extra `export` brings: "
            'pip install -c constraints.txt -e ".[export]"'
        )


def program(net: Net, shape: tuple[int, int, int]) -> bytes:
    """The net in evaluation mode as an ONNX file: `images` (n, *shape) in [0, 1], n free, to `logits` (n, classes).

    Weights are float32, quantized and masked ones as the plain numbers that the net multiplies; rounding of inputs
    stands there in basic operators. UsageError for a net that torch cannot export.
    """
    example = torch.zeros(2, *shape)  # two of them: torch.export takes a batch of one for a constant
    try:
        with _quiet():
            made = torch.onnx.export(
                plain(net),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("n")},),
                input_names=["images"],
                output_names=["logits"],
                verbose=False,
            )
        assert made is not None
        return made.model_proto.SerializeToString()
    except BaseException as error:  # torch.export raises many kinds, a user's net whatever it likes
        if not of_a_function(error):
            raise
        raise UsageError(
            f"the net cannot be exported to ONNX: {brief(told(_first(error)))}; --to safetensors works"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what torch says of a program is shown: of one that it cannot export that is all its source."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _first(error: BaseException) -> BaseException:
    """What an error was raised from, at the beginning."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def logits(content: bytes, images: Tensor) -> Tensor:
    """What onnxruntime computes for images (N, C, H, W), on the CPU at torch's number of threads: (N, classes)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
