"""`pdlm report`: one HTML page over a run of `pdlm caption`. The summary at the end of a run is pdlm_cli/report.py.

run directory -> record (record.py) -> cards: thumbnail, outlines, captions (cards.py, outlines.py)
              -> charts (charts.py)                                          -> page (page.py; page.html, .css, .js)
"""
