import re

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from toy_faults import run_tool
from toy_run import make_cfg

from afa.engine.hooks import ReportHook, report_hook
from afa.engine.hooks.report_hook import _loss_names
from afa.engine.runner import build_runner
from afa.visualization.sheet import sample_sheet


def _steps(page):
    return [int(step) for step in re.findall(r"<figcaption>iteration (\d+)", page)]


def _watch_sheets(monkeypatch):
    """Keep the samples of each sheet that is drawn."""
    drawn = []
    monkeypatch.setattr(
        report_hook,
        "sample_sheet",
        lambda *args, **kw: drawn.append(args[0]) or sample_sheet(*args),
    )
    return drawn


def test_a_training_leaves_a_report_with_the_pictures_of_every_validation(
    world, capfd, monkeypatch
):
    drawn = _watch_sheets(monkeypatch)
    options = "--cfg-options train_cfg.val_interval=2 default_hooks.logger.interval=1 "
    options += "default_hooks.checkpoint.interval=2"
    assert run_tool(f"train.py afa.py --work-dir out --iters 4 {options}") == 0
    said = "".join(capfd.readouterr())
    assert re.search(r"The report of this run is \S+/out/report\.html\.", said)
    assert all("cams" in sample for sample in drawn[0])  # heat maps of the CAMs
    page = (world / "out/report.html").read_text()
    assert _steps(page) == [2, 4] and "Still training" not in page
    for title in ("Figures", "The recipe", "Over the training", "Each class", "The best images"):
        assert f"<h2>{title}</h2>" in page
    assert "<th>Method</th><td>AFA</td>" in page and re.search(r"alt=.loss_cls.* over iter", page)

    resume = "--iters 4 --resume out/iter_2.pth"
    assert run_tool(f"train.py afa.py --work-dir out {resume} {options}") == 0
    assert _steps((world / "out/report.html").read_text()) == [2, 4]

    assert run_tool("train.py afa.py --work-dir out --iters 3") == 0  # another run, not resumed
    assert _steps((world / "out/report.html").read_text()) == [3]


def test_labels_are_shown_where_the_validation_makes_none(world, monkeypatch):
    drawn = _watch_sheets(monkeypatch)
    option = "--cfg-options model.test_cfg.pseudo_labels=False"
    assert run_tool(f"train.py afa.py --work-dir out --iters 3 {option}") == 0
    for sample in drawn[0]:
        assert {"cams", "pred_cam", "pred_par", "pred_propagated", "gt_label"} <= set(sample.keys())
    page = (world / "out/report.html").read_text()
    assert "<th>segmentation</th>" in page and "<th>CAM</th>" not in page  # no figure of these
    assert re.search(r"tools/train\.py \S*out/afa\.py", page)


def test_a_model_that_is_not_ours_has_its_losses(tmp_path):
    runner = build_runner(make_cfg(tmp_path))
    runner.train()
    page = (tmp_path / "report.html").read_text()
    assert "loss_toy over iterations" in page and not _steps(page)


def test_a_training_goes_on_where_the_report_cannot_be_written(tmp_path, monkeypatch):
    def fail(report):
        raise OSError("no room")

    monkeypatch.setattr("afa.engine.hooks.report_hook.report_page", fail)
    runner = build_runner(make_cfg(tmp_path))
    runner.train()
    assert runner.iter == 6 and not (tmp_path / "report.html").exists()
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert "report.html is not as it should be (OSError: no room); the training goes on." in log


def _sample(pred, truth):
    fields = dict(pred_cam=0, pred_sem_seg=pred, gt_sem_seg=truth)
    data = {name: PixelData(data=torch.full((1, 2, 2), value)) for name, value in fields.items()}
    sample = SegDataSample()
    sample.set_data(data)
    return sample


def test_best_and_worst_are_of_the_last_kind_of_label_map():
    hook = ReportHook()
    hook._extremes = {"best": [], "worst": []}
    for number, iou in enumerate((50.0, 90.0, 10.0, 70.0, 30.0, 20.0)):
        hook._rank(iou, (0, number), _sample(1, 1))
    kept = {kind: sorted(abs(entry[0]) for entry in heap) for kind, heap in hook._extremes.items()}
    assert kept == {"best": [30, 50, 70, 90], "worst": [10, 20, 30, 50]}


@pytest.mark.parametrize(
    "name, is_loss", [("decode.loss_ce", True), ("loss", False), ("lr", False)]
)
def test_losses_are_found_by_name(name, is_loss):
    assert _loss_names({1: {name: 1.0}}) == [name] * is_loss
