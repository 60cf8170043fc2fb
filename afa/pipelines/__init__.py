"""Stages of a multi-stage method: what runs, what it reads, what it leaves behind."""

from afa.pipelines.pipeline import Pipeline, load_pipeline
from afa.pipelines.stage import Stage
