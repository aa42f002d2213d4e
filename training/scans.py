"""The scans and their split, the same for training and for evaluation."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT = 360


def load_scans():
    """Returns (x_train, y_train, x_held_out, y_held_out): grey levels 0 … 16 of shape (scans, 64),
    and their digits.

    load_digits has 1797 scans; 360 of them, every digit in its share, are held out of training. The
    split is fixed.
    """
    scans = load_digits()
    x = scans.data.astype(np.int64)
    x_train, x_held_out, y_train, y_held_out = train_test_split(
        x, scans.target, test_size=HELD_OUT, stratify=scans.target, random_state=0
    )
    return x_train, y_train, x_held_out, y_held_out
