import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from afa.evaluation.figures import confusion_matrix
from afa.evaluation.threshold_sweep import write_counts
from afa.files.label_png import write_label_png
from afa.labels.folder import LabelFolder
from afa.labels.makers import NetworkMasks
from afa.labels.options import PseudoLabelOptions
from afa.labels.report import measure, report
from afa.labels.run import LabelRun

CLASSES = ["background", "a", "b"]


class _Data:
    """Four images with masks drawn at random, of which the last has none."""

    classes, split = CLASSES, "val"
    ids = ["w", "x", "y", "z"]

    def __init__(self):
        self.masks = np.random.choice([0, 1, 2, 255], (4, 6, 8)).astype(np.uint8)

    def __len__(self):
        return len(self.ids)

    def mask(self, index, size):
        assert size == (6, 8)
        return self.masks[index]


@pytest.fixture
def run(tmp_path):
    folder, data = LabelFolder(tmp_path), _Data()
    settings = dict(tool="pseudo_labels", kind="cam")
    folder.prepare(settings)
    options = PseudoLabelOptions("val", "cam", sweep=(0.2, 0.4, 0.2))
    test_cfg = SimpleNamespace(cls_thr=0.5)
    model = SimpleNamespace(test_cfg=test_cfg, map_kinds=("cam",), cls_head=None)
    maker = NetworkMasks(model, "cam", (0.2,), "predicted")
    made = LabelRun(
        options=options, data=data, maker=maker, folder=folder, settings=settings, crf=None,
        max_side=1024, masks=frozenset({0, 1, 2}), mean_over=None, loader_workers=0,
    )  # fmt: skip
    for index, img_id in enumerate(data.ids):
        label = np.random.choice([0, 1, 2, 255], (6, 8)).astype(np.uint8)
        write_label_png(folder.file("labels", img_id), label)
        if index in made.masks:
            truth, label = torch.from_numpy(data.masks[index]), torch.from_numpy(label)
            counts = [confusion_matrix(label, truth, 3), torch.zeros(3, 4, dtype=torch.int64)]
            write_counts(folder.file("sweep", img_id), [0.2, 0.4], torch.stack(counts))
    return made


def test_counts_are_summed_over_the_files_of_images_with_a_mask(run):
    counts, sweep = measure(run)
    known = int((run.data.masks[:3] != 255).sum())
    assert counts.sum() == known and counts[:, -1].sum() > 0
    assert torch.equal(sweep[0], counts) and not sweep[1].any()


def test_a_file_that_has_gone_is_said(run):
    run.folder.file("sweep", "x").unlink()
    with pytest.raises(ValueError, match=r"sweep/x.npz' has gone or is broken: run the same"):
        measure(run)
    run.folder.file("labels", "x").unlink()
    with pytest.raises(ValueError, match=r"labels/x.png' cannot be read"):
        measure(run)


def test_the_summary_says_what_was_made_and_how(run, capsys):
    content = report(run, 3, measure(run), dict(total=7.04, making=1.5))
    out = capsys.readouterr().out
    assert out.count("True image labels were NOT used") == 1 and "1 images have no mask" in out
    assert "% of the pixels are undecided" in out and "mIoU" in out
    written = json.loads((run.folder.path / "summary.json").read_text())
    assert written["num_made"] == 3 and written["num_skipped"] == 1
    assert written["images_per_second"] == 2.0 and written["seconds"]["total"] == 7.0
    assert written["true_image_labels"] is False and written["settings"]["kind"] == "cam"
    assert written["figures"]["mIoU"] == content["figures"]["mIoU"]
    assert written["sweep"]["best"]["bkg_thr"] == 0.2
    assert written["versions"]["torch"] and written["num_masks"] == 3
    assert (run.folder.path / "sweep.png").stat().st_size > 5000


def test_without_masks_there_are_no_figures(run):
    object.__setattr__(run, "masks", frozenset())
    assert measure(run) is None
    content = report(run, 0, None, dict(total=1.0, making=0.0))
    assert "figures" not in content and content["images_per_second"] == 0
    assert not (run.folder.path / "sweep.png").exists()
