"""Other forms of a finished table, one file each, written part by part."""

# The forms, and the name each file has in the folder of its run.
EXPORTS = {
    "coco": "coco.json",
    "jsonl": "captions.jsonl",
    "paradlc": "paradlc.json",
    "csv": "captions.csv",
    "webdataset": "webdataset.tar",
}
