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
]

if __name__ == "__main__":
    sys.exit("faults_of_labels is imported by the tests.")
