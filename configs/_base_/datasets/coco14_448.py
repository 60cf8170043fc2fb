# MS COCO 2014, crops of 448.
_base_ = "./coco14.py"
crop_size = (448, 448)
train_pipeline = [
    dict(type="LoadPhoto", apply_exif=False),
    dict(type="RandomScale", ratio_range=(0.5, 2.0), backend="pillow"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
