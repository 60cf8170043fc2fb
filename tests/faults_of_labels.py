"""Wrong image labels: JSON and VOC's annotations."""

import sys
from pathlib import Path

from toy_faults import IDS, Fault, cut, remove, write, write_json

LABELS = "data/image_labels.json"
XML = "--cfg-options train_dataloader.dataset.image_labels=Annotations"


def labels(**changes):
    """Change entries of the image labels."""
    return write_json(LABELS, {**{img_id: ["a"] for img_id in IDS}, **changes})


def xml(text):
    """Write annotations, one of them wrong."""

    def harm():
        Path("data/Annotations").mkdir()
        for img_id in IDS:
            good = "<annotation><object><name>a</name></object></annotation>"
            Path(f"data/Annotations/{img_id}.xml").write_text(good)
        if text is None:
            Path("data/Annotations/photo_02.xml").unlink()
        else:
            write("data/Annotations/photo_02.xml", text)()

    return harm


def own(*lines, first="photo,labels", classes=None):
    """Write the labels of photos of one's own; '{0}' is the first photo, and so on."""
    rows = [line.format(*(f"{img_id}.jpg" for img_id in IDS)) for line in lines]

    def harm():
        write("own/labels.csv", "\n".join([first, *rows]) + "\n")()
        if classes is not None:
            write("own/classes.txt", "\n".join(classes))()

    return harm


def own_json(*labels):
    """Write the labels of photos of one's own as JSON."""
    content = {f"{img_id}.jpg": one for img_id, one in zip(IDS, labels, strict=False)}
    return lambda: (remove("own/labels.csv")(), write_json("own/labels.json", content)())


def odd_label(text):
    """Write one label that is no class name, among others that are."""
    text = text.replace("{", "{{").replace("}", "}}")
    return own("{0},cat", "{1},dog", f"{{2}},{text}", "{3},cat")


CYRILLIC = "\u0441\u0430t"  # looks like cat
BOMB = (
    '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;">]>'
    "<annotation><object><name>&y;</name></object></annotation>"
)
FILE_ENTITY = (
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<annotation><object><name>&x;</name></object></annotation>"
)
NUMBER = "9" * 5000

FAULTS = [
    Fault(
        "labels missing",
        "train",
        "there is no 'data/image_labels.json' (image_labels)",
        harm=remove(LABELS),
    ),
    Fault(
        "labels empty",
        "train",
        "Malformed JSON in 'data/image_labels.json'",
        harm=write(LABELS, ""),
    ),
    Fault("labels cut", "train", "Malformed JSON in 'data/image_labels.json'", harm=cut(LABELS)),
    Fault("labels a list", "train", "got another JSON value", harm=write_json(LABELS, [1, 2])),
    Fault(
        "labels deep",
        "train",
        "Malformed JSON in 'data/image_labels.json'",
        harm=write(LABELS, "[" * 100000),
    ),
    Fault(
        "labels huge number",
        "train",
        "'data/image_labels.json'",
        harm=write(LABELS, f'{{"photo_00": [{NUMBER}]}}'),
    ),
    Fault(
        "labels no list",
        "train",
        "value of 'photo_01' is not a list of class names",
        harm=labels(photo_01="a"),
    ),
    Fault(
        "labels twice",
        "train",
        "names the image 'photo_00' twice",
        harm=write(LABELS, '{"photo_00": ["a"], "photo_00.jpg": ["b"]}'),
    ),
    Fault(
        "labels of COCO",
        "train",
        "'data/image_labels.json' is an export of an annotation tool, COCO JSON: make labels.csv "
        "of it with `python tools/dataset_converters/annotations.py 'data/image_labels.json'`",
        harm=write_json(LABELS, dict(images=[], annotations=[], categories=[])),
    ),
    Fault(
        "labels of Label Studio",
        "train",
        "an export of an annotation tool, Label Studio (JSON)",
        harm=write_json(LABELS, [dict(id=1, data={}, annotations=[])]),
    ),
    Fault(
        "no annotations",
        "dataset_converters/annotations.py data/none.xml",
        "There are no annotations 'data/none.xml'",
    ),
    Fault(
        "annotations of nothing",
        "dataset_converters/annotations.py data/ImageSets",
        "'data/ImageSets' has no annotations of a form that is read: COCO JSON; CVAT",
    ),
    Fault(
        "annotations cut",
        "dataset_converters/annotations.py data/x.json",
        "'data/x.json' is malformed (",
        harm=write("data/x.json", '{"images": ['),
    ),
    Fault(
        "label maps of other photos",
        "dataset_converters/export_labels.py cams data --classes a --form coco --out out/x",
        "There is no label map (.png) in 'cams'",
    ),
    Fault(
        "label maps without classes",
        "dataset_converters/export_labels.py data/SegmentationClassAug data/JPEGImages",
        "give their names in the order of their values with --classes",
        "--form cvat --out out/x",
    ),
    Fault(
        "label maps with too few classes",
        "dataset_converters/export_labels.py data/SegmentationClassAug data/JPEGImages",
        "has the value 2, and there are 1 classes: give all of them (--classes)",
        "--classes a --form fiftyone --out out/x",
    ),
    Fault("label unknown", "train", "Unknown class 'aa' in", harm=labels(photo_01=["aa"])),
    Fault("no label", "train", "'photo_01' has an empty list", harm=labels(photo_01=[])),
    Fault(
        "XML missing",
        "train",
        "Annotation 'data/Annotations/photo_02.xml' cannot be read",
        XML,
        harm=xml(None),
    ),
    Fault(
        "XML empty",
        "train",
        "Malformed annotation 'data/Annotations/photo_02.xml'",
        XML,
        harm=xml(""),
    ),
    Fault(
        "XML cut",
        "train",
        "Malformed annotation 'data/Annotations/photo_02.xml'",
        XML,
        harm=xml("<annotation><object>"),
    ),
    Fault("XML entities", "train", "photo_02.xml': declares a DOCTYPE", XML, harm=xml(BOMB)),
    Fault(
        "XML file entity", "train", "photo_02.xml': declares a DOCTYPE", XML, harm=xml(FILE_ENTITY)
    ),
    Fault(
        "XML without objects",
        "train",
        "no <object> with a <name> in",
        XML,
        harm=xml("<annotation/>"),
    ),
    Fault(
        "XML unknown class",
        "train",
        "Unknown class 'cat' in",
        XML,
        harm=xml("<a><object><name>cat</name></object></a>"),
    ),
    Fault(
        "XML huge number",
        "train",
        "<difficult> must be 0 or 1, got '99999999999999999999'",
        XML + " train_dataloader.dataset.difficult=drop",
        harm=xml(f"<a><object><name>a</name><difficult>{NUMBER}</difficult></object></a>"),
    ),
    *(
        Fault(f"own label {text}", "train_own", f"'{said}' is no class name: {why}", harm=harm)
        for said, why, text, harm in [
            *(
                (said, "leave the labels of a photo without any class empty", said, odd_label(said))
                for said in ("nan", "None", "-", "#N/A", "<NA>", "null", "?")
            ),
            *(
                (said, "write ';' or '|' between the labels", text, odd_label(text))
                for said, text in (
                    ("cat/dog", "cat/dog"),
                    ("cat & dog", "cat & dog"),
                    ("cat+dog", "cat+dog"),
                    ("['cat'", "['cat'"),
                    ("'cat' 'dog'", "\"['cat' 'dog']\""),
                    ("{'cat'}", "{'cat'}"),
                    ("'cat", "'cat"),
                    ("\u201ccat\u201d", "\u201ccat\u201d"),
                    ("cat=1", "cat=1"),
                )
            ),
            ("nan", "leave the labels", "nan in JSON", own_json(["cat"], ["dog"], ["nan"])),
            ("cat;dog", "write ';'", "cat;dog in JSON", own_json(["cat"], ["dog"], ["cat;dog"])),
        ]
    ),
    Fault(
        "own labels in a row",
        "train_own",
        "('cat dog' is made of cat and dog; 'dog_cat' is made of dog and cat): write ';'",
        harm=own("{0},cat", "{1},dog", "{2},cat dog", "{3},dog_cat"),
    ),
    Fault(
        "own labels with and",
        "train_own",
        "'cat and dog' is made of cat and dog",
        harm=own_json(["cat"], ["dog"], ["cat and dog"]),
    ),
    Fault(
        "own labels 0 and 1",
        "train_own",
        "are only 0 and 1: name the column after the class",
        harm=own("{0},0", "{1},1", "{2},1", first="photo,label"),
    ),
    Fault(
        "own column none",
        "train_own",
        "The column 'none' of 'own/labels.csv' is no class",
        harm=own("{0},1,0", "{1},0,1", first="photo,cat,none"),
    ),
    Fault(
        "own first line sep alone",
        "train_own",
        "own/labels.csv' has no column 'photo', got name, class",
        harm=own("name;class", "{0};cat", first="sep=;"),
    ),
    Fault(
        "own labels of two alphabets",
        "train_own",
        "is all but 'cat': keep one spelling",
        harm=own("{0},cat", f"{{1}},{CYRILLIC}"),
    ),
    Fault(
        "own label of another alphabet",
        "train_own",
        f"Unknown class '{CYRILLIC}' (\\u0441\\u0430t) in 'own/labels.csv', line 3: did you mean",
        harm=own("{0},cat", f"{{1}},{CYRILLIC}", classes=["cat", "dog"]),
    ),
    Fault(
        "own class in two forms",
        "train_own",
        "The class 'ch\u00e2t' of 'own/classes.txt' is there twice",
        harm=own("{0},ch\u00e2t", classes=["ch\u00e2t", "cha\u0302t\u200b"]),
    ),
    Fault(
        "label of another alphabet",
        "train",
        "Unknown class '\u0430' (\\u0430) in 'data/image_labels.json: photo_01': did you mean 'a'?",
        harm=labels(photo_01=["\u0430"]),
    ),
    Fault(
        "XML of another alphabet",
        "train",
        "Unknown class '\uff42' (\\uff42) in 'data/Annotations/photo_02.xml': did you mean 'b'?",
        XML,
        harm=xml("<a><object><name>\uff42</name></object></a>"),
    ),
]

if __name__ == "__main__":
    sys.exit("faults_of_labels is imported by the tests.")
