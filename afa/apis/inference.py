"""Predict from Python, with the names of mmseg.apis: a model from a config, results from photos.

C classes with the background, K without it, h w pixels of the network's input, H W of the photo.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.runner import CheckpointLoader
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from torch import nn

from afa.datasets.voc import VOC12Dataset
from afa.engine.checkpoints.fit import check_checkpoint, dataset_meta
from afa.engine.config.check import check_config
from afa.engine.config.components import find_component
from afa.engine.config.files import stage_datasets
from afa.engine.config.load import import_components, load_config
from afa.files.crf import crf_of_logits, crf_photo
from afa.files.label_png import distinct_palette
from afa.files.photo import read_photo, write_picture
from afa.models.functional import SEG, check_kind, cut_padding, label_map, possible_labels
from afa.models.refiners.dense_crf import crf_of_model
from afa.models.segmentors.base import check_makes
from afa.utils.class_names import beside, clean_name, clean_names, nearest_name
from afa.visualization import draw_segments

# The segmentation, sharpened or not; of a model that does not segment what its CAMs became.
LABEL_FIELDS = ("pred_crf", "pred_sem_seg", "pred_propagated", "pred_par", "pred_cam")
Photo = str | Path | np.ndarray

MAX_INPUT_PIXELS = 2048 * 2048  # a larger network input is reduced: attention grows with its square


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a model for prediction; neither the data set nor ImageNet weights need to be there.

    A model that segments makes ``pred_cam``, ``pred_par`` and ``pred_propagated`` only if
    ``cfg_options={"model.test_cfg.pseudo_labels": True}`` asks for them.

    Args:
        config: config file, or the config.
        checkpoint: checkpoint file; None for drawn weights, to try the way of the data.
        device: such as ``'cpu'`` or ``'cuda:1'``; None for the GPU if there is one.
        cfg_options: dotted key to value, put over the config.

    Returns:
        The model in evaluation mode, with ``cfg`` and ``dataset_meta`` (``classes`` and
        ``palette``, from the checkpoint or else from the config).

    Raises:
        FileNotFoundError: if config or checkpoint is not there.
        ValueError: if the config is wrong, the checkpoint does not fit, or there is no such device.
    """
    target = _device(device)
    cfg = _config(config, dict(cfg_options or {}))
    model = MODELS.build(cfg.model)
    classes, palette = _config_classes(cfg)
    if checkpoint is not None:
        loaded = CheckpointLoader.load_checkpoint(str(checkpoint), "cpu", logger="silent")
        state = check_checkpoint(model, loaded, str(checkpoint), classes)
        model.load_state_dict(state, strict=False)  # batch norm's counters may be missing
        meta = dataset_meta(loaded)
        classes, palette = meta.get("classes") or classes, meta.get("palette") or palette
    model.cfg = cfg
    # An affinity network knows no classes of its own.
    num_classes = getattr(model, "num_classes", len(classes or ()))
    model.dataset_meta = _dataset_meta(num_classes, classes, palette)
    model.to(target)
    model.eval()
    return model


def _device(name: str | torch.device | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"The device must be 'cpu', 'cuda' or 'cuda:1', got '{name}'.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"There is no device '{name}': this machine has {torch.cuda.device_count()} GPUs that "
            "torch can use; take 'cpu' or another number."
        )
    return device


def _config(config: str | Path | Config, options: dict[str, Any]) -> Config:
    """Read and check a config, with what only training or evaluation needs taken out."""
    if isinstance(config, Config):
        cfg = copy.deepcopy(config)  # Config.copy() shares what is in it
        cfg.merge_from_dict(options)
    else:
        cfg = load_config(str(config), options=options)
    import_components(cfg)
    cfg.load_from = None
    check_config(cfg, stages=())  # the files of the data set need not be there
    if not isinstance(cfg.get("model"), Mapping):
        raise ValueError(f"The config {cfg.filename or ''} has no model: give one of a whole run.")
    if cfg.model.get("backbone"):
        cfg.model.backbone.init_cfg = None
    test_cfg = cfg.model.get("test_cfg") or {}
    if "pseudo_labels" in test_cfg and "model.test_cfg.pseudo_labels" not in options:
        # A classifier has no other label map.
        test_cfg["pseudo_labels"] = "decode_head" not in cfg.model
    return cfg


def _config_classes(cfg: Config) -> tuple[Any, Any]:
    """Find classes and palette of the config's data sets, without building one."""
    for _, dataset in stage_datasets(cfg, ("test", "val", "train")):
        component = find_component(dataset.get("type"), DATASETS)
        meta = {**getattr(component, "METAINFO", {}), **(dataset.get("metainfo") or {})}
        if isinstance(meta.get("classes"), (list, tuple)):
            return clean_names(meta["classes"], "metainfo.classes"), meta.get("palette")
    return None, None


def _dataset_meta(num_classes: int, classes: Any, palette: Any) -> dict[str, Any]:
    if not classes or len(classes) != num_classes:
        classes = ["background", *(f"class {i}" for i in range(1, num_classes))]
    if not palette or len(palette) != num_classes:
        voc = VOC12Dataset.METAINFO
        known = tuple(classes) == tuple(voc["classes"])
        palette = voc["palette"] if known else distinct_palette(num_classes)
    return dict(classes=tuple(classes), palette=[[int(v) for v in color] for color in palette])


@torch.no_grad()
def inference_model(
    model: nn.Module,
    img: Photo | Sequence[Photo],
    cam: bool = False,
    classes: Sequence[str] | None = None,
    crf: bool = False,
    kind: str | None = None,
    cls_thr: float | None = None,
) -> SegDataSample | list[SegDataSample]:
    """Predict photos of any size, kind and orientation.

    Photos go through the test pipeline of ``model.cfg``, one by one. Inputs of more than
    ``MAX_INPUT_PIXELS`` after that are reduced for the network.

    Args:
        model: what :func:`init_model` gave.
        img: path, or (H, W, 3) uint8 BGR array; or a list of these.
        cam: also compute CAMs.
        classes: names of the classes to compute CAMs for; None for those that the classifier
            finds (``cls_thr``), or else for the one with the highest probability.
        crf: also sharpen the segmentation by the dense CRF, with the settings ``test_cfg.crf``.
        kind: what the label map is made from: ``'seg'``, or, of the classes that the classifier
            finds, ``'cam'``, ``'par'`` or ``'propagated'``; None for the best that the model makes.
        cls_thr: probability above which a class is found; None for ``test_cfg.cls_thr``.

    Returns:
        A data sample, or a list for a list: ``pred_sem_seg`` (1, H, W) at the size of the upright
        photo and, where the model classifies, ``pred_label`` (K,) probabilities. With ``crf``
        also ``pred_crf`` (1, H, W), with a kind from CAMs ``pred_cam``, ``pred_par`` or
        ``pred_propagated`` (1, H, W), see :func:`label_field`. With ``cam`` also ``cams`` (M, h, w)
        in 0..1 at the size of the network's input, and the metainfo ``cam_classes``, M names.

    Raises:
        ValueError: if a photo cannot be read, a class is unknown, or the model has no CAMs, does
            not make the kind or has no classifier.
    """
    if isinstance(img, (list, tuple)):
        how = (cam, classes, crf, kind, cls_thr)
        return [inference_model(model, one, *how) for one in img]  # type: ignore[misc]
    check_how(kind, crf)
    if kind is not None:
        check_makes(model, kind)
    chosen = class_indices(model, classes) if cam else None
    image = img if isinstance(img, np.ndarray) else read_photo(img)  # type: ignore[arg-type]
    data = photo_inputs(model, image, None if img is image else str(img))
    from_cams = kind is not None and kind != SEG
    changes: dict[str, Any] = dict(pseudo_labels=False) if from_cams else {}
    if crf and _drops_logits(model):
        changes["seg_logits"] = "head"
    with changed_test_cfg(model, cls_thr=cls_thr, **changes):
        result = model.predict(data["inputs"], data["data_samples"])[0]
        if from_cams:
            scores = result.pred_label[None]
            model.predict_pseudo_labels(data["inputs"], scores, [result], [kind])
            result.set_metainfo(dict(label_map=f"pred_{kind}"))
        if cam:
            _add_cams(model, data["inputs"], result, chosen)
    if crf:
        add_crf(model, image, result)
    return result


def photo_inputs(
    model: nn.Module, image: np.ndarray, path: str | None = None, max_pixels: int | None = None
) -> dict[str, Any]:
    """Send a photo, (H, W, 3) uint8 BGR, through test pipeline and preprocessor.

    Args:
        model: what :func:`init_model` gave.
        image: the photo.
        path: its file, which has been read.
        max_pixels: a larger input is reduced to this; None for ``MAX_INPUT_PIXELS``.

    Returns:
        ``inputs`` (1, 3, h, w) and ``data_samples``, one; there are no masks.
    """
    packed = _pack(model, image, path, max_pixels or MAX_INPUT_PIXELS)
    return model.data_preprocessor(pseudo_collate([packed]), False)


def _pack(model: nn.Module, image: np.ndarray, path: str | None, max_pixels: int) -> dict[str, Any]:
    """Send a photo through the test pipeline; reduce what is larger than ``max_pixels``."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"A photo must be (H, W, 3) uint8 BGR, got {image.shape} {image.dtype}: convert it."
        )
    size = image.shape[:2]
    pipeline = Compose(photo_pipeline(model.cfg))
    packed = pipeline(dict(img=image, img_path=path, img_shape=size, ori_shape=size))
    inputs = packed["inputs"]
    share = max_pixels / inputs.shape[-2:].numel()
    if share < 1:
        smaller = [max(1, int(side * share**0.5)) for side in inputs.shape[-2:]]
        reduced = nn.functional.interpolate(inputs[None].float(), smaller, mode="area")[0]
        packed["inputs"] = reduced.round().to(inputs.dtype)
    return packed


def photo_pipeline(cfg: Config) -> list[Any]:
    """Give the steps of the test pipeline after the loading of photo and masks.

    Raises:
        ValueError: if the config has no test pipeline.
    """
    for _, dataset in stage_datasets(cfg, ("test", "val")):
        if steps := dataset.get("pipeline"):
            return [step for step in steps if not str(step["type"]).startswith("Load")]
    raise ValueError("The config has no test_dataloader.dataset.pipeline: prediction needs one.")


def check_how(kind: str | None, crf: bool) -> None:
    """Refuse a kind of label map that there is not, or that is not sharpened by the CRF.

    Raises:
        ValueError: if it is so.
    """
    if kind is not None:
        check_kind(kind)
    if crf and kind not in (None, SEG):
        raise ValueError(
            f"--crf sharpens the segmentation, not --kind {kind}: leave one of them out ('par' and "
            "'propagated' follow the colours of the photo anyway)."
        )


def label_field(result: SegDataSample) -> str:
    """Name the label map of a result: the one asked for, or the first of :data:`LABEL_FIELDS`.

    Raises:
        ValueError: if it has none.
    """
    asked = result.metainfo.get("label_map")
    if found := [name for name in (asked, *LABEL_FIELDS) if name and name in result]:
        return found[0]
    raise ValueError(
        f"The model gives no label map ({', '.join(LABEL_FIELDS)}): prediction needs one that "
        "segments, or that makes CAMs."
    )


def class_indices(model: nn.Module, classes: Sequence[str] | None) -> torch.Tensor | None:
    """Find the foreground classes of some names.

    Args:
        model: what :func:`init_model` gave.
        classes: names; None for none given.

    Returns:
        (M,) int64 in 0..K-1 in the order of the classes, or None.

    Raises:
        ValueError: if the model has no CAMs, or a class is unknown.
    """
    if not hasattr(model, "map_maker"):
        raise ValueError(f"CAMs come from a model such as AFA; {type(model).__name__} has none.")
    if classes is None:
        return None
    known = model.dataset_meta["classes"][1:]
    classes = [clean_name(name) for name in classes]
    for name in classes:
        if name not in known:
            near = nearest_name(name, known)
            other = f"the classes are {', '.join(known)}."
            hint = f"did you mean {beside(near, name)}?" if near else other
            raise ValueError(f"There is no class {beside(name, near)}; {hint}")
    return torch.tensor(sorted({known.index(name) for name in classes}), dtype=torch.int64)


def _add_cams(
    model: nn.Module, inputs: torch.Tensor, result: SegDataSample, chosen: torch.Tensor | None
) -> None:
    """Compute the CAMs of the chosen classes, or else of the predicted ones, or of the best."""
    if chosen is None:
        chosen = (result.pred_label > model.test_cfg.cls_thr).nonzero()[:, 0]
        chosen = chosen if len(chosen) else result.pred_label.argmax(dim=0, keepdim=True)
    cams = model.map_maker(inputs, chosen[None].to(inputs.device), ("cam",)).cams
    padding = result.metainfo.get("img_padding_size")
    names = model.dataset_meta["classes"]
    result.set_metainfo(dict(cam_classes=[names[int(index) + 1] for index in chosen]))
    result.set_data(dict(cams=cut_padding(cams, inputs.shape[2:], padding)[0]))


@contextmanager
def changed_test_cfg(model: nn.Module, **changes: Any) -> Iterator[None]:
    """Let a model have other values in its ``test_cfg``; None for no change.

    Raises:
        ValueError: if the model has no such entry, or the value is out of range.
    """
    given: Any = getattr(model, "test_cfg", None)
    changes = {name: value for name, value in changes.items() if value is not None}
    if "cls_thr" in changes and not hasattr(given, "cls_thr"):
        raise ValueError(
            f"--cls-thr is for a model with a classifier; {type(model).__name__} has none: leave "
            "it out."
        )
    if changes:
        model.test_cfg = dataclasses.replace(given, **changes)
    try:
        yield
    finally:
        if changes:
            model.test_cfg = given


def add_crf(model: nn.Module, image: np.ndarray, result: SegDataSample) -> None:
    """Sharpen a segmentation along the colours of its photo, as ``pred_crf`` (1, H, W).

    :class:`CRFTestLoop` does the same on a whole set. Only the labels that the photo can have
    enter. A photo above ``test_cfg.crf.max_side`` is reduced to it, and the probabilities are
    resized.

    Args:
        model: the model, whose ``test_cfg.crf`` may hold the arguments of :class:`DenseCRF`,
            ``label_thr`` and ``max_side``.
        image: (H, W, 3) uint8 BGR.
        result: with ``seg_logits`` (C, h, w); changed in place.

    Raises:
        ValueError: if the model does not segment, a setting is wrong, or pydensecrf is missing.
    """
    if "seg_logits" not in result:
        raise ValueError(
            f"The CRF sharpens a segmentation; {type(model).__name__} makes none: do without it."
        )
    settings, label_thr, max_side = crf_of_model(model)
    logits = result.seg_logits.data.float()
    labels = possible_labels(logits, label_thr)
    photo = crf_photo(image, max_side)
    some = logits[labels].cpu().numpy()
    probs = torch.from_numpy(crf_of_logits(photo, some, True, settings))
    label = labels.cpu()[label_map(probs, image.shape[:2])].to(logits.device)
    result.set_data(dict(pred_crf=PixelData(data=label)))
    if _drops_logits(model):
        del result.seg_logits


def _drops_logits(model: nn.Module) -> bool:
    """Tell whether results have no ``seg_logits``, since the model was not asked to keep them."""
    return getattr(type(model), "keeps_logits", False) and model.test_cfg.seg_logits is None


def show_result_pyplot(
    model: nn.Module,
    img: str | Path | np.ndarray,
    result: SegDataSample,
    opacity: float = 0.5,
    *,
    with_labels: bool = True,
    show: bool = True,
    out_file: str | Path | None = None,
) -> np.ndarray:
    """Draw a result over its photo, see :func:`draw_segments`.

    Args:
        model: what :func:`init_model` gave.
        img: the photo: path, or (H, W, 3) uint8 BGR array.
        result: what :func:`inference_model` gave.
        opacity: weight of the colours, 0..1.
        with_labels: write the names of the classes.
        show: show the picture in a window.
        out_file: write it to this file (.png, .jpg).

    Returns:
        (H', W', 3) RGB uint8.
    """
    image = img if isinstance(img, np.ndarray) else read_photo(img)
    label = result.get(label_field(result)).data[0].cpu().numpy()
    classes, palette = model.dataset_meta["classes"], model.dataset_meta["palette"]
    picture = draw_segments(image[..., ::-1], label, classes, palette, opacity, with_labels)
    if out_file is not None:
        write_picture(out_file, picture)
    if show:
        import matplotlib.pyplot as plt

        plt.imshow(picture)
        plt.axis("off")
        plt.show()
    return picture
