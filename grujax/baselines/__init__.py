"""The recurrent cells that a GRU is compared with.

Each cell is a pure function `cell(params, state, x) -> state` with a function that draws its
parameters. `grujax.scan_cell` runs it over time, with lengths, resets and both directions as for
the GRU. `min_gru` and `block_gru` run whole sequences themselves. `count_parameters` returns the
size of any of them, for comparisons at equal size.

    cell                    state        parameters
    rnn_cell                h [B, H]     I·H + H² + H
    lstm_cell               (h, c)       4·(I·H + H² + H)
    layer_norm_gru_cell     h [B, H]     3·(I·H + H²) + 6·H
    min_gru_cell            h [B, H]     2·(I·H + H)
    block_gru_cell          h [B, H]     DreamerV3's: blocks behind normalized layers
    block_gru, in K blocks  h [B, H]     3·(I·H + H²/K) + 4·H
    grujax.gru_cell         h [B, H]     3·(I·H + H²) + 4·H
"""

from grujax.baselines.block_gru import BlockGRUParams, block_gru, init_block_gru
from grujax.baselines.block_gru_cell import (
    BlockGRUCellParams,
    block_gru_cell,
    init_block_gru_cell,
)
from grujax.baselines.layer_norm_gru import (
    LayerNormGRUParams,
    init_layer_norm_gru,
    layer_norm_gru_cell,
)
from grujax.baselines.lstm import LSTMParams, LSTMState, init_lstm, lstm_cell
from grujax.baselines.min_gru import MinGRUParams, init_min_gru, min_gru, min_gru_cell
from grujax.baselines.rnn import RNNParams, init_rnn, rnn_cell
from grujax.params import count_parameters

__all__ = [
    "BlockGRUCellParams",
    "BlockGRUParams",
    "LSTMParams",
    "LSTMState",
    "LayerNormGRUParams",
    "MinGRUParams",
    "RNNParams",
    "block_gru",
    "block_gru_cell",
    "count_parameters",
    "init_block_gru",
    "init_block_gru_cell",
    "init_layer_norm_gru",
    "init_lstm",
    "init_min_gru",
    "init_rnn",
    "layer_norm_gru_cell",
    "lstm_cell",
    "min_gru",
    "min_gru_cell",
    "rnn_cell",
]
