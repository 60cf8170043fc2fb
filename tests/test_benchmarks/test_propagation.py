import math
from pathlib import Path

import pytest
import torch

import propagation
from afa.datasets.shapes import write_shapes
from afa.engine.config import load_config
from afa.engine.runner import build_runner
from propagation import _miou, propagation_rows


def test_miou_by_hand():
    confusion = torch.tensor([[3, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])  # IoU 3/4, 2/3, absent
    assert math.isclose(_miou(confusion), 100 * (3 / 4 + 2 / 3) / 2, abs_tol=0.005)


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    root = tmp_path_factory.mktemp("propagation")
    write_shapes(str(root / "shapes"), 2, 4, workers=1)
    config = Path(__file__).parents[2] / "configs/afa/afa_mit-b0_1xb8-820it_shapes-96x96.py"
    options = {
        "data_root": str(root / "shapes"),
        "test_dataloader.num_workers": 0,
        "test_dataloader.persistent_workers": False,
        "visualizer.name": "propagation",
    }
    return build_runner(load_config(str(config), str(root / "work"), options), stage="test")


def test_rows_are_those_of_the_evaluation(runner):
    torch.manual_seed(0)
    figures = runner.test()
    rows = propagation_rows(runner)
    assert rows["CAM"] == pytest.approx(figures["cam/mIoU"], abs=0.02)
    assert rows["PAR"] == pytest.approx(figures["par/mIoU"], abs=0.02)
    assert rows["learned affinity, PAR"] == pytest.approx(figures["propagated/mIoU"], abs=0.02)
    assert {"raw attention, PAR", "CAM on the token grid, PAR"} < set(rows)


def test_affinity_of_the_true_masks_beats_one_that_nobody_trained(runner, monkeypatch):
    """With CAMs that know the objects, but not where they end."""
    labels = propagation._labels

    def with_cams(model, image, gt_label, truth):
        def cams(image, class_idx):
            present = (truth == class_idx[0, :, None, None] + 1).float()
            return (0.6 * present + 0.4 * torch.rand(present.shape))[None], None

        monkeypatch.setattr(model, "cams_and_walk", cams)
        return labels(model, image, gt_label, truth)

    monkeypatch.setattr(propagation, "_labels", with_cams)
    rows = propagation_rows(runner)
    assert rows["true masks, PAR"] > rows["learned affinity, PAR"] + 5


def test_a_model_without_affinity_head_is_refused(runner):
    head, runner.model.affinity_head = runner.model.affinity_head, None
    with pytest.raises(ValueError, match="affinity head"):
        propagation_rows(runner)
    runner.model.affinity_head = head
