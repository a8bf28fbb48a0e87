"""Files that are no checkpoints, and tensors that are no weights: what each is, is said; none is taken for another."""

import gzip
import io
import logging
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from study.exported import load_exported
from study.nets import checkpoints, weights
from study.nets.net import Net
from study.spec.errors import UsageError

BARE = {"0.weight": torch.ones(3, 4), "0.bias": torch.zeros(3)}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def saved(what):
    stream = io.BytesIO()
    torch.save(what, stream)
    return stream.getvalue()


def program():
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(4, 3), torch.ones(1, 4)), stream)
    return stream.getvalue()


def arrays():
    stream = io.BytesIO()
    np.savez(stream, a=np.ones(3))
    return stream.getvalue()


def archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as out:
        out.writestr("net/weights.pt", saved(BARE))
    return stream.getvalue()


FOREIGN = {
    "nothing": (lambda: b"", r"it is empty \(0 bytes\)"),
    "a page": (lambda: b"\n<!DOCTYPE html><html>404</html>", r"it is a web page \(HTML\)"),
    "a pointer": (lambda: POINTER, "it is a Git LFS pointer.*run git lfs pull"),
    "gzip": (lambda: gzip.compress(saved(BARE)), "it is compressed with gzip"),
    "ONNX": (lambda: b"\x08\x07\x12\x07pytorch" + bytes(range(200, 255)), "it is ONNX"),
    "TorchScript": (program, "it is TorchScript, a program, which is never run"),
    "arrays": (arrays, "it is an archive of NumPy arrays"),
    "an archive": (archive, r"it is a zip archive that torch.save did not write \(it has net/weights.pt\)"),
    "text": (lambda: b"hello", "it is text, which begins with 'hello'"),
    "cut off": (lambda: saved(BARE)[:700], "it is cut off or damaged"),
    "noise": (lambda: bytes(range(0xF0, 0x100)) * 20, r"it is neither .*its first bytes are f0 f1 f2 f3"),
    "a whole net": (lambda: saved(nn.Linear(4, 3)), r"holds pickled Python objects \(torch.nn.modules.linear.Linear\)"),
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_a_file_is_that_is_no_checkpoint(kind, suffix, tmp_path):
    path, (content, words) = tmp_path / f"a{suffix}", FOREIGN[kind]
    path.write_bytes(content())
    with pytest.raises(UsageError, match=words) as raised:
        checkpoints.read(path)
    for text in (str(raised.value), refused(path)):
        assert "weights_only" not in text
        assert "arbitrary code" not in text
        assert "\n" not in text


def refused(path):
    with pytest.raises(UsageError) as raised:
        load_exported(path)
    return str(raised.value)


def test_a_file_is_read_as_what_it_is_whatever_its_name(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(saved(BARE))
    (tmp_path / "a.pt").write_bytes(safetensors.torch.save(BARE))
    for name in ("a.safetensors", "a.pt"):
        assert torch.equal(checkpoints.read(tmp_path / name)[0]["0.weight"], BARE["0.weight"])


ODD = {
    "complex": (lambda W: W.to(torch.complex64), "0.weight is of torch.complex64"),
    "eight bits": (lambda W: W.to(torch.float8_e4m3fn), "0.weight is of torch.float8_e4m3fn"),
    "sparse": (lambda W: W.to_sparse(), r"0.weight is not dense \(torch.sparse_coo\)"),
    "nested": (lambda W: torch.nested.nested_tensor([W, W[:2]]), "0.weight is not dense"),
    "meta": (lambda W: W.to("meta"), "0.weight is without its numbers"),
    "quantized": (
        lambda W: torch.quantize_per_tensor(W, 0.1, 0, torch.qint8),
        r"0.weight is quantized \(torch.qint8\)",
    ),
    "whole": (lambda W: W.to(torch.int8), "whole numbers where the net has others: 0.weight is of torch.int8"),
    "too large": (lambda W: W.double() * 1e300, r"NaN or infinite \(0.weight\)"),
}


def begun(path):
    net = Net(nn.Sequential(nn.Linear(4, 3)), (0.0,), (1.0,), ())
    weights.place(net, checkpoints.read(path, own=net.body.state_dict())[0], str(path))
    return net


@pytest.mark.filterwarnings("ignore:.*(quantized|TypedStorage|nested)")
@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_are_no_weights_are_named(kind, tmp_path, recwarn):
    path, (change, words) = tmp_path / "a.pt", ODD[kind]
    torch.save(BARE | {"0.weight": change(BARE["0.weight"])}, path)
    recwarn.clear()
    with pytest.raises(UsageError, match=words) as raised:
        begun(path)
    assert str(path) in str(raised.value)
    assert len(recwarn) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_cast_and_said(dtype, tmp_path, caplog):
    path = tmp_path / "a.pt"
    torch.save(BARE | {"0.weight": BARE["0.weight"].to(dtype)}, path)
    with caplog.at_level(logging.WARNING):
        net = begun(path)
    assert torch.equal(net.body[0].weight, BARE["0.weight"])
    assert f"{path} has tensors of {dtype}; they are cast to float32" in caplog.text


def test_whole_numbers_go_where_the_net_has_them(tmp_path, caplog):
    body = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    body[1].num_batches_tracked.fill_(7)
    torch.save(body.state_dict(), tmp_path / "a.pt")
    net = Net(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), (0.0,), (1.0,), ())
    weights.place(net, checkpoints.read(tmp_path / "a.pt")[0], "a.pt")
    assert int(net.body[1].num_batches_tracked) == 7
    assert caplog.text == ""
