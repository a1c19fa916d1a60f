"""PerceptionDLM as a batch command line: images and masks in, a Parquet table of captions out."""

__version__ = "0.1.0"
