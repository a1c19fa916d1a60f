"""One module per input format, each with NAME, REGION_IDS and `read`, which gives records.

REGION_IDS: "file" or "image", within which region ids must be unique. Readers of JSON also have recognises(shape).
"""
