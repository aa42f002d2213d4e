"""How long the calls take where torch's threads wait as they do by default: for some milliseconds after an operation they spin on all cores.

Run as `python spinning.py SECONDS B K+1 N`, a process of its own, since the policy is read once: each call comes right after `torch.sum`.
"""

import json
import os
import subprocess
import sys

T = 50


def spinning_times(seconds, shape):
    """{name: {"ms": median, "calls": number}}."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-W", "ignore", __file__, str(seconds), *map(str, shape)]
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main(seconds, *shape):
    from cases import Case
    from contestants import Contestants
    from timing import by_turns

    case = Case(*map(int, shape))
    contestants, sample = Contestants(case.embeddings), case.sample(T)
    functions = contestants.steps(case.outer, T, sample, with_numpy=False)
    functions["inverse, inner"] = contestants.steps(case.model_output("inner"), T, sample, with_numpy=False)["inverse"]
    functions["q_posterior"] = contestants.posteriors(case.outer, T, sample)["q_posterior"]
    functions["guided"] = contestants.guided(case.unconditional(), case.outer, T, sample)["gumbel"]
    one_read = functions.pop("sum")
    times = {}
    for name, function in functions.items():
        times |= by_turns({"sum": one_read, name: function}, float(seconds))
    print(json.dumps(times))


if __name__ == "__main__":
    main(*sys.argv[1:])
