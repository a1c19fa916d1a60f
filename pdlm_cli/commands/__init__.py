"""One module per command: flags in, one library call, exit code out."""
