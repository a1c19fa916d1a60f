"""Drawn scenes: pictures with instance masks, attributes that are known, captions and questions about them."""
