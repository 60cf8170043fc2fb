"""Show during training what labels the model makes and where its attention goes.

H W pixels of the network's input, h w tokens at the scale of the propagation, N = h * w.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from afa.engine.dist import unwrapped
from afa.utils.evaluating import evaluating, keep_random_state
from afa.visualization import (
    grid,
    legend_entries,
    mark_points,
    overlay_cam,
    overlay_label,
    query_points,
)
from afa.visualization.sheet import MAX_CAMS


class _Look(NamedTuple):
    """What the model makes of one image, as numpy arrays."""

    name: str
    image: np.ndarray  # (H, W, 3) RGB uint8
    cams: dict[int, np.ndarray]  # label value -> (H, W) 0..1, the strongest first
    labels: dict[str, np.ndarray]  # title -> (H, W)
    truth: np.ndarray | None  # (H, W)
    query_maps: dict[str, np.ndarray]  # title -> (N, N), a row for each token
    token_grid: tuple[int, int]
    untrained: Collection[str]  # titles


@HOOKS.register_module()
class WSSSVisualizationHook(Hook):
    """Add two grids of pictures to every visualization backend, every ``interval`` iterations.

    ``wsss_labels`` shows photo, one CAM for each class (the strongest ones, with their names),
    pseudo label, propagated label, prediction and, where there are masks, the truth;
    ``wsss_queries`` shows attention and affinity of some query points. What no loss has reached
    yet is marked as such.
    The images are the same ones throughout. Only the first process draws. Weights, buffers,
    modes and random states are left as they were: the losses are those of a run without pictures.

    Args:
        interval: iterations between two pictures.
        num_images: number of images, spread evenly over the set.
        num_queries: number of query points in each image.
        draw_val: draw validation images; training images (as augmented once) otherwise, and when
            the run has no validation.

    Raises:
        ValueError: if a number is not positive.
    """

    priority = "LOW"

    def __init__(
        self, interval: int, num_images: int = 4, num_queries: int = 3, draw_val: bool = True
    ) -> None:
        self.interval = interval
        self.num_images = num_images
        self.num_queries = num_queries
        for name in ("interval", "num_images", "num_queries"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"WSSSVisualizationHook needs {name} >= 1, got {getattr(self, name)}"
                )
        self.draw_val = draw_val
        self._samples: list[dict] = []
        self._metainfo: dict[str, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Choose the images; drawn from a random state of their own, so that they stay the same.

        Raises:
            ValueError: if the model cannot make labels.
        """
        model = unwrapped(runner.model)
        if not hasattr(model, "training_view"):
            raise ValueError(
                "WSSSVisualizationHook draws what training_view() of a model such as AFA gives, "
                f"but {type(model).__name__} has none: take the hook out of custom_hooks"
            )
        if runner.rank != 0:
            return
        validates = self.draw_val and runner.val_loop is not None
        dataset = (runner.val_dataloader if validates else runner.train_dataloader).dataset
        self._metainfo = dict(dataset.metainfo)
        chosen = np.linspace(0, len(dataset) - 1, min(self.num_images, len(dataset)))
        with keep_random_state():
            np.random.seed(0)
            torch.manual_seed(0)
            self._samples = [dataset[int(index)] for index in chosen]

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Draw the pictures if it is time."""
        if runner.rank != 0 or not self.every_n_train_iters(runner, self.interval):
            return
        model = unwrapped(runner.model)
        with keep_random_state(), evaluating(model):
            looks = [_look(model, sample) for sample in self._samples]
        step = runner.iter + 1
        runner.visualizer.add_image("wsss_labels", self._draw_labels(looks), step)
        runner.visualizer.add_image("wsss_queries", self._draw_queries(looks), step)

    def _draw_labels(self, looks: list[_Look]) -> np.ndarray:
        """Draw one row an image: photo, CAM and label maps."""
        classes, palette = self._metainfo["classes"], self._metainfo["palette"]
        rows, shown, captions = [], [], []
        num_cams = max(1, *(min(len(look.cams), MAX_CAMS) for look in looks))
        has_truth = all(look.truth is not None for look in looks)
        for look in looks:
            truth = [look.truth] if has_truth and look.truth is not None else []
            maps = [*look.labels.values(), *truth]
            shown += maps
            overlays = [overlay_label(look.image, label, palette) for label in maps]
            cams = [overlay_cam(look.image, cam) for cam in look.cams.values()][:num_cams]
            blank = [np.full_like(look.image, 255)] * (num_cams - len(cams))
            rows.append([look.image, *cams, *blank, *overlays])
            names = [classes[value] for value in look.cams][:num_cams] or ["no class"]
            captions.append(["", *names, *[""] * (len(rows[-1]) - len(names) - 1)])
        titles = [_title(looks[0], title) for title in looks[0].labels]
        titles = ["photo", *["CAM"] * num_cams, *titles, *(["truth"] if has_truth else [])]
        legend = legend_entries(shown, classes, palette)
        names = [_row_name(look, num_cams, classes) for look in looks]
        return grid(rows, titles, names, legend, captions=captions)

    def _draw_queries(self, looks: list[_Look]) -> np.ndarray:
        """Draw one row an image: photo with the query points, attention and affinity of each."""
        rows = []
        for look in looks:
            size = look.image.shape[:2]
            points = query_points(size, self.num_queries, look.truth)
            row = [mark_points(look.image, points)]
            for number, (y, x) in enumerate(points, start=1):
                h, w = look.token_grid
                token = (y * h // size[0]) * w + x * w // size[1]
                for maps in look.query_maps.values():
                    drawn = overlay_cam(look.image, maps[token].reshape(h, w))
                    row.append(mark_points(drawn, [(y, x)], [number]))
            rows.append(row)
        numbers = range(1, self.num_queries + 1)
        titles = [_title(looks[0], w, f" {n}") for n in numbers for w in looks[0].query_maps]
        return grid(rows, ["query points", *titles], [look.name for look in looks])


def _title(look: _Look, title: str, number: str = "") -> str:
    """Give the title of a column, with a second line where nothing has been learned yet."""
    return f"{title}{number}" + ("\n(not trained yet)" if title in look.untrained else "")


def _row_name(look: _Look, num_cams: int, classes: Sequence[str]) -> str:
    """Name an image, and the classes whose CAMs are not shown."""
    left_out = [classes[value] for value in look.cams][num_cams:]
    return f"{look.name} (no room for the CAMs of {', '.join(left_out)})" if left_out else look.name


def _look(model: Any, packed: dict) -> _Look:
    """Ask the model, in evaluation mode, what it makes of one packed sample."""
    data = model.data_preprocessor(pseudo_collate([packed]), False)
    inputs, sample = data["inputs"], data["data_samples"][0]
    size = tuple(inputs.shape[2:])
    view = model.training_view(inputs, sample)
    return _Look(
        name=str(sample.metainfo.get("img_id", sample.metainfo.get("img_path", ""))),
        image=model.rgb_images(inputs)[0].permute(1, 2, 0).clamp(0, 255).byte().cpu().numpy(),
        cams=_cams(view),
        labels={title: value.cpu().numpy() for title, value in view.labels.items()},
        truth=_truth(sample, size),
        query_maps={title: value.cpu().numpy() for title, value in view.query_maps.items()},
        token_grid=view.grid,
        untrained=view.untrained,
    )


def _cams(view: Any) -> dict[int, np.ndarray]:
    """Return the CAM of each class that an image has, the strongest first."""
    values = range(1, len(view.cams) + 1) if view.cam_classes is None else view.cam_classes.tolist()
    cams = view.cams.float().cpu().numpy()
    found = [(value, cam) for value, cam in zip(values, cams, strict=True) if value > 0]
    return dict(sorted(found, key=lambda pair: -pair[1].sum()))


def _truth(sample: Any, size: tuple[int, int]) -> np.ndarray | None:
    """Return the mask at the size of the network's input, None if the sample has none.

    The mask is at the original size; padding at the right and the bottom of the input has none.
    """
    if "gt_sem_seg" not in sample:
        return None
    height, width = sample.metainfo.get("img_shape", size)[:2]
    mask = sample.gt_sem_seg.data[None].float()
    mask = nn.functional.interpolate(mask, size=(height, width), mode="nearest")[0, 0]
    truth: np.ndarray = np.full(size, 255, np.int64)
    truth[:height, :width] = mask.cpu().numpy()[: size[0], : size[1]]
    return truth
