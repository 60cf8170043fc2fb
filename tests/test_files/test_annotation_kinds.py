"""The JSON of a tool is told from labels."""

import pytest

from afa.files.annotation_kinds import KINDS, kind_of_json, refuse_annotations


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (dict(images=[], annotations=[], categories=[]), "coco"),
        (dict(images=[], categories=[]), "coco"),
        ([dict(id=1, data={}, annotations=[])], "label-studio"),
        (dict(id=1, data={}, predictions=[]), "label-studio"),
        ([dict(id=1, image="a.jpg", annotation_id=1)], "label-studio"),
        (dict(shapes=[], imagePath="a.jpg"), "labelme"),
        ({"a.jpg": ["cat"], "images": ["dog"]}, None),
        ([dict(name="cat", color="#ffffff")], None),
        ([], None),
        ([1, 2], None),
        ("images", None),
        (None, None),
    ],
)
def test_kind_of_json(value, kind):
    assert kind_of_json(value) == kind and (kind is None or kind in KINDS)


def test_what_is_no_annotation_passes():
    refuse_annotations({"a.jpg": ["cat"]}, "labels.json")
    with pytest.raises(
        ValueError, match=r"^'x/y.json' is .* COCO JSON: make labels.csv of it with"
    ):
        refuse_annotations(dict(images=[], annotations=[]), "x/y.json")
