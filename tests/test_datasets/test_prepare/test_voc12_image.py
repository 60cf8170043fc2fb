import re

import cv2
import numpy as np
import pytest
from PIL import Image
from toy_voc import mask, write_mask, write_mat

from afa.datasets.prepare.voc12_image import VOC12Image, prepare_image


@pytest.fixture
def sources(voc_tree):
    sources = voc_tree.sources()
    sources.target("x").parent.mkdir()
    return sources


def stored(sources, img_id: str) -> np.ndarray:
    with Image.open(sources.target(img_id)) as image:
        assert image.mode == "P"
        return np.array(image)


def test_mask_of_voc_comes_before_that_of_sbd(sources):
    image = prepare_image("2007_000001", sources)
    assert image == VOC12Image(
        "2007_000001", made_from="VOC", names=("dog", "person"), in_mask=("dog",)
    )
    np.testing.assert_array_equal(stored(sources, "2007_000001"), mask(12, 255))
    colors = cv2.imread(str(sources.target("2007_000001")))[0, :, ::-1]
    assert colors[0].tolist() == [64, 0, 128] and colors[2].tolist() == [224, 224, 192]


def test_mask_of_sbd_where_voc_has_none(sources):
    image = prepare_image("2008_000001", sources)
    # Names stand in the order of the classes, not in that of the annotation.
    assert image == VOC12Image(
        "2008_000001", made_from="SBD", names=("cat", "chair"), in_mask=("cat", "chair")
    )
    np.testing.assert_array_equal(stored(sources, "2008_000001"), mask(9, 0, 8, height=9))


def test_difficult_objects_count_unless_dropped(sources):
    both = [prepare_image("2007_000001", sources, difficult) for difficult in ("keep", "drop")]
    assert [image.names for image in both] == [("dog", "person"), ("dog",)]
    assert not any(image.only_difficult for image in both)


def test_an_image_of_difficult_objects_only_keeps_them(sources):
    image = prepare_image("2008_000002", sources, "drop")
    assert image.names == ("bird",) and image.only_difficult
    assert not prepare_image("2008_000002", sources, "keep").only_difficult


def test_a_mask_that_is_there_is_kept_unless_overwritten(sources):
    target = sources.target("2007_000001")
    write_mask(target, mask(15))
    before = target.read_bytes()
    image = prepare_image("2007_000001", sources)
    assert target.read_bytes() == before
    assert (image.made_from, image.in_mask, image.differs) == ("", ("person",), True)
    image = prepare_image("2007_000001", sources, overwrite=True)
    assert (image.made_from, image.in_mask, image.differs) == ("VOC", ("dog",), False)
    image = prepare_image("2007_000001", sources)
    assert (image.made_from, image.differs) == ("", False)


def test_ready_masks_fill_what_voc_lacks(voc_tree):
    ready = voc_tree.folder / "ready"
    ready.mkdir()
    for img_id in ("2007_000001", "2008_000001"):
        Image.fromarray(mask(7, height=6 if "2007" in img_id else 9)).save(ready / f"{img_id}.png")
    sources = voc_tree.sources(masks=ready, out=voc_tree.folder / "out")
    sources.target("x").parent.mkdir(parents=True)
    assert prepare_image("2007_000001", sources).made_from == "VOC"
    assert prepare_image("2008_000001", sources).made_from == "ready"
    np.testing.assert_array_equal(stored(sources, "2008_000001"), mask(7, height=9))


def test_masks_in_place_are_never_made_from_themselves(voc_tree):
    own = voc_tree.voc / "SegmentationClassAug"
    own.mkdir()
    write_mask(own / "2008_000001.png", mask(7, height=9))
    before = (own / "2008_000001.png").read_bytes()
    image = prepare_image("2008_000001", voc_tree.sources(masks=own), overwrite=True)
    assert not image.fault and not image.made_from
    assert (own / "2008_000001.png").read_bytes() == before


def mat(tree):
    return tree.sbd / "cls" / "2008_000001.mat"


def xml(tree):
    return tree.voc / "Annotations" / "2008_000001.xml"


def photo(tree):
    return tree.voc / "JPEGImages" / "2008_000001.jpg"


def own(tree):
    return tree.voc / "SegmentationClassAug" / "2008_000001.png"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda t: mat(t).unlink(), r"no mask of '2008_000001' in VOC's .*dataset'\.$"),
        (lambda t: mat(t).write_bytes(b"x" * 300), r"SBD file '.*2008_000001\.mat' is broken"),
        (
            lambda t: write_mat(mat(t), mask(9, height=8)),
            r"Mask '.*mat' has 8x8 pixels, its photo 8x9: replace one",
        ),
        (
            lambda t: write_mat(mat(t), mask(9, 21, 22, height=9)),
            r"Mask '.*mat' has the value 21, which is neither 0..20 nor 255",
        ),
        (lambda t: write_mask(own(t), mask(254, height=9)), r"Aug.*png' has the value 254"),
        (lambda t: write_mask(own(t), mask(1)), r"Aug.*png' has 8x6 pixels, its photo 8x9"),
        (lambda t: own(t).write_bytes(b"PNG"), r"is no PNG file"),
        (lambda t: Image.new("RGB", (8, 9)).save(own(t)), r"got 8-bit RGB: take the masks before"),
        (lambda t: xml(t).unlink(), r"Annotation '.*2008_000001\.xml' cannot be read \(No such"),
        (lambda t: xml(t).write_text("<annotation>"), r"Malformed annotation"),
        (lambda t: t.write_xml("2008_000001", []), r"no <object>"),
        (lambda t: t.write_xml("2008_000001", [("cap", 0)]), r"Unknown class 'cap'.*'cat'"),
        (lambda t: photo(t).unlink(), r"Photo '.*2008_000001\.jpg' cannot be read \(no such file"),
        (lambda t: photo(t).write_bytes(b"JFIF"), r"Photo '.*jpg' cannot be read \(.*: replace it"),
    ],
)
@pytest.mark.parametrize("difficult", ["keep", "drop"])
def test_every_fault_is_one_line_and_makes_no_mask(
    voc_tree, sources, contents, harm, message, difficult
):
    harm(voc_tree)
    before = contents(voc_tree.voc)
    image = prepare_image("2008_000001", sources, difficult)
    assert image == VOC12Image("2008_000001", fault=image.fault)
    assert re.search(message, image.fault), image.fault
    assert "\n" not in image.fault
    assert contents(voc_tree.voc) == before


def test_a_mask_that_cannot_be_written_stops_the_run(sources):
    sources.target("x").parent.rmdir()
    with pytest.raises(OSError):
        prepare_image("2008_000001", sources)
