"""Structured attention: who sees whom, read off the layout.

Two regions, one RoI token and two caption tokens each (columns are keys):

                 released              isolated
               c c r s R G           c c r s R R G G
    context    1 1 1 1 1 1           1 1 0 0 0 0 0 0
    context    1 1 1 1 1 1           1 1 0 0 0 0 0 0
    RoI 0      1 1 1 1 1 1           1 1 1 0 0 0 0 0
    RoI 1      1 1 1 1 1 1           1 1 0 1 0 0 0 0
    caption 0  1 1 1 0 1 0           1 1 1 0 1 1 0 0
    caption 1  1 1 0 1 0 1           1 1 0 1 0 0 1 1

Under "full" every row is 1 1 1 1 1 1: what the other two are compared with.
"""

from torch import Tensor

from model.layout import Kind


def structured_mask(
    kind: Tensor,
    region: Tensor,
    attention: str,
    rows: slice | Tensor = slice(None),
    columns: slice = slice(None),
    twin: Tensor | None = None,
) -> Tensor:
    """(B, 1, Q, K) bool, True where a row of `rows` may attend to a token of `columns`.

    kind, region: (B, L) as in `Layout`. attention: "released", "isolated" or "full" (see `RegionConfig`). rows: the
    same of all, or (B, Q) of each.
    twin: (B, L) as in `Batch`, under "isolated" alone; a caption and its twin do not see each other.
    """
    q_kind, q_region = _at(kind, rows), _at(region, rows)
    k_kind, k_region = kind[:, None, columns], region[:, None, columns]
    assert twin is None or attention == "isolated"
    if attention == "full":
        return (k_kind != Kind.PAD).expand(-1, q_kind.shape[1], -1).unsqueeze(1)
    context = k_kind == Kind.CONTEXT
    own = (q_region == k_region) & (k_region >= 0)
    if attention == "released":
        sees = (q_kind != Kind.CAPTION) | context | own
    else:
        sees = context | (own & ((q_kind == Kind.CAPTION) | (k_kind == Kind.ROI)))
        # Text between RoI spans is there only where positions are released; it serves no one but itself.
        sees = sees | ((q_kind == Kind.GAP) & (k_kind == Kind.GAP))
        if twin is not None:
            sees = sees & ((k_kind != Kind.CAPTION) | (_at(twin, rows) == twin[:, None, columns]))
    return (sees & (k_kind != Kind.PAD)).unsqueeze(1)


def _at(table: Tensor, rows: slice | Tensor) -> Tensor:
    """(B, Q, 1) of a table (B, L)."""
    return (table[:, rows] if isinstance(rows, slice) else table.gather(1, rows)).unsqueeze(2)
