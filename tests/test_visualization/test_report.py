import base64
import re

import cv2
import numpy as np
import pytest

from afa.visualization.report import Report, as_text, report_page

JPEG = cv2.imencode(".jpg", np.full((8, 8, 3), 200, np.uint8))[1].tobytes()


def _pictures(page):
    found = re.findall(r'src="data:image/(?:png|jpeg);base64,([^"]+)"', page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), 1) for one in found]


def test_an_empty_report_has_its_title_alone():
    page = report_page(Report("run"))
    assert "<h1>run</h1>" in page and "<h2>" not in page and "<img" not in page


def test_everything_is_inside_and_nothing_comes_from_elsewhere():
    report = Report(
        "run",
        verdict=["Labels 46, segmentation 3."],
        recipe={"Method": "AFA"},
        figures={"seg/mIoU": 50.04, "seg/IoU.dog": 40.0, "par/IoU.dog": 60.0},
        curves={"seg/mIoU": [(2, 10.0), (4, 50.0)]},
        losses={"loss_cls": [(2, 0.7), (4, 0.1)]},
        phases={"cls": 0, "pseudo": 2},
        steps=[(2, JPEG), (4, JPEG)],
        extremes={"The best images": JPEG},
        confusion=np.array([[90, 10], [3, 1]]),
        classes=["background", "dog"],
        cost={"Training": "2 s"},
        versions={"afa": "0"},
        config="lr = 1",
    )
    page = report_page(report)
    assert len(_pictures(page)) == 7 and all(one is not None for one in _pictures(page))
    assert '<th>segmentation</th><td class="number">50.0</td>' in page
    assert 'dog taken for background</th><td class="number">75 % of its pixels' in page
    assert 'background taken for dog</th><td class="number">10 % of its pixels' in page
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "http" not in page


def test_texts_are_no_html():
    page = report_page(Report("<b>run", verdict=["a < b"], config="<script>"))
    assert "<b>" not in page and "&lt;b&gt;run" in page and "a &lt; b" in page
    assert page.count("<script>") == 1


def test_the_last_validation_is_shown_and_a_slider_only_where_there_are_several():
    page = report_page(Report("run", steps=[(2, JPEG), (4, JPEG)]))
    shown = re.findall(r"<figure data-step( hidden)?><figcaption>iteration (\d)", page)
    assert shown == [(" hidden", "2"), ("", "4")] and 'max="1" value="1"' in page
    assert 'type="range"' not in report_page(Report("run", steps=[(2, JPEG)]))


def test_many_classes_have_the_pairs_and_no_matrix():
    counts = np.eye(30, dtype=int) * 50
    counts[4, 7] = 50
    names = [f"c{number}" for number in range(30)]
    page = report_page(Report("run", confusion=counts, classes=names))
    assert "c4 taken for c7" in page and page.count("taken for ") == 1 and not _pictures(page)


@pytest.mark.parametrize("value, text", [(0.00010, "0.0001"), ((0.9, "a"), "0.9, a"), (3, "3")])
def test_values_are_short(value, text):
    assert as_text(value) == text
