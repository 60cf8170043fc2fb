"""Write the weights of a checkpoint for other programs: safetensors, and ONNX of the prediction."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from safetensors.torch import save
from torch import Tensor, nn

from afa.engine.checkpoints.carried_config import UnsafeConfigError, checked_config, plain_config
from afa.files.whole_file import write_bytes
from afa.utils.checkpoint import safetensors_header
from afa.utils.environment import collect_versions

# Largest difference of a logit between torch and the ONNX file, in units of the largest logit
# (of 1, if that is larger).
TOLERANCE = 1e-4
# Height and width that the file is checked with: others than that of the trace, also odd ones.
CHECK_SIZES = ((64, 64), (47, 81), (96, 48))
_TRACE_SIZE = (64, 96)
_OPSET = 17


class SegmentationPath(nn.Module):
    """From photo to segmentation logits: normalisation, network, resizing.

    Args:
        model: A segmentor that segments, in evaluation mode.

    Raises:
        ValueError: If the model does not segment.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not hasattr(model, "decode_head") or not hasattr(model, "encode_decode"):
            raise ValueError(
                f"{type(model).__name__} has no segmentation to export: ONNX is made of models "
                "with a decode head; its weights can be written as safetensors."
            )
        self.model = model
        self.register_buffer("mean", model.data_preprocessor.mean.clone())
        self.register_buffer("std", model.data_preprocessor.std.clone())

    def forward(self, images: Tensor) -> Tensor:
        """Segment.

        Args:
            images: (B, 3, H, W) float32 RGB, 0 to 255, H and W at least 32.

        Returns:
            Logits (B, C, H, W), the background first.
        """
        return self.model.encode_decode((images - self.mean) / self.std, [{}])


def write_safetensors(model: nn.Module, path: str | Path, config: Config | None = None) -> None:
    """Write the weights of a model as a safetensors file, with classes and config in its header.

    Test and prediction read it as they read a checkpoint, from a path or from the Hugging Face hub.

    Args:
        model: What :func:`afa.apis.init_model` gave.
        path: The file, ``.safetensors``.
        config: The config to carry, reduced to what test and prediction read; None for that of the
            model, which `init_model` has made one of prediction.

    Raises:
        OSError: If the file cannot be written.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    meta = dict(_meta(model), plain_config=_carried(config or model.cfg))
    _write(path, save(state, metadata=safetensors_header(meta)))


def write_onnx(model: nn.Module, path: str | Path) -> float:
    """Write the prediction of a model as an ONNX file for images of any size, and check it.

    Args:
        model: What :func:`afa.apis.init_model` gave.
        path: The file, ``.onnx``.

    Returns:
        The largest difference to torch over :data:`CHECK_SIZES`, see :func:`onnx_difference`.

    Raises:
        ValueError: If a package is missing, the model does not segment, ONNX lacks an operation, or
            the file computes something else; nothing is written then.
        OSError: If the file cannot be written.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ValueError(f"{error.name} is not installed: pip install -e .[export].") from error
    network = SegmentationPath(model.cpu()).eval()
    try:
        content = onnx.load_from_string(_trace(network))
    except torch.onnx.OnnxExporterError as error:
        backbone = type(model.backbone).__name__
        raise ValueError(
            f"ONNX cannot hold this network, whose backbone is {backbone}, for images of any size: "
            f"{str(error).splitlines()[0]}. Write .safetensors instead."
        ) from error
    for key, value in safetensors_header(_meta(model)).items():
        content.metadata_props.add(key=key, value=value)
    data = content.SerializeToString()
    difference = onnx_difference(network, data, CHECK_SIZES)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"The ONNX file gives other logits than torch (difference {difference:.2g}, "
            f"allowed {TOLERANCE:g}): it was not written. Try another version of torch, or write "
            ".safetensors: vision transformers of timm are not for images of any size there."
        )
    _write(path, data)
    return difference


@torch.no_grad()
def onnx_difference(network: nn.Module, data: bytes, sizes: Sequence[tuple[int, int]]) -> float:
    """Compare an ONNX file, run by onnxruntime on the CPU, with its network.

    Args:
        network: What it was made from.
        data: The content of the file.
        sizes: Height and width of the drawn images to compare on, one and two at a time.

    Returns:
        The largest difference of a logit, divided by the largest logit or by 1, whichever is
        larger; infinite if a shape differs.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    generator, largest = torch.Generator().manual_seed(0), 0.0
    for index, size in enumerate(sizes):
        images = 255 * torch.rand(1 + index % 2, 3, *size, generator=generator)
        wanted = network(images)
        got = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        if got.shape != wanted.shape:
            return float("inf")
        unit = max(1.0, float(wanted.abs().max()))
        largest = max(largest, float((got - wanted).abs().max()) / unit)
    return largest


def _trace(network: nn.Module) -> bytes:
    """Make the ONNX file by the exporter that needs no further package."""
    file = io.BytesIO()
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that it is traced; the check says whether it matters
        torch.onnx.export(
            network,
            (255 * torch.rand(1, 3, *_TRACE_SIZE),),
            file,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": axes, "logits": axes},
            opset_version=_OPSET,
            dynamo=False,
        )
    return file.getvalue()


def _meta(model: nn.Module) -> dict[str, Any]:
    names = {key: list(model.dataset_meta[key]) for key in ("classes", "palette")}
    return dict(dataset_meta=names, versions=collect_versions())


def _carried(config: Config) -> dict[str, Any] | None:
    """Give what a reader will take of a config; None, and a warning, where he would refuse it."""
    plain = plain_config(config)
    try:
        return plain and checked_config(plain, config.filename or "checkpoint")
    except UnsafeConfigError as error:
        print_log(f"The file will carry no config. {error}", "current", logging.WARNING)
        return None


def _write(path: str | Path, data: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)
