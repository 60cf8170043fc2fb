import html
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from toy_stages import write_pictures

from afa.files.label_png import read_label_png, write_label_png
from afa.pipelines import comparison_pictures as module
from afa.pipelines.comparison import write_comparison
from afa.pipelines.comparison_pictures import draw_pictures
from afa.pipelines.run_summary import RunSummary
from afa.visualization import overlay_label

TRAIN, VAL = "Labels of training images", "Segmentation of validation images"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A Shapes set with six training and three validation images."""
    return write_pictures(tmp_path_factory.mktemp("shapes"), num_val=3)


@pytest.fixture(autouse=True)
def _networks(monkeypatch):
    """Networks that give every pixel the number in the name of their checkpoint."""

    def predict(model, path):
        label = torch.full((1, *cv2.imread(str(path)).shape[:2]), model)
        return SimpleNamespace(pred_sem_seg=SimpleNamespace(data=label))

    monkeypatch.setattr(module, "init_model", lambda cfg, checkpoint: int(checkpoint.stem[-1]))
    monkeypatch.setattr(module, "inference_model", predict)


def _network(folder, root, number):
    """Write what a training leaves in its folder."""
    folder.mkdir(parents=True)
    loaders = {}
    for split, name in (("train", "train"), ("test", "val")):
        dataset = dict(
            type="ShapesDataset",
            data_root=str(root),
            ann_file=f"ImageSets/Segmentation/{name}.txt",
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            image_labels="Annotations",
            pipeline=[],
        )
        loaders[f"{split}_dataloader"] = dict(dataset=dataset)
    Config(dict(default_scope="mmseg", **loaders)).dump(folder / "toy.py")
    (folder / f"iter_{number}.pth").touch()
    (folder / "last_checkpoint").write_text(str(folder / f"iter_{number}.pth"))
    return folder


def _run(name, folder, root, number, labels=True):
    """A run whose labels are the true masks, but for the first image, which has none."""
    label_dir = folder / "made" if labels else None
    if labels:
        (label_dir / "labels").mkdir(parents=True)
        for path in sorted((root / "SegmentationClassAug").glob("train*"))[1:]:
            write_label_png(label_dir / "labels" / path.name, read_label_png(path))
    return RunSummary(
        name, folder, network=_network(folder / "net", root, number), label_dir=label_dir
    )


def _near(path, image):
    """Tell whether a JPEG is an image (H, W, 3) RGB."""
    found = cv2.imread(str(path))[..., ::-1].astype(float)
    return found.shape == image.shape and np.abs(found - image).mean() < 12


def _photo(root, name):
    return cv2.imread(str(root / "JPEGImages" / f"{name}.jpg"))[..., ::-1]


def test_images_are_spread_over_the_set_and_drawn_with_each_run(root, tmp_path):
    runs = [_run("one", tmp_path / "a", root, 1), _run("two", tmp_path / "b", root, 2)]
    out = tmp_path / "out"
    sections = draw_pictures(runs, out, num_images=3)
    assert list(sections) == [TRAIN, VAL]
    names = ["train_00000", "train_00002", "train_00005"]  # of six
    assert [list(row) for row in sections[TRAIN]] == [
        ["photo", "truth"],  # nobody made labels of it
        ["photo", "truth", "one", "two"],
        ["photo", "truth", "one", "two"],
    ]
    palette = module.DATASETS.get("ShapesDataset").METAINFO["palette"]
    for name, row in zip(names, sections[TRAIN], strict=True):
        photo = _photo(root, name)
        mask = read_label_png(root / "SegmentationClassAug" / f"{name}.png")
        assert _near(out / row["photo"], photo)
        assert not _near(out / row["photo"], _photo(root, "train_00001"))
        for column in list(row)[1:]:
            assert _near(out / row[column], overlay_label(photo, mask, palette))
    for number, row in enumerate(sections[VAL]):
        photo = _photo(root, f"val_{number:05d}")
        for value, column in ((1, "one"), (2, "two")):
            label = np.full(photo.shape[:2], value)
            assert _near(out / row[column], overlay_label(photo, label, palette))
            assert not _near(out / row[column], overlay_label(photo, 3 - label, palette))


def test_runs_without_labels_or_network_are_left_out_of_the_section(root, tmp_path):
    whole = _run("whole", tmp_path / "a", root, 1)
    bare = _run("end to end", tmp_path / "b", root, 2, labels=False)
    labels = RunSummary("labels", tmp_path / "c", label_dir=whole.label_dir)
    sections = draw_pictures([labels, whole, bare], tmp_path / "out", num_images=9)
    assert [len(rows) for rows in sections.values()] == [6, 3]  # no more than there are
    assert list(sections[TRAIN][1]) == ["photo", "truth", "labels", "whole"]
    assert list(sections[VAL][0]) == ["photo", "truth", "whole", "end to end"]
    assert list(draw_pictures([bare], tmp_path / "more", num_images=1)) == [VAL]
    assert draw_pictures([labels], tmp_path / "none") == {}


def test_without_masks_there_is_no_truth(root, tmp_path):
    run = _run("one", tmp_path / "a", root, 1)
    path = run.network / "toy.py"
    path.write_text(path.read_text().replace("seg_map_path='SegmentationClassAug'", ""))
    sections = draw_pictures([run], tmp_path / "out", num_images=2)
    assert [list(row) for row in sections[VAL]] == [["photo", "one"]] * 2


def test_the_page_opens_from_disk_and_names_are_escaped(root, tmp_path):
    name = "<b>'&\"</b>"
    run = _run(name, tmp_path / "a", root, 1)
    run.single, run.curve = {"seg/IoU.ball": 50.0}, [(1.0, 50.0)]
    page = write_comparison([run], tmp_path / "out", draw_pictures([run], tmp_path / "out", 2))
    text = page.read_text(encoding="utf-8")
    assert "<b>" not in text and text.count(html.escape(name)) == 3  # table, two sections
    sources = re.findall(r"src='([^']*)'", text)
    assert len(sources) == 2 + 2 * 3 - 1 + 2 * 3  # plots, training, validation
    moved = tmp_path / "elsewhere"
    (tmp_path / "out").rename(moved)
    assert all(not source.startswith("/") and (moved / source).is_file() for source in sources)
    assert str(tmp_path) not in text and "http" not in text


def test_a_folder_with_two_configs_is_refused(root, tmp_path):
    run = _run("one", tmp_path / "a", root, 1)
    (run.network / "other.py").write_text("")
    with pytest.raises(ValueError, match=r"must have one config file.*other\.py, toy\.py"):
        draw_pictures([run], tmp_path / "out")
