# PASCAL VOC 2012 with the SBD masks, crops of 448.
_base_ = "./voc12_aug.py"
crop_size = (448, 448)
train_pipeline = [
    dict(type="LoadPhoto"),
    dict(type="RandomScale", ratio_range=(0.5, 2.0), backend="pillow"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCropPad", crop_size=crop_size),
    dict(type="PackWSSSInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
