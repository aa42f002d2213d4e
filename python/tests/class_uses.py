"""A use of every public class, on input large enough for threads, that always gives the same bytes;
and all uses of such a module in children, while another thread computes.
"""

import hashlib
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import numpy as np
from reference import random_classes, random_log_p

import vqdiffusion
from vqdiffusion import RowKeys, TimestepSampler, Unmask, VQDiffusionScheduler

K, B, N = 131, 4, 300
CHILDREN = {"fork": 5, "spawn": 1, "forkserver": 1}  # one after the other


def inputs():
    rng = np.random.default_rng(12)
    return random_log_p(rng, B, K, N), random_classes(rng, B, K, N)


LOG_P, X = inputs()


def step(scheduler):
    return scheduler.step(LOG_P, 60, X, 5).prev_sample


def guided_step(scheduler):
    return scheduler.guided_step(LOG_P[:, ::-1], LOG_P, 60, X, 5, truncation_rate=0.86).prev_sample


def planned_step(scheduler):
    plan = scheduler.plan(60, X, 5)
    return scheduler.step(LOG_P.transpose(0, 2, 1)[plan.needed].T, 60, X, plan=plan).prev_sample


def sample_timesteps(sampler):
    return sampler.sample(1000, 3)[0]


def use_loss(scheduler):
    return scheduler.loss(LOG_P, X % K, X, [60, 1, 0, 99]).gradient


# What makes the object, and what is done with it.
USES = {
    "step, inverse_cdf": (lambda: VQDiffusionScheduler(K + 1), step),
    "step, gumbel": (lambda: VQDiffusionScheduler(K + 1, sampling_method="gumbel"), step),
    "guided_step": (lambda: VQDiffusionScheduler(K + 1), guided_step),
    "plan": (lambda: VQDiffusionScheduler(K + 1), planned_step),
    "q_posterior": (lambda: VQDiffusionScheduler(K + 1), lambda s: s.q_posterior(LOG_P, X, 60)),
    "add_noise": (lambda: VQDiffusionScheduler(K + 1), lambda s: s.add_noise(X, 60, 5)),
    "loss": (lambda: VQDiffusionScheduler(K + 1), use_loss),
    "Unmask": (
        lambda: Unmask("margin", temperature=1),
        lambda unmask: VQDiffusionScheduler(K + 1).step(LOG_P, 60, X, 5, unmask=unmask).prev_sample,
    ),
    "RowKeys": (lambda: RowKeys(3, range(B)), lambda keys: keys.uniforms(60, (K, N))),
    "TimestepSampler": (lambda: TimestepSampler(100), sample_timesteps),
    "guide, truncate": (
        lambda: None,
        lambda _: vqdiffusion.truncate(vqdiffusion.guide(LOG_P[:, ::-1], LOG_P, 3.0), 0.86),
    ),
    "token_scores": (
        lambda: None,
        lambda _: np.stack(vqdiffusion.token_scores(LOG_P, np.full((B, N), 0.3))),
    ),
    "gumbel_noised": (lambda: None, lambda _: vqdiffusion.gumbel_noised(LOG_P, 5)),
}


def digest(use, made=None):
    """Of the bytes of a use, of an object of its own where none is given."""
    make, apply = use
    result = np.ascontiguousarray(apply(make() if made is None else made))
    return hashlib.sha256(result.tobytes()).hexdigest()


def on_threads(use, number, times):
    """The digest of a use on one thread, and all of those of one object that so many threads use at
    once, each of which starts others.
    """
    vqdiffusion.set_num_threads(1)
    expected, made = digest(use), use[0]()
    vqdiffusion.set_num_threads(3)
    together = threading.Barrier(number)

    def work(_):
        together.wait()
        return {digest(use, made) for _ in range(times)}

    with ThreadPoolExecutor(number) as pool:
        return expected, set().union(*pool.map(work, range(number)))


def use_all(module, objects, results):
    uses = import_module(module).USES
    vqdiffusion.set_num_threads(4)
    results.put({name: digest(uses[name], made) for name, made in objects.items()})


def main(method, module="class_uses", child=use_all):
    """Prints a line for each use of the module: its name, and whether all children of this start
    method had the bytes that this process has.
    """
    uses = import_module(module).USES
    vqdiffusion.set_num_threads(4)
    expected = {name: digest(use) for name, use in uses.items()}
    objects = {name: make() for name, (make, _) in uses.items()}
    ended = threading.Event()

    def compute():
        while not ended.is_set():
            digest(USES["step, gumbel"])

    other = threading.Thread(target=compute)
    other.start()
    context = multiprocessing.get_context(method)
    right = dict.fromkeys(uses, 0)
    for _ in range(CHILDREN[method]):
        results = context.SimpleQueue()
        process = context.Process(target=child, args=(module, objects, results))
        process.start()
        process.join(100)
        if process.exitcode != 0:
            process.kill()  # it hangs, or has crashed
            break
        for name, found in results.get().items():
            right[name] += found == expected[name]
    ended.set()
    other.join()
    for name, number in right.items():
        print(f"{name}: {'right' if number == CHILDREN[method] else 'wrong'}")
