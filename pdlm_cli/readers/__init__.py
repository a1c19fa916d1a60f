"""One module per input format, each with NAME, EXPECTED, recognises(value) and read(value)."""
