import html
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from toy_stages import write_pictures

from afa.files.label_png import read_label_png, write_label_png
from afa.pipelines import comparison as module
from afa.pipelines.comparison import (
    Section,
    comparison_table,
    draw_pictures,
    name_apart,
    per_class,
    write_comparison,
)
from afa.pipelines.run_summary import RunSummary
from afa.visualization import grid, overlay_label
from afa.visualization.pictures import IGNORE_COLOR


def runs(tmp_path):
    one = RunSummary(
        "end <to> end", tmp_path / "a", 3, 1, 90.0, 2048.0, {"labels": 61.25},
        {"seg/mIoU": 70.04, "seg/IoU.cat": 60.0}, {"seg/mIoU": 71.0, "crf/mIoU": 73.0},
        [(60.0, 50.0), (90.0, 70.04)],
    )  # fmt: skip
    return [one, RunSummary("bare", tmp_path / "b", single={"seg/mIoU": 10.0})]


def test_table(tmp_path):
    rows = comparison_table(runs(tmp_path)).splitlines()
    assert (
        rows[2] == "| end <to> end | 1 | 3 | 1.5 min | 2.0 GiB | labels 61.2 | 70.0 | 71.0 | 73.0 |"
    )
    assert rows[3] == "| bare | 1 | 1 | 0.0 min | - | - | 10.0 | - | - |"
    assert len({row.count("|") for row in rows}) == 1


def test_runs_of_one_method_are_told_apart_by_their_folders(tmp_path):
    folders = ["a/one", "a/two", "b/two", "c"]
    names = ["AFA", "AFA", "AFA", "SC-CAM"]
    given = [RunSummary(n, tmp_path / f) for n, f in zip(names, folders, strict=True)]
    assert [run.name for run in name_apart(given)] == [
        "AFA (one)", f"AFA ({tmp_path}/a/two)", f"AFA ({tmp_path}/b/two)", "SC-CAM"
    ]  # fmt: skip
    assert [run.name for run in given] == names
    same = [given[3], given[3]]
    assert [run.name for run in name_apart(same)] == ["SC-CAM", "SC-CAM"]  # a run with itself


def test_per_class(tmp_path):
    assert per_class(runs(tmp_path)[0]) == {"cat": 60.0}


class Images(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.sources.append(dict(attrs)["src"])

    def handle_data(self, data):
        self.text += data


def test_page(tmp_path):
    rows = [{"photo": "pictures/a.jpg", "end": "pictures/b.jpg"}, {"end": "c.jpg"}]
    legend = [("cat <1>", np.array([1, 2, 3])), ("undecided", (224, 224, 192))]
    pictures = {"val": Section(rows, ["one & only", "two"], legend, "pictures/val.png")}
    page = write_comparison(runs(tmp_path), tmp_path / "out", pictures)
    parser = Images()
    parser.feed(page.read_text())
    assert "end <to> end" in parser.text  # escaped in the file
    assert parser.sources[2:] == ["pictures/a.jpg", "pictures/b.jpg", "c.jpg"]
    text = page.read_text()
    assert "<tr><td>two</td><td></td><td><img" in text  # a missing picture leaves its place empty
    assert "<th>image</th><th>photo</th><th>end</th>" in text
    assert "<tr><td>one &amp; only</td><td><img" in text
    assert "<i style='background:rgb(1, 2, 3)'></i>cat &lt;1&gt;</span>" in text
    assert "<i style='background:rgb(224, 224, 192)'></i>undecided</span>" in text
    assert "<a href='pictures/val.png'>" in text
    for name in parser.sources[:2]:
        assert (page.parent / name).read_bytes().startswith(b"\x89PNG")
    content = json.loads((page.parent / "comparison.json").read_text())
    assert content[0]["curve"] == [[60.0, 50.0], [90.0, 70.04]]
    assert content[0]["labels_train"] == {"labels": 61.25}


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
    names = ["train_00001", "train_00003", "train_00005"]  # nobody made labels of the first of six
    assert [list(row) for row in sections[TRAIN].rows] == [["photo", "truth", "one", "two"]] * 3
    palette = module.DATASETS.get("ShapesDataset").METAINFO["palette"]
    assert sections[TRAIN].names == names
    for name, row in zip(names, sections[TRAIN].rows, strict=True):
        photo = _photo(root, name)
        mask = read_label_png(root / "SegmentationClassAug" / f"{name}.png")
        assert _near(out / row["photo"], photo)
        assert not _near(out / row["photo"], _photo(root, "train_00002"))
        for column in list(row)[1:]:
            assert _near(out / row[column], overlay_label(photo, mask, palette))
    for number, row in enumerate(sections[VAL].rows):
        photo = _photo(root, f"val_{number:05d}")
        for value, column in ((1, "one"), (2, "two")):
            label = np.full(photo.shape[:2], value)
            assert _near(out / row[column], overlay_label(photo, label, palette))
            assert not _near(out / row[column], overlay_label(photo, 3 - label, palette))


def test_a_sheet_has_titles_names_and_the_colours_of_what_occurs(root, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "grid", lambda *given: seen.append(given) or grid(*given))
    sections = draw_pictures([_run("one", tmp_path / "a", root, 1)], tmp_path / "out", num_images=2)
    meta = module.DATASETS.get("ShapesDataset").METAINFO
    for section, (rows, titles, names, legend) in zip(sections.values(), seen, strict=True):
        assert titles == ["photo", "truth", "one"] and names == section.names
        assert [len(row) for row in rows] == [3, 3]
        known = dict(zip(meta["classes"], meta["palette"], strict=True), undecided=IGNORE_COLOR)
        assert legend == section.legend == [(name, known[name]) for name, _ in legend]
        sheet = cv2.imread(str(tmp_path / "out" / section.sheet))[..., ::-1]
        for _, color in legend:  # an entry has a square of its colour beneath the pictures
            assert (sheet[-60:] == color).all(2).sum() > 60
    masks = [read_label_png(root / f"SegmentationClassAug/val_{i:05d}.png") for i in (0, 2)]
    values = {1, *(int(value) for mask in masks for value in np.unique(mask))}
    assert [name for name, _ in sections[VAL].legend if name != "undecided"] == [
        meta["classes"][value] for value in sorted(values - {255})
    ]


def test_runs_without_labels_or_network_are_left_out_of_the_section(root, tmp_path):
    whole = _run("whole", tmp_path / "a", root, 1)
    bare = _run("end to end", tmp_path / "b", root, 2, labels=False)
    labels = RunSummary("labels", tmp_path / "c", label_dir=whole.label_dir)
    sections = draw_pictures([labels, whole, bare], tmp_path / "out", num_images=9)
    assert [len(section.rows) for section in sections.values()] == [5, 3]  # all that have labels
    assert list(sections[TRAIN].rows[1]) == ["photo", "truth", "labels", "whole"]
    assert list(sections[VAL].rows[0]) == ["photo", "truth", "whole", "end to end"]
    assert list(draw_pictures([bare], tmp_path / "more", num_images=1)) == [VAL]
    assert draw_pictures([labels], tmp_path / "none") == {}


def test_without_masks_there_is_no_truth(root, tmp_path):
    run = _run("one", tmp_path / "a", root, 1)
    path = run.network / "toy.py"
    path.write_text(path.read_text().replace("seg_map_path='SegmentationClassAug'", ""))
    sections = draw_pictures([run], tmp_path / "out", num_images=2)
    assert [list(row) for row in sections[VAL].rows] == [["photo", "one"]] * 2


def test_the_page_opens_from_disk_and_names_are_escaped(root, tmp_path):
    name = "<b>'&\"</b>"
    run = _run(name, tmp_path / "a", root, 1)
    run.single, run.curve = {"seg/IoU.ball": 50.0}, [(1.0, 50.0)]
    page = write_comparison([run], tmp_path / "out", draw_pictures([run], tmp_path / "out", 2))
    text = page.read_text(encoding="utf-8")
    assert "<b>" not in text and text.count(html.escape(name)) == 3  # table, two sections
    sources = re.findall(r"src='([^']*)'", text)
    assert len(sources) == 2 + 2 * 3 + 2 * 3  # plots, training, validation
    moved = tmp_path / "elsewhere"
    (tmp_path / "out").rename(moved)
    assert all(not source.startswith("/") and (moved / source).is_file() for source in sources)
    assert str(tmp_path) not in text and "http" not in text


def test_a_folder_with_two_configs_is_refused(root, tmp_path):
    run = _run("one", tmp_path / "a", root, 1)
    (run.network / "other.py").write_text("")
    with pytest.raises(ValueError, match=r"must have one config file.*other\.py, toy\.py"):
        draw_pictures([run], tmp_path / "out")
