"""What scenes may be asked for; light to import, for the command line."""

SPLITS = ("train", "val", "test")
FORMATS = ("json", "parquet", "coco", "paradlc")
SMALLEST_SIZE, LARGEST_SIZE = 64, 1024  # pixels along the shorter side
MOST_OBJECTS = 10
