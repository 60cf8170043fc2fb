import json
from html.parser import HTMLParser

from afa.pipelines.comparison import comparison_table, name_apart, per_class, write_comparison
from afa.pipelines.run_summary import RunSummary


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
    pictures = {"val": [{"photo": "pictures/a.jpg", "end": "pictures/b.jpg"}, {"end": "c.jpg"}]}
    page = write_comparison(runs(tmp_path), tmp_path / "out", pictures)
    parser = Images()
    parser.feed(page.read_text())
    assert "end <to> end" in parser.text  # escaped in the file
    assert parser.sources[2:] == ["pictures/a.jpg", "pictures/b.jpg", "c.jpg"]
    assert "<tr><td></td><td><img" in page.read_text()  # a missing picture leaves its place empty
    for name in parser.sources[:2]:
        assert (page.parent / name).read_bytes().startswith(b"\x89PNG")
    content = json.loads((page.parent / "comparison.json").read_text())
    assert content[0]["curve"] == [[60.0, 50.0], [90.0, 70.04]]
    assert content[0]["labels_train"] == {"labels": 61.25}
