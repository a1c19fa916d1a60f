"""What scenes may be asked for; light to import, for the command line."""

SPLITS = ("train", "val", "test")
FORMATS = ("json", "parquet", "coco", "paradlc")
SMALLEST_SIZE, LARGEST_SIZE = 64, 1024  # pixels along the shorter side
MOST_OBJECTS = 10
LARGEST_SEED = 2**32 - 1  # one word of a random stream's name: with two, scene 0 of it would be scene 1 of another
