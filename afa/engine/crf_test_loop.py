"""Test loop that sharpens every segmentation with a dense CRF, in processes of its own.

C classes, L of them that an image can have, H W pixels of the photo, h w of the logits.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop
from mmengine.runner.amp import autocast
from mmengine.structures import PixelData
from mmseg.registry import LOOPS, MODELS
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import DataLoader

from afa.datasets.transforms import LoadPhoto
from afa.engine.hooks.reproducible_hook import pipelines_of
from afa.files.crf import LABEL_THR, MAX_SIDE, check_crf, crf_of_logits, crf_photo
from afa.models.functional.photo_size import label_map, possible_labels
from afa.utils.ordered_pool import OrderedPool

MAX_PIXELS = 2**26  # of the photos under way, that huge ones do not fill the memory


@dataclass
class _Batch:
    """A batch that the network is done with and whose CRFs are under way."""

    idx: int
    data: Any
    samples: list[SegDataSample]
    labels: list[Tensor]  # of each sample those that entered, (L,)
    results: list[np.ndarray] = field(default_factory=list)

    @property
    def num_pixels(self) -> int:
        return sum(sample.pred_sem_seg.data.numel() for sample in self.samples)


@LOOPS.register_module()
class CRFTestLoop(TestLoop):
    """Test, and write ``pred_crf`` beside ``pred_sem_seg`` into every result.

    While the network computes the next images, worker processes compute the CRFs of the last
    ones: at most two images per worker are under way, and they are evaluated in their order. Only
    the labels that an image can have enter (:func:`possible_labels`). The photo is read once more
    with the loading step of the data set, since the CRF works at its original size; where its long
    side is above ``max_side``, at that size, and the probabilities are resized.

    The model's results must carry ``seg_logits``: mmseg's do, AFA's and MultiScaleTTA's on request.

    Args:
        runner, dataloader, evaluator, fp16: as in mmengine's TestLoop.
        crf: arguments of :class:`DenseCRF`; None for its defaults.
        num_workers: worker processes; 0 computes in this process.
        label_thr: probability that a label must reach somewhere to enter the CRF.
        max_side: longest side of a photo, in pixels, that the CRF is computed at.

    Raises:
        ValueError: if a setting is out of range, or pydensecrf is not installed.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        crf: dict | None = None,
        num_workers: int = 1,
        label_thr: float = LABEL_THR,
        max_side: int = MAX_SIDE,
    ) -> None:
        if not 0 <= label_thr <= 1:
            raise ValueError(f"crf.label_thr must be between 0 and 1, got {label_thr}")
        if max_side < 1:
            raise ValueError(f"crf.max_side must be 1 pixel or more, got {max_side}")
        check_crf()
        self.crf = MODELS.build(dict(crf or {}, type="DenseCRF"))
        self.pool = OrderedPool(partial(crf_of_logits, settings=self.crf.settings), num_workers)
        super().__init__(runner, dataloader, evaluator, fp16)
        self.label_thr = label_thr
        self.max_side = max_side
        self.load_photo = _photo_loader(self.dataloader.dataset)

    def run(self) -> dict:
        """Launch the test; mmengine's, but for the images that wait for their CRF."""
        self.runner.call_hook("before_test")
        self.runner.call_hook("before_test_epoch")
        self.runner.model.eval()
        waiting: deque[_Batch] = deque()
        with self.pool as pool:
            for idx, data in enumerate(self.dataloader):
                self.runner.call_hook("before_test_iter", batch_idx=idx, data_batch=data)
                waiting.append(self._hand_in(idx, data))
                self._take(waiting, pool.done())
                while sum(batch.num_pixels for batch in waiting) > MAX_PIXELS:
                    self._take(waiting, islice(pool, 1))
            self._take(waiting, pool)
        assert not waiting, "every image gets its result"
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        self.runner.call_hook("after_test_epoch", metrics=metrics)
        self.runner.call_hook("after_test")
        return metrics

    @torch.no_grad()
    def _hand_in(self, idx: int, data: Any) -> _Batch:
        """Run the network on a batch and hand its images to the workers."""
        with autocast(enabled=self.fp16):
            samples = self.runner.model.test_step(data)
        return _Batch(idx, data, samples, [self._submit(sample) for sample in samples])

    def _submit(self, sample: SegDataSample) -> Tensor:
        """Hand an image to the workers; give the labels (L,) that enter."""
        if "seg_logits" not in sample or len(sample.seg_logits.data) < 2:
            raise ValueError(
                "The dense CRF needs results with seg_logits of two classes or more: a model of "
                "your own must write them (test_cfg.seg_logits='head' of AFA does)."
            )
        logits = sample.seg_logits.data.float()
        labels = possible_labels(logits, self.label_thr)
        photo = self._photo(sample)
        smaller = photo.shape[:2] != sample.pred_sem_seg.shape
        self.pool.submit(photo, logits[labels].cpu().numpy(), smaller)
        del sample.seg_logits  # the largest part of a result need not wait for the CRF
        return labels.cpu()

    def _photo(self, sample: SegDataSample) -> np.ndarray:
        """Read the photo of a result: (H, W, 3) uint8 RGB, at most ``max_side`` long."""
        path, size = sample.metainfo.get("img_path"), tuple(sample.pred_sem_seg.shape)
        if path is None:
            raise ValueError("The dense CRF needs the photos: img_path is missing in the results.")
        photo = self.load_photo(dict(img_path=path))["img"]
        if photo.shape[:2] != size:
            raise ValueError(
                f"Photo '{path}' has {photo.shape[0]} x {photo.shape[1]} pixels, its prediction "
                f"{size[0]} x {size[1]}: the test pipeline must resize after loading only."
            )
        return crf_photo(photo, self.max_side)

    def _take(self, waiting: deque[_Batch], results: Iterable[np.ndarray]) -> None:
        """Give results to the batches they belong to; evaluate each batch that is complete."""
        for result in results:
            batch = waiting[0]
            batch.results.append(result)
            if len(batch.results) == len(batch.samples):
                self._finish(waiting.popleft())

    def _finish(self, batch: _Batch) -> None:
        for sample, labels, result in zip(batch.samples, batch.labels, batch.results, strict=True):
            best = torch.from_numpy(result)
            if best.ndim == 3:  # probabilities, at a smaller size
                best = label_map(best, sample.pred_sem_seg.shape)[0]
            sample.set_data(dict(pred_crf=PixelData(data=labels[best.long()][None])))
        self.evaluator.process(data_samples=batch.samples, data_batch=batch.data)
        self.runner.call_hook(
            "after_test_iter", batch_idx=batch.idx, data_batch=batch.data, outputs=batch.samples
        )


def _photo_loader(dataset: Any) -> Callable[[dict], Any]:
    """Find the step with which a data set loads photos: what it turns, this must turn too."""
    steps = next(iter(pipelines_of(dataset)), [])
    step = next((s for s in steps if isinstance(s, (LoadPhoto, LoadImageFromFile))), LoadPhoto())
    return step.whole() if isinstance(step, LoadPhoto) else step
