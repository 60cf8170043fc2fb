"""AFA: semantic segmentation learned from image-level labels, on mmengine and mmsegmentation."""

__version__ = "0.2.0"
