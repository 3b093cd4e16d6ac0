"""The textbook form, compared with a transcription of its equations."""

import numpy as np
import pytest

import grujax
from grujax.convert import from_textbook, to_textbook
from tests.helpers import Draw, assert_close, assert_equal

T, B, I, H = 7, 4, 3, 5  # noqa: E741
XS, H0 = Draw("xs", "float32").normal(T, B, I), Draw("h0", "float32").normal(B, H)


def random_weights(biases: bool = True) -> list[np.ndarray]:
    draw = Draw("textbook", "float32")
    matrices = [draw.normal(H, H + I, scale=0.6) for _ in range(3)]
    return matrices + [draw.normal(H, scale=0.5) for _ in range(3 * biases)]


def run_textbook(w_z, w_r, w_h, b_z=0.0, b_r=0.0, b_h=0.0):
    """The equations as printed, for one column [h, x] at a time."""

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    hs = np.zeros((T, B, H), "float32")
    last = H0.copy()
    for b in range(B):
        h = H0[b]
        for t in range(T):
            x = XS[t, b]
            z = sigmoid(w_z @ np.concatenate([h, x]) + b_z)
            r = sigmoid(w_r @ np.concatenate([h, x]) + b_r)
            candidate = np.tanh(w_h @ np.concatenate([r * h, x]) + b_h)
            h = (1 - z) * h + z * candidate
            hs[t, b] = h
        last[b] = h
    return last, hs


@pytest.mark.parametrize("biases", [True, False])
def test_agrees_with_the_equations(biases):
    weights = random_weights(biases)
    assert_close(grujax.gru(from_textbook(*weights), XS, H0), run_textbook(*weights), "float32")


def test_to_textbook_agrees_with_the_equations():
    params = Draw("params", "float32").params(I, H, reset_after=False)
    got = run_textbook(*map(np.asarray, to_textbook(params)))
    assert_close(got, grujax.gru(params, XS, H0), "float32")


def test_a_round_trip_is_exact():
    weights = random_weights()
    assert_equal(list(to_textbook(from_textbook(*weights))), weights)
    assert to_textbook(from_textbook(*weights))._fields == (
        "w_z",
        "w_r",
        "w_h",
        "b_z",
        "b_r",
        "b_h",
    )


def test_errors_name_the_matrix():
    w_z, w_r, w_h, b_z, *_ = random_weights()
    with pytest.raises(ValueError, match=r"`w_h` has shape \[5, 7\], expected .*H = 5 and I = 3"):
        from_textbook(w_z, w_r, w_h[:, 1:])
    with pytest.raises(ValueError, match=r"`w_r` has shape \[5, 5\], expected \[H, H \+ I\]"):
        from_textbook(*np.ones((3, 5, 5), "f"))
    with pytest.raises(ValueError, match=r"`b_z` has shape \[4\], expected \[H\] with H = 5"):
        from_textbook(w_z, w_r, w_h, b_z[1:])
    with pytest.raises(ValueError, match=r"textbook's GRU .*`reset_after=False`"):
        to_textbook(Draw("after", "float32").params(I, H))
