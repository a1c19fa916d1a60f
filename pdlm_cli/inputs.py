"""What can be said about an input, for the command line and the library alike. Imports nothing."""

# The readers' own names, in the order in which `auto` tries them.
FORMATS = (
    "auto",
    "coco-panoptic",
    "lvis",
    "coco-instances",
    "coco-boxes",
    "sa-1b",
    "paradlc-bench",
    "plain",
    "training",
    "labelme",
    "image-folder",
    "parquet-manifest",
)
EXIF = ("auto", "apply", "ignore")
MAX_PIXELS = 89_478_485  # of a picture: Pillow's own limit, a quarter of a GiB of RGB
MAX_REGIONS = 10_000  # of an image
# How `propose` looks for regions; see segmenter.Grid.
GRID = {"points": 32, "score": 0.88, "stability": 0.95, "overlap": 0.7, "area": 0.001}
FIELDS = ("input", "format", "images", "masks", "exif", "max_pixels", "max_regions", "allow_outside")
