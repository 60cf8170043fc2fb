import json
import os
import shutil
import socket
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from PIL import Image
from toy_labels import (
    NUM_CLASSES,
    label_process,
    make_toy_labels,
    same_figures,
    write_toy,
    write_toy_data,
)

from afa.apis.inference import init_model
from afa.datasets.shapes_generator import CLASSES, PALETTE
from afa.engine.config import load_config
from afa.evaluation.figures import confusion_matrix
from afa.files.label_png import read_label_png, write_label_png
from afa.files.maps import read_maps, write_counts
from afa.labels import run as module
from afa.labels.folder import LabelFolder
from afa.labels.makers import NetworkMasks
from afa.labels.options import PseudoLabelOptions
from afa.labels.run import LabelRun, mean_classes, measure, report
from afa.labels.split import SplitData

IDS = [f"val_{i:05d}" for i in range(4)]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Config and checkpoint of a small AFA on four pictures."""
    folder = tmp_path_factory.mktemp("toy")
    return write_toy(folder, write_toy_data(folder / "shapes"))


def _files(out):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.suffix in (".png", ".npz") and path.name != "sweep.png"
    }


def _label(out, img_id):
    return read_label_png(out / "labels" / f"{img_id}.png")


# ---- what is made -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "field"), [("cam", "pred_cam"), ("par", "pred_par"), ("propagated", "pred_propagated")]
)
def test_labels_are_those_of_the_evaluation_in_training(toy, tmp_path, kind, field):
    make_toy_labels(toy, tmp_path, kind=kind)
    model = init_model(toy[0], toy[1], "cpu", {"model.test_cfg.pseudo_labels": True})
    data = SplitData(model.cfg, "val")
    for i, img_id in enumerate(IDS):
        with torch.no_grad():
            (sample,) = model.test_step(pseudo_collate([data.dataset[i]]))
        label = _label(tmp_path, img_id)
        assert label.shape == data.photo(i).shape[:2]
        assert np.array_equal(label, sample.get(field).data[0].numpy())
    assert len(np.unique(label)) > 1
    with Image.open(tmp_path / "labels" / f"{IDS[0]}.png") as image:
        assert image.mode == "P"
        assert np.reshape(image.getpalette(), (-1, 3))[:NUM_CLASSES].tolist() == PALETTE


def test_cams_hold_the_present_classes_only_and_give_the_labels_again(toy, tmp_path):
    make_toy_labels(toy, tmp_path, save_maps=True)
    data = SplitData(load_config(str(toy[0])), "val")
    for i, img_id in enumerate(IDS):
        with np.load(tmp_path / "maps" / f"{img_id}.npz", allow_pickle=False) as file:
            assert set(file) == {"classes", "maps", "size"}
        found, label = read_maps(tmp_path / "maps" / f"{img_id}.npz"), _label(tmp_path, img_id)
        assert found.classes == (np.flatnonzero(data.image_label(i)) + 1).tolist()
        assert found.size == label.shape
        maps = torch.from_numpy(found.maps)[None]
        background = torch.full_like(maps[:, :1], 0.4)
        masks = torch.cat([background, maps], dim=1).softmax(dim=1)
        masks = torch.nn.functional.interpolate(masks, size=label.shape, mode="bilinear")
        again = np.array([0, *found.classes])[masks[0].argmax(0)]
        assert (again == label).mean() > 0.97  # eight bits move a border by a pixel here and there


@pytest.mark.parametrize("kind", ["par", "seg"])
def test_other_maps_have_a_background_and_sum_to_one(toy, tmp_path, kind):
    make_toy_labels(toy, tmp_path, kind=kind, save_maps=True)
    for img_id in IDS:
        found = read_maps(tmp_path / "maps" / f"{img_id}.npz")
        assert found.classes[0] == 0
        assert np.abs(found.maps.sum(axis=0) - 1).max() < 0.5 * len(found.classes) / 255 + 1e-3
        assert set(np.unique(_label(tmp_path, img_id))) <= set(found.classes)


def test_seg_may_have_any_class_or_those_of_the_image(toy, tmp_path):
    free = make_toy_labels(toy, tmp_path / "free", kind="seg", evaluate=True)
    bound = make_toy_labels(toy, tmp_path / "bound", kind="seg", restrict=True, evaluate=True)
    assert free["true_image_labels"] is False and bound["true_image_labels"] is True
    data = SplitData(load_config(str(toy[0])), "val")
    outside = 0
    for i, img_id in enumerate(IDS):
        allowed = {0, *(np.flatnonzero(data.image_label(i)) + 1)}
        assert set(np.unique(_label(tmp_path / "bound", img_id))) <= allowed
        outside += len(set(np.unique(_label(tmp_path / "free", img_id))) - allowed)
    assert outside > 0


def test_predicted_classes_are_used_when_asked_for_or_when_there_is_no_label(toy, tmp_path, capsys):
    asked = make_toy_labels(toy, tmp_path / "a", predicted_labels=True)
    assert "True image labels were NOT used" in capsys.readouterr().out
    assert asked["true_image_labels"] is False and "above 0.5" in asked["statement"]
    without = make_toy_labels(toy, tmp_path / "b", {"val_dataloader.dataset.image_labels": None})
    assert without["true_image_labels"] is False
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    make_toy_labels(toy, tmp_path / "c")
    assert "True image labels WERE used" in capsys.readouterr().out
    assert _files(tmp_path / "a") != _files(tmp_path / "c")


def test_two_scores_leave_pixels_undecided(toy, tmp_path):
    high = make_toy_labels(toy, tmp_path / "high", bkg_thr=0.5)
    low = make_toy_labels(toy, tmp_path / "low", bkg_thr=0.3)
    both = make_toy_labels(toy, tmp_path / "both", ignore_thr=(0.5, 0.3), evaluate=True)
    assert [run["settings"]["background_scores"] for run in (high, low, both)] == [
        [0.5], [0.3], [0.5, 0.3]
    ]  # fmt: skip
    undecided = 0
    for img_id in IDS:
        sure, unsure, label = (_label(tmp_path / name, img_id) for name in ("high", "low", "both"))
        expected = np.where((sure == 0) & (unsure != 0), 255, sure)
        assert np.array_equal(label, expected)
        undecided += (label == 255).sum()
    assert undecided > 0 and both["figures"]["undecided"] > 0
    assert both["figures"]["mIoU.decided"] > both["figures"]["mIoU"]


def test_the_two_scores_of_the_training_are_the_default(toy, tmp_path):
    made = make_toy_labels(toy, tmp_path, ignore_thr=())
    assert made["settings"]["background_scores"] == [0.55, 0.35]


@pytest.mark.parametrize("kind", ["par", "seg"])
def test_crf_workers_make_the_labels_of_this_process(toy, tmp_path, kind):
    make_toy_labels(toy, tmp_path / "plain", kind=kind)
    options = {"model.test_cfg.crf": dict(num_iters=2, bi_xy_std=20)}
    for workers in (0, 2):
        out = tmp_path / str(workers)
        made = make_toy_labels(toy, out, options, kind=kind, crf=True, crf_workers=workers)
    assert made["settings"]["crf"]["bi_xy_std"] == 20
    assert _files(tmp_path / "0") == _files(tmp_path / "2") != _files(tmp_path / "plain")


# ---- figures ------------------------------------------------------------------------------------


def test_figures_against_a_loop_over_the_pixels(toy, tmp_path):
    made = make_toy_labels(toy, tmp_path, evaluate=True)
    data, pairs = SplitData(load_config(str(toy[0])), "val"), []
    for i, img_id in enumerate(IDS):
        label = _label(tmp_path, img_id)
        truth = data.mask(i, label.shape)
        pairs += list(zip(truth.ravel().tolist(), label.ravel().tolist(), strict=True))
    for k, name in enumerate(CLASSES):
        both = sum(pair == (k, k) for pair in pairs)
        either = sum(k in pair for pair in pairs if pair[0] != 255)
        if either:
            iou = 100 * both / either
            assert made["figures"][f"IoU.{name}"] == pytest.approx(iou, abs=0.006)
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["figures"]["mIoU"] == made["figures"]["mIoU"] > 0


def test_the_sweep_gives_what_labels_at_each_score_would(toy, tmp_path, capsys):
    made = make_toy_labels(toy, tmp_path / "a", kind="propagated", sweep=(0.3, 0.5, 0.1))
    rows = made["sweep"]["rows"]
    rows = [row for row in rows if 0.3 <= row["bkg_thr"] <= 0.5]  # it may go further
    assert [row["bkg_thr"] for row in rows] == [0.3, 0.4, 0.5]
    assert rows[1]["mIoU"] == made["figures"]["mIoU"]  # 0.4 is the score of the labels
    other = make_toy_labels(toy, tmp_path / "b", kind="propagated", bkg_thr=0.3, evaluate=True)
    assert rows[0]["mIoU"] == other["figures"]["mIoU"] != rows[1]["mIoU"]
    assert made["sweep"]["best"] in made["sweep"]["rows"]
    assert "<- best" in capsys.readouterr().out
    with Image.open(tmp_path / "a" / "sweep.png") as plot:
        assert plot.size == (792, 583)  # the legend stands below


def test_the_mean_is_over_the_classes_of_the_config(toy, tmp_path):
    classes = ["background", CLASSES[1]]
    evaluator = [dict(type="WSSSIoUMetric", classes=classes)]
    made = make_toy_labels(toy, tmp_path, {"val_evaluator": evaluator}, evaluate=True)
    figures = made["figures"]
    ious = [figures[f"IoU.{name}"] for name in classes]
    assert made["mean_over"] == classes
    assert figures["mIoU"] == pytest.approx(np.nanmean(ious), abs=0.011)


def test_images_without_mask_do_not_count_and_this_is_said(toy, tmp_path, capsys):
    folder = load_config(str(toy[0])).val_dataloader.dataset.data_root
    masks = os.path.join(folder, "SegmentationClassAug")
    shutil.copytree(masks, tmp_path / "masks")
    (tmp_path / "masks" / f"{IDS[1]}.png").unlink()
    where = {"val_dataloader.dataset.data_prefix.seg_map_path": str(tmp_path / "masks")}
    made = make_toy_labels(toy, tmp_path / "out", where, sweep=(0.4, 0.4, 0.1))
    assert made["num_masks"] == 3 and "1 images have no mask" in capsys.readouterr().out
    assert made["sweep"]["rows"][0]["mIoU"] == made["figures"]["mIoU"]
    again = make_toy_labels(toy, tmp_path / "out", where, sweep=(0.4, 0.4, 0.1))
    assert again["num_made"] == 0
    where = {"val_dataloader.dataset.data_prefix.seg_map_path": str(tmp_path)}
    with pytest.raises(ValueError, match="need masks, but no image of 'val' has one"):
        make_toy_labels(toy, tmp_path / "other", where, evaluate=True)
    assert not (tmp_path / "other").exists()


# ---- going on -----------------------------------------------------------------------------------


def test_a_second_run_makes_what_is_missing_or_cut_and_nothing_else(toy, tmp_path):
    wanted = dict(save_maps=True, sweep=(0.2, 0.6, 0.2))
    first = make_toy_labels(toy, tmp_path, **wanted)
    files = _files(tmp_path)
    assert len(files) == 12 and first["num_made"] == 4
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in files}
    (tmp_path / "labels" / f"{IDS[0]}.png").unlink()
    cut = tmp_path / "maps" / f"{IDS[2]}.npz"
    cut.write_bytes(cut.read_bytes()[:50])
    second = make_toy_labels(toy, tmp_path, **wanted)
    assert (second["num_made"], second["num_skipped"]) == (2, 2)
    assert _files(tmp_path) == files
    for name, time in times.items():
        remade = IDS[0] in name or IDS[2] in name
        assert ((tmp_path / name).stat().st_mtime_ns != time) == remade, name
    assert same_figures(second["figures"], first["figures"]) and same_figures(
        second["sweep"], first["sweep"]
    )


def test_a_stop_leaves_whole_files_and_the_next_run_ends_thesame_figures(
    toy, tmp_path, monkeypatch
):
    wanted = dict(save_maps=True, evaluate=True)
    whole = make_toy_labels(toy, tmp_path / "whole", **wanted)
    job, calls = module._job, []

    def stop_at_third(run, index, item):
        calls.append(index)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return job(run, index, item)

    monkeypatch.setattr(module, "_job", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        make_toy_labels(toy, tmp_path / "stopped", **wanted)
    monkeypatch.undo()
    files, expected = _files(tmp_path / "stopped"), _files(tmp_path / "whole")
    assert len(files) == 4 and files.items() <= expected.items()
    resumed = make_toy_labels(toy, tmp_path / "stopped", **wanted)
    assert resumed["num_made"] == 2
    assert _files(tmp_path / "stopped") == expected
    assert same_figures(resumed["figures"], whole["figures"])


def test_other_settings_are_refused_and_replaced_on_demand(toy, tmp_path):
    make_toy_labels(toy, tmp_path)
    files = _files(tmp_path)
    for changes, name in (
        (dict(kind="par"), "kind was cam, now par"),
        (dict(bkg_thr=0.3), r"background_scores was \[0.4\], now \[0.3\]"),
        (dict(predicted_labels=True), "classes was true image labels"),
        (dict(cfg_options={"model.train_cfg.cam_scales": [1.0]}), "model was "),
        (dict(cfg_options={"val_dataloader.dataset.pipeline.1.scale": (40, 40),
                           "test_dataloader.dataset.pipeline.1.scale": (40, 40)}), "test_pipeline"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            make_toy_labels(toy, tmp_path, **changes)
    assert _files(tmp_path) == files
    assert (
        make_toy_labels(toy, tmp_path, save_maps=True)["num_made"] == 4
    )  # maps are missing, labels fit
    make_toy_labels(toy, tmp_path, kind="par", overwrite=True)
    assert set(_files(tmp_path)) == {f"labels/{img_id}.png" for img_id in IDS}
    assert _files(tmp_path) != files


def test_a_broken_photo_is_one_sentence_and_what_was_made_stays(toy, tmp_path):
    root = tmp_path / "shapes"
    shutil.copytree(load_config(str(toy[0])).val_dataloader.dataset.data_root, root)
    photo = root / "JPEGImages" / f"{IDS[2]}.jpg"
    data = photo.read_bytes()
    photo.write_bytes(data[: len(data) // 2])
    options = {"val_dataloader.dataset.data_root": str(root)}
    with pytest.raises(ValueError, match=f"Photo '.*{IDS[2]}.jpg' is truncated"):
        make_toy_labels(toy, tmp_path / "out", options)
    assert len(_files(tmp_path / "out")) == 2
    photo.write_bytes(data)
    assert make_toy_labels(toy, tmp_path / "out", options)["num_made"] == 2


def test_ids_that_lead_out_of_the_folder_are_refused_before_any_work(toy, tmp_path):
    root = tmp_path / "shapes"
    shutil.copytree(load_config(str(toy[0])).val_dataloader.dataset.data_root, root)
    shutil.copy(root / "JPEGImages" / f"{IDS[0]}.jpg", root / "evil.jpg")
    (tmp_path / "list.txt").write_text("../evil\n")
    options = {f"{split}_dataloader.dataset.data_root": str(root) for split in ("train", "val")}
    wanted = dict(split=str(tmp_path / "list.txt"), predicted_labels=True)
    with pytest.raises(ValueError, match=r"'\.\./evil' is no name inside a folder"):
        make_toy_labels(toy, tmp_path / "out" / "in", options, **wanted)
    assert not (tmp_path / "out").exists()


def test_missing_labels_and_broken_weights_are_said(toy, tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps({IDS[0]: ["ball"]}))
    options = {"val_dataloader.dataset.image_labels": str(tmp_path / "labels.json")}
    with pytest.raises(ValueError, match=r"Image without labels.* --predicted-labels does without"):
        make_toy_labels(toy, tmp_path / "out", options)
    checkpoint = torch.load(toy[1], weights_only=True)
    for value, said in (
        (float("nan"), r"the first is 'cls_head\.classifier\.weight'"),  # refused when it is read
        (3e38, f"NaN for the image '{IDS[0]}'"),  # finite, but its sums are not
    ):
        checkpoint["state_dict"]["cls_head.classifier.weight"][:] = value
        torch.save(checkpoint, tmp_path / "broken.pth")
        with pytest.raises(ValueError, match=said):
            make_toy_labels((toy[0], tmp_path / "broken.pth"), tmp_path / "out")


# ---- several processes --------------------------------------------------------------------------


def test_two_processes_write_the_files_of_one(toy, tmp_path):
    alone = make_toy_labels(
        toy, tmp_path / "one", kind="par", save_maps=True, sweep=(0.3, 0.5, 0.1)
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(label_process, args=(port, toy, tmp_path / "two"), nprocs=2)
    assert _files(tmp_path / "two") == _files(tmp_path / "one")
    together = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert together["num_processes"] == 2
    written = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert together["figures"] == written["figures"] and alone["num_made"] == 4


# ---- the plan -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evaluators", "expected"),
    [
        (dict(), None),
        (dict(val_evaluator=dict(type="WSSSIoUMetric")), None),
        (dict(test_evaluator=dict(type="WSSSIoUMetric", classes=["a", "b"])), ("a", "b")),
        (
            dict(val_evaluator=[dict(type="MultiLabelMetric"),
                                dict(type="WSSSIoUMetric", classes=["b"])]),
            ("b",),
        ),
    ],
)  # fmt: skip
def test_the_classes_of_the_mean_are_those_of_the_evaluation(evaluators, expected):
    assert mean_classes(Config(evaluators)) == expected


NAMES = ["background", "a", "b"]


class _Data:
    """Four images with masks drawn at random, of which the last has none."""

    classes, split = NAMES, "val"
    ids = ["w", "x", "y", "z"]
    num_workers = 0

    def __init__(self):
        self.masks = np.random.choice([0, 1, 2, 255], (4, 6, 8)).astype(np.uint8)

    def __len__(self):
        return len(self.ids)

    def images_with_mask(self):
        return frozenset({0, 1, 2})

    def mask(self, index, size):
        assert size == (6, 8)
        return self.masks[index]


@pytest.fixture
def run(tmp_path):
    folder, data = LabelFolder(tmp_path), _Data()
    settings = dict(tool="pseudo_labels", kind="cam")
    folder.prepare(settings)
    options = PseudoLabelOptions("val", kind="cam", out=str(tmp_path), sweep=(0.2, 0.4, 0.2))
    test_cfg = SimpleNamespace(cls_thr=0.5)
    model = SimpleNamespace(test_cfg=test_cfg, map_kinds=("cam",), cls_head=None)
    maker = NetworkMasks(model, "cam", (0.2,), "predicted")
    made = LabelRun(Config(), options, data, maker, settings, "labels")
    for index, img_id in enumerate(data.ids):
        label = np.random.choice([0, 1, 2, 255], (6, 8)).astype(np.uint8)
        write_label_png(folder.file("labels", img_id), label)
        if index in made.masks:
            truth, label = torch.from_numpy(data.masks[index]), torch.from_numpy(label)
            counts = [confusion_matrix(label, truth, 3), torch.zeros(3, 4, dtype=torch.int64)]
            write_counts(folder.file("sweep", img_id), [0.2, 0.4], torch.stack(counts).numpy())
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
    run.masks = frozenset()
    assert measure(run) is None
    content = report(run, 0, None, dict(total=1.0, making=0.0))
    assert "figures" not in content and content["images_per_second"] == 0
    assert not (run.folder.path / "sweep.png").exists()


def test_a_mask_with_values_that_are_no_class_is_named(run):
    run.data.masks[1] = 77
    with pytest.raises(ValueError, match="'x': the mask has the value 77"):
        measure(run)


def test_a_sweep_whose_best_lies_at_its_edge_goes_further(toy, tmp_path, capsys):
    # The toy's propagated labels are the better, the more background there is.
    full = make_toy_labels(toy, tmp_path / "a", kind="propagated", sweep=(0.3, 1.0, 0.1))["sweep"]
    capsys.readouterr()
    made = make_toy_labels(toy, tmp_path / "b", kind="propagated", sweep=(0.3, 0.5, 0.1))
    said = capsys.readouterr().out
    assert (
        "score, 0.5, lies at the edge of the sweep: it goes on with 0.6, 0.7, 0.8, 0.9, 1" in said
    )
    assert "score, 1, lies at the edge of the sweep, beyond which there is none" in said
    assert same_figures(made["sweep"], full) and made["num_made"] == 4
    again = make_toy_labels(toy, tmp_path / "b", kind="propagated", sweep=(0.3, 0.5, 0.1))
    assert again["num_made"] == 0 and same_figures(again["sweep"], made["sweep"])
