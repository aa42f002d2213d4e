"""How long the calls take where torch's threads wait as they do by default: for some milliseconds
after an operation they spin on all cores.

Run as `python spinning.py EFFORT B K+1 N`, a process of its own, since the policy is read once:
each call comes right after an operation of torch on all cores.
"""

import json
import os
import subprocess
import sys

T = 50
PEERS = {"eager", "sum"}  # always on all threads
POLICIES = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY"}


def spinning_times(effort, shape):
    """{threads: {name: {"ms": median, "calls": number}}}. `effort` is for `by_turns`."""
    environment = {name: value for name, value in os.environ.items() if name not in POLICIES}
    command = [sys.executable, "-W", "ignore", __file__, json.dumps(effort), *map(str, shape)]
    return json.loads(
        subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    )


def main(effort, *shape):
    import vqdiffusion
    from cases import Case
    from contestants import Contestants
    from timing import by_turns

    case = Case(*map(int, shape))
    contestants, sample = Contestants(case.embeddings), case.sample(T)
    steps = contestants.steps(case.outer, T, sample, with_numpy=False)
    inner = contestants.steps(case.model_output("inner"), T, sample, with_numpy=False)
    functions = {
        "eager": steps["eager"],
        "sum": steps["sum"],
        "gumbel": steps["gumbel"],
        "inverse": steps["inverse"],
        "inverse, inner": inner["inverse"],
        "q_posterior": contestants.posteriors(case.outer, T, sample)["q_posterior"],
        "guided": contestants.guided(case.unconditional(), case.outer, T, sample)["gumbel"],
    }

    def on(threads, function):
        vqdiffusion.set_num_threads(threads)
        function()

    both = {
        (n, name): lambda n=n, f=f: on(n, f)
        for n in (1, 2)
        for name, f in functions.items()
        if n == 2 or name not in PEERS
    }
    times = by_turns(both, **json.loads(effort))
    print(
        json.dumps(
            {n: {name: times[n, name] for name in functions if (n, name) in times} for n in (1, 2)}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
