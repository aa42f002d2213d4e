"""Steps on arrays that another thread overwrites meanwhile, also with classes that there are not.
What returns holds classes, whatever was read; prints how many calls returned and how many raised.
The argument is the number of seconds.
"""

import sys
import threading
import time

import numpy as np

from vqdiffusion import RowKeys, Unmask, VQDiffusionScheduler, set_num_threads, token_scores

BATCH, CLASSES, PIXELS, T = 2, 300, 200, 10
GARBAGE = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0, -70, -1e-30], np.float32)


def overwrite(log_p, uncond, x, known, good_log_p, ended):
    """Mostly with good values, so that many calls get past the first check."""
    rng = np.random.default_rng(5)
    while not ended.is_set():
        row, k, i = rng.integers(BATCH), rng.integers(CLASSES), rng.integers(PIXELS)
        for array in log_p, uncond:
            array[row, k] = rng.choice(GARBAGE)
            array[row, :, i] = rng.choice(GARBAGE)
        x[row, i] = rng.integers(-(2**62), 2**62)
        known[row, i] = rng.choice([-1, 2**40, 5, CLASSES])
        for array in log_p, uncond:
            array[:] = good_log_p
        x[:] = rng.integers(CLASSES - 3, CLASSES + 1, x.shape)
        known[:] = -1
        time.sleep(1e-4)


def calls(scheduler, log_p, uncond, x, known, rng):
    """Functions that return an array of classes."""
    t = int(rng.integers(T))
    keys = RowKeys(3, range(BATCH))
    planner = VQDiffusionScheduler(CLASSES + 1, T, sampling_method="inverse_cdf")
    plan = planner.plan(t, x.clip(0, CLASSES), 1)
    guided = scheduler.guided_step
    unmask = Unmask(by="margin", count=9)
    return [
        lambda: scheduler.step(log_p, t, x, rng).prev_sample,
        lambda: scheduler.step(log_p, t, x, [1, 2], known=known).prev_sample,
        lambda: scheduler.step(log_p, t, x, keys, check_finite=True).prev_sample,
        lambda: scheduler.step(log_p, t, x, rng, unmask=unmask).prev_sample,
        lambda: planner.step(log_p, t, x, plan=plan).prev_sample,
        lambda: guided(uncond, log_p, t, x, rng, truncation_rate=0.9).prev_sample,
        lambda: guided(uncond, log_p, t, x, rng, top_k=7, known=known).prev_sample,
        lambda: token_scores(log_p, uncond[:, 0]).token,
        lambda: scheduler.q_posterior(log_p, x, t).argmax(1),
        lambda: scheduler.add_noise(x, t, rng),
        lambda: scheduler.loss(log_p, x.clip(0, CLASSES - 1), x, [1, t]).gradient.argmax(1),
    ]


def main(seconds=1.5):
    rng = np.random.default_rng(8)
    good = np.log(rng.dirichlet(np.ones(CLASSES), (BATCH, PIXELS))).transpose(0, 2, 1)
    good = np.ascontiguousarray(good, np.float32)
    log_p, uncond = good.copy(), good.copy()
    x, known = np.full((BATCH, PIXELS), CLASSES), np.full((BATCH, PIXELS), -1)
    ended = threading.Event()
    thread = threading.Thread(target=overwrite, args=(log_p, uncond, x, known, good, ended))
    thread.start()
    returned = raised = 0
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            for method in "inverse_cdf", "gumbel":
                scheduler = VQDiffusionScheduler(CLASSES + 1, T, sampling_method=method)
                set_num_threads(int(rng.integers(1, 4)))
                for call in calls(scheduler, log_p, uncond, x, known, rng):
                    try:
                        tokens = call()
                    except ValueError:
                        raised += 1
                        continue
                    assert 0 <= tokens.min() and tokens.max() <= CLASSES, tokens
                    returned += 1
    finally:
        ended.set()
        thread.join()
    print(returned, raised)


if __name__ == "__main__":
    sys.setswitchinterval(1e-5)
    main(*map(float, sys.argv[1:]))
