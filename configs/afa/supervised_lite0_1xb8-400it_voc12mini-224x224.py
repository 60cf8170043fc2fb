# Upper bound on voc12-mini: the segmentation network of the methods, trained on the true masks of all 900 photos.
_base_ = "../affinitynet/segment_lite0_1xb8-400it_voc12mini-224x224.py"
train_dataloader = dict(dataset=dict(data_prefix=dict(seg_map_path="SegmentationClassAug")))
