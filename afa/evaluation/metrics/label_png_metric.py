"""Write predicted label maps as files instead of comparing them with a truth."""

import gzip
import io
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmseg.registry import METRICS

from afa.files.label_png import write_label_png
from afa.files.whole_file import safe_join, write_bytes
from afa.utils.first_process import first_process


@METRICS.register_module()
class LabelPNGMetric(BaseMetric):
    """Write one indexed PNG per image, at its original size, and pack them if asked.

    It stands where a metric stands because it sees every result once, and gives no figures. Nothing
    but the names of the images is kept.

    Args:
        out_dir: folder that ``folder`` and the archive lie in.
        folder: folder of the PNGs in ``out_dir``, e.g.
            ``'results/VOC2012/Segmentation/comp6_test_cls'``.
        field: name of the label map in the data sample.
        archive: name of a ``.tar.gz`` in ``out_dir`` that gets the PNGs under ``folder``; None for
            none.
        overwrite: replace what an earlier run has left.
        collect_device: not used; there for mmengine.
        prefix: not used; there for mmengine.

    Raises:
        ValueError: If there are results of an earlier run and ``overwrite`` is off.
    """

    def __init__(
        self,
        out_dir: str,
        folder: str,
        field: str = "pred_sem_seg",
        archive: str | None = None,
        overwrite: bool = False,
        collect_device: str = "cpu",
        prefix: str | None = "files",
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.out_dir = Path(out_dir)
        self.folder = folder
        self.field = field
        self.archive = archive
        self.results: list[str] = []
        # Nobody writes what the first process would take for an earlier run's.
        first_process(partial(self._prepare, overwrite))

    def _prepare(self, overwrite: bool) -> None:
        """Make the folder; refuse to replace the results of an earlier run."""
        there = self.out_dir / self.folder
        archive = self.out_dir / self.archive if self.archive else None
        for path in (archive, there):
            found = path is not None and (path.is_file() or (path.is_dir() and any(path.iterdir())))
            if found and not overwrite:
                raise ValueError(
                    f"'{path}' is there from an earlier run: choose another folder with --out, or "
                    "add --overwrite."
                )
        if archive is not None:
            archive.unlink(missing_ok=True)  # a run that is stopped leaves none of another run
        there.mkdir(parents=True, exist_ok=True)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Write the label maps of one batch.

        Raises:
            ValueError: If an image has no name, or one that leads out of the folder.
        """
        del data_batch
        palette = (self.dataset_meta or {}).get("palette")
        for sample in data_samples:
            img_id = sample.get("img_id") or Path(str(sample.get("img_path") or "")).stem
            path = safe_join(self.out_dir / self.folder, img_id, ".png")
            label = sample[self.field]["data"].cpu().numpy().astype(np.uint8)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_label_png(path, label[0] if label.ndim == 3 else label, palette)
            self.results.append(img_id)

    def evaluate(self, size: int) -> dict[str, float]:
        """Pack the files of all processes; there are no figures.

        Raises:
            ValueError: If two images of the set of ``size`` images have one name.
        """
        img_ids = [img_id for part in all_gather_object(self.results) for img_id in part]
        self.results.clear()
        if len(set(img_ids)) != size:
            raise ValueError(
                f"{size} images have {len(set(img_ids))} names: each needs a name of its own."
            )
        said = f"{size} label maps are in {self.out_dir / self.folder}"
        if self.archive:
            archive = self.out_dir / self.archive
            first_process(partial(self._pack, archive, sorted(img_ids)))
            said += f", packed as {archive}"
        MMLogger.get_current_instance().info(said)
        return {}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Give nothing; mmengine asks for this method."""
        del results
        return {}

    def _pack(self, archive: Path, img_ids: Sequence[str]) -> None:
        """Write the archive; the same files give the same bytes."""
        raw = io.BytesIO()
        with (
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for img_id in img_ids:
                data = safe_join(self.out_dir / self.folder, img_id, ".png").read_bytes()
                info = tarfile.TarInfo(f"{self.folder}/{img_id}.png")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        write_bytes(archive, raw.getvalue())
