"""Wrong splits, photos, masks, CAMs and folders."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from toy_coco import content, write_annotations, write_coco
from toy_faults import IDS, Fault, cut, remove, write

TRAIN, VAL = "data/ImageSets/train.txt", "data/ImageSets/val.txt"
LABELS, PHOTO = "data/image_labels.json", "data/JPEGImages/photo_02.jpg"
MASK, MAPS = "data/SegmentationClassAug/photo_02.png", "cams/maps/photo_02.npz"


def ids(*names):
    """Put ids into the list of a split, behind the right ones."""
    text = "\n".join([*IDS, *names]) + "\n"
    return lambda: [Path(path).write_text(text) for path in (TRAIN, VAL)]


def picture(path, array):
    """Write another picture, with Pillow."""
    return lambda: Image.fromarray(array).save(path)


def bmp_header(width, height):
    """Claim to be a picture of any size."""
    sizes = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + sizes + b"\1\0\x18\0" + bytes(24)


def maps(**changes):
    """Write other arrays into the maps of an image."""

    def harm():
        with np.load(MAPS) as file:
            arrays = {name: file[name] for name in file.files}
        np.savez_compressed(MAPS, **{**arrays, **changes})

    return harm


def one_array():
    """Write an array where a file of arrays ought to be."""
    with open(MAPS, "wb") as file:
        np.save(file, np.zeros(3))


def huge_header():
    """Write maps whose header claims 10^15 numbers."""
    with zipfile.ZipFile(MAPS, "w") as file:
        for name in ("classes", "maps", "size"):
            buffer = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                buffer, dict(descr="|u1", fortran_order=False, shape=(10**15,))
            )
            file.writestr(f"{name}.npy", buffer.getvalue())


def rename(old, new):
    return lambda: Path(old).rename(new)


def folder(path):
    return lambda: Path(path).mkdir(parents=True)


def coco(change):
    """Write a made-up COCO 2014, with other annotations."""

    def harm():
        Path("coco").mkdir()
        write_coco(Path("coco"))
        for split in ("train", "val"):
            made = content(split)
            change(made)
            write_annotations(Path("coco"), split, made)

    return harm


def boxes_alone(made):
    for item in made["annotations"]:
        item["segmentation"] = []


def parts_of_the_size(made):
    for item in made["annotations"]:
        item.update(segmentation=[[0.1, 0.1, 0.4, 0.1, 0.4, 0.4]], iscrowd=0)


def other_alphabet(made):
    category = next(one for one in made["categories"] if one["name"] == "cat")
    category["name"] = "\u0441\u0430t"


COCO = "dataset_converters/coco14.py coco --workers 0"
NOISE = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)

FAULTS = [
    Fault(
        "split missing", "train", "there is no file 'data/ImageSets/train.txt'", harm=remove(TRAIN)
    ),
    Fault(
        "split empty",
        "train",
        "'data/ImageSets/train.txt' (ann_file) is empty",
        harm=write(TRAIN, ""),
    ),
    Fault(
        "split blank",
        "train",
        "train.txt' is empty: it must name at least one",
        harm=write(TRAIN, " \n\n"),
    ),
    Fault(
        "image twice", "train", "names the image 'photo_01' twice: remove one", harm=ids("photo_01")
    ),
    Fault(
        "two ids in a line", "train", "one image id per line, got the line 'a b'", harm=ids("a b")
    ),
    Fault(
        "split no text", "train", "train.txt' cannot be read", harm=write(TRAIN, b"\xff\xfe\0\x99")
    ),
    Fault(
        "unknown image",
        "train",
        "1 of 5 image files are missing, the first is 'data/JPEGImages/photo_99.jpg'",
        harm=ids("photo_99"),
    ),
    Fault("id climbs, train", "train", "'../../photo_02'", harm=ids("../../photo_02")),
    Fault("id climbs, labels", "pseudo_labels", "'../../photo_02'", harm=ids("../../photo_02")),
    Fault("id climbs, features", "sub_categories", "'../../photo_02'", harm=ids("../../photo_02")),
    Fault("id climbs, walk", "random_walk", "'../../photo_02'", harm=ids("../../photo_02")),
    Fault(
        "id climbs, test",
        "test",
        "'../../photo_02'",
        "--format-only --out out/x",
        harm=ids("../../photo_02"),
    ),
    Fault("id absolute", "pseudo_labels", "'/tmp/photo_02'", harm=ids("/tmp/photo_02")),
    Fault("id with backslash", "pseudo_labels", "'..\\..\\photo_02'", harm=ids("..\\..\\photo_02")),
    Fault(
        "no data",
        "train",
        "there is no folder 'data' (data_root)",
        harm=rename("data", "elsewhere"),
    ),
    Fault(
        "photo empty",
        "train",
        "Photo 'data/JPEGImages/photo_02.jpg' is an empty file",
        harm=write(PHOTO, b""),
    ),
    Fault("photo cut", "train", "photo_02.jpg' is truncated", harm=cut(PHOTO)),
    Fault(
        "photo of a worker",
        "train",
        "photo_02.jpg' is truncated",
        "--cfg-options train_dataloader.num_workers=1",
        harm=cut(PHOTO),
    ),
    Fault(
        "photo is text",
        "test",
        "photo_02.jpg' is no picture of a kind that is read",
        harm=write(PHOTO, "hello"),
    ),
    Fault(
        "photo is HEIC",
        "test",
        "photo_02.jpg' is a HEIC file",
        harm=write(PHOTO, b"\0\0\0\x18ftypheic" + bytes(20)),
    ),
    Fault(
        "photo too large",
        "pseudo_labels",
        "photo_02.jpg' has",
        harm=write(PHOTO, bmp_header(60000, 60000)),
    ),
    Fault(
        "photo of floats",
        "pseudo_labels",
        "has floating-point values",
        harm=lambda: Image.fromarray(np.zeros((9, 9), np.float32)).save(PHOTO, "TIFF"),
    ),
    Fault(
        "photo a folder",
        "pseudo_labels",
        "Photo 'data/JPEGImages/photo_02.jpg' cannot be read",
        harm=lambda: (remove(PHOTO)(), folder(PHOTO)()),
    ),
    Fault(
        "no such photo",
        "predict.py afa.py afa.pth nowhere.jpg --out out",
        "There is no photo or folder 'nowhere.jpg'",
    ),
    Fault(
        "folder without photos",
        "predict.py afa.py afa.pth cams --out out",
        "There is no photo in 'cams'",
    ),
    Fault(
        "folder of another kind of photos",
        "predict.py afa.py afa.pth phone --out out",
        "There is no photo in 'phone': photos are files that end in",
        harm=lambda: (folder("phone")(), write("phone/a.HEIC", "x")(), write("phone/b.nef", "")()),
    ),
    Fault(
        "COCO of boxes alone",
        COCO,
        "None of the 12 annotations in 'coco/annotations/instances_train2014.json' has an outline",
        "--out out/coco",
        harm=coco(boxes_alone),
    ),
    Fault(
        "COCO in parts of the size",
        COCO,
        "None of the 12 annotations in 'coco/annotations/instances_train2014.json' covers a pixel",
        "--out out/coco",
        harm=coco(parts_of_the_size),
    ),
    Fault(
        "COCO of another alphabet",
        COCO,
        "got 80 with '\u0441\u0430t' (\\u0441\\u0430t)",
        "--out out/coco",
        harm=coco(other_alphabet),
    ),
    Fault("mask missing", "test", "1 of 4 mask files are missing, the first is", harm=remove(MASK)),
    Fault("mask cut", "test", "photo_02.png'", harm=cut(MASK)),
    Fault(
        "mask of another size", "test", "photo_02", harm=picture(MASK, np.zeros((7, 9), np.uint8))
    ),
    Fault(
        "mask with other values",
        "test",
        "photo_02",
        harm=picture(MASK, np.full((43, 38), 77, np.uint8)),
    ),
    Fault("mask in colours", "test", "photo_02", harm=picture(MASK, NOISE)),
    Fault(
        "mask of another size, training",
        "train.py affinity.py --work-dir out",
        "photo_02.png' is 9 x 7 pixels where its photo is",
        harm=picture(MASK, np.zeros((7, 9), np.uint8)),
    ),
    Fault("no CAMs", "random_walk", "There is no folder of maps 'cams'", harm=rename("cams", "x")),
    Fault(
        "CAM missing", "random_walk", "There are no maps of the image 'photo_02'", harm=remove(MAPS)
    ),
    Fault("CAM cut", "random_walk", "photo_02.npz' holds no maps, or is broken", harm=cut(MAPS)),
    Fault(
        "CAM is one array",
        "affinity_labels",
        "photo_02.npz'",
        harm=one_array,
    ),
    Fault(
        "CAM of objects", "affinity_labels", "photo_02.npz'", harm=maps(maps=np.array([None, {}]))
    ),
    Fault(
        "CAM of floats", "random_walk", "maps (M, h, w) uint8", harm=maps(maps=np.zeros((1, 3, 3)))
    ),
    Fault(
        "CAM of another class",
        "random_walk",
        "holds a map of class 9",
        harm=maps(classes=np.array([9], np.uint8)),
    ),
    Fault(
        "CAM of another photo",
        "random_walk",
        "holds maps of a photo of (5, 6) pixels",
        harm=maps(size=np.array([5, 6], np.int32)),
    ),
    Fault(
        "CAM without end",
        "affinity_labels",
        "photo_02.npz' holds no maps, or is broken",
        harm=huge_header,
    ),
    Fault("out is a file", "pseudo_labels", "'out/mine.txt' is a file", "--out out/mine.txt"),
    Fault(
        "out is of another tool",
        "pseudo_labels",
        "'out' has a folder 'labels', but no settings.json",
        harm=folder("out/labels"),
    ),
    Fault(
        "predictions over photos", "predict", "There is no photo in 'data/JPEGImages'", "--out data"
    ),
    Fault("work dir is a file", "train", "out/mine.txt' cannot be used", "--work-dir out/mine.txt"),
    Fault(
        "settings broken",
        "pseudo_labels",
        "'out' has a folder 'labels', but no settings.json",
        harm=lambda: (folder("out/labels")(), write("out/settings.json", "[" * 100000)()),
    ),
    Fault(
        "no run to compare", "analysis_tools/compare.py data --out out", "'data' is no work folder"
    ),
    Fault(
        "pipeline summary broken",
        "analysis_tools/compare.py run --out out",
        "pipeline.json' is not the summary",
        harm=lambda: (folder("run")(), write("run/pipeline.json", "{}")()),
    ),
    Fault(
        "scalars broken",
        "analysis_tools/compare.py run --out out",
        "scalars.json' is broken in line 1",
        harm=lambda: (
            folder("run/a/vis_data")(),
            write("run/a/vis_data/scalars.json", '{\n{"seg/mIoU": 1, "step": 2}')(),
        ),
    ),
    Fault(
        "stage record broken",
        "run_pipeline",
        "stage.json' is not the record of a stage",
        harm=lambda: (folder("out/01_cam")(), write("out/01_cam/stage.json", '{"a": 1}')()),
    ),
]

if __name__ == "__main__":
    sys.exit("faults_of_data is imported by the tests.")
