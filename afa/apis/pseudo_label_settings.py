"""What decides the content of pseudo labels: labels of other settings must not be mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afa.apis.label_folder import TOOL
from afa.apis.label_maker import LabelMaker
from afa.apis.pseudo_label_options import PseudoLabelOptions
from afa.apis.split_data import SplitData

_VERSION = 1  # raise when the same settings give other label maps


def label_settings(
    options: PseudoLabelOptions,
    maker: LabelMaker,
    data: SplitData,
    checkpoint: Path,
    crf: Mapping[str, Any] | None,
    max_side: int,
) -> dict[str, Any]:
    """Collect what decides the content of a label map, but not which images there are.

    Args:
        options: What to make.
        maker: Makes the maps; its model has ``cfg``.
        data: The images.
        checkpoint: The checkpoint file.
        crf: Constants of the CRF; None for none.
        max_side: Longest side of the photo that the CRF is computed at.

    Returns:
        What JSON can hold.
    """
    cfg = maker.model.cfg
    entering = dict(label_thr=maker.label_thr) if maker.source == "all" else {}
    classes = dict(
        image=f"true image labels ({_label_source(data)})",
        predicted=f"predicted, probability above {getattr(maker.model.test_cfg, 'cls_thr', 0.5):g}",
        all="all",
    )[maker.source]
    settings = {
        "tool": TOOL,
        "version": _VERSION,
        "kind": options.kind,
        "background_scores": list(maker.scores),
        "classes": classes,
        "crf": None if crf is None else dict(crf, max_side=max_side, **entering),
        "checkpoint": f"{checkpoint.name}, sha256 {file_digest(checkpoint)}",
        "model": config_digest(cfg.model),
        "test_pipeline": config_digest(data.pipeline),
    }
    return json.loads(json.dumps(settings))


def _label_source(data: SplitData) -> str:
    """Name the source of the image labels, without the folders above it."""
    path = getattr(data.dataset, "image_labels", None)
    return Path(path).name if path else type(data.dataset).__name__


def file_digest(path: Path) -> str:
    """Digest the content of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]


def config_digest(node: Any) -> str:
    """Digest a part of a config; initial weights do not count."""
    text = json.dumps(_without_init(node), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _without_init(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_init(value) for key, value in node.items() if key != "init_cfg"}
    return [_without_init(item) for item in node] if isinstance(node, (list, tuple)) else node
