"""The contract for time, by Newton's method: picked cases, since its programs compile slowly."""

import jax
import pytest

from tests.grujax import test_contract as contract
from tests.grujax import test_regularizers as regularizers
from tests.grujax.implementations import test_truncated as truncated
from tests.helpers import CASES, Inputs

BY_NAME = {str(case): case for case in CASES}


@pytest.mark.parametrize(
    ("case", "reset_after", "reverse"),
    [
        ("lengths and resets", True, False),
        ("mask, lengths and resets", False, True),
        ("long", False, False),
        ("unbatched", True, True),
        ("no steps", True, False),
        ("no rows", True, False),
        ("size one", True, True),
    ],
)
def test_outputs_and_gradients_equal_the_reference(x64, case, reset_after, reverse):
    contract.test_outputs_and_gradients_equal_the_textbook(
        None, BY_NAME[case], reset_after, reverse, "newton"
    )


PICKED = {
    "chunks": (contract.test_hundreds_of_steps_with_few_resets_agree_with_plain, (False, True)),
    "padding": (contract.test_the_padding_changes_nothing, (True, False)),
    "clipped lengths": (contract.test_lengths_out_of_range_are_clipped_under_jit, (True,)),
    "models": (contract.test_vmap_equals_a_loop, ({"params"}, True, False)),
    "everything mapped": (contract.test_vmap_equals_a_loop, (set(Inputs._fields), False, True)),
    "gradient over models": (contract.test_grad_of_vmap_over_models_equals_a_loop, (False, True)),
    "second order": (contract.test_gradients_of_gradients_equal_plain, (True, False)),
    "checkpoint": (contract.test_works_without_jit_and_under_checkpoint, ()),
    "training": (
        regularizers.test_outputs_and_gradients_equal_the_reference_with_these_masks,
        ("both", jax.random.key(7), True, False),
    ),
    "evaluation": (
        regularizers.test_outputs_and_gradients_equal_the_reference_with_these_masks,
        ("both", None, False, True),
    ),
    "truncated": (truncated.test_gradients_stop_between_segments, (4, True, False)),
    "in pieces": (truncated.test_a_sequence_in_pieces_equals_the_whole_sequence, (True,)),
}


# By the rules that "scan" shares, whose own tests are in the first tier; dear here.
SLOW = ("models", "gradient over models", "checkpoint", "evaluation", "truncated", "in pieces")


@pytest.mark.parametrize(
    ("check", "arguments"),
    [
        pytest.param(*picked, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for name, picked in PICKED.items()
    ],
)
def test_keeps_the_contract(x64, check, arguments):
    check(None, *arguments, "newton")


@pytest.mark.parametrize(
    ("check", "arguments"),
    [
        (contract.test_float32_agrees_to_1e_5, (True, False)),
        (contract.test_without_steps_h_last_is_h0_bit_for_bit, (False,)),
        (contract.test_a_nan_in_one_row_stays_in_that_row, (False,)),
        (contract.test_outputs_have_the_promoted_dtype_and_gradients_their_own, contract.DTYPES[0]),
        (contract.test_bfloat16_is_close_to_float64_over_many_steps, (True, False)),
        (contract.test_exports_for_every_platform, ("tpu",)),
        (contract.test_exports_with_symbolic_time_and_batch_sizes, (True,)),
        (regularizers.test_bfloat16_stays_bfloat16, ()),
        (regularizers.test_rates_of_zero_leave_the_program_unchanged, ()),
    ],
    ids=lambda value: value.__name__.removeprefix("test_") if callable(value) else "",
)
def test_keeps_the_contract_in_half_and_single_precision(check, arguments):
    check(*arguments, "newton")
