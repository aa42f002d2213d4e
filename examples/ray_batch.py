"""A Ray Data job that draws digits, in Parquet files, on any number of workers.

    pip install '.[ray]'
    python examples/ray_batch.py digits --rows 1000 --workers 2

Row `id` of the job is the digit `id % 10`. Its tokens depend on the seed and its id alone, however
rows are divided among workers, since `RowKeys` draws them and the network computes every row by
itself: no output for a row differs, in any bit, with the rows beside it. Whoever takes another
network has to measure that, or always show it batches of one size.

Each file (a shard) holds the rows of a range of ids, is named by the range, and appears whole or
not at all. A worker that dies is replaced and its shards are drawn again, with the same tokens. The
same command after the whole job died draws only the shards that are missing. The folder has to be
one that all workers see.
"""

import argparse
import functools
import json
import os
import time
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

import vqdiffusion
from vqdiffusion import RowKeys, VQDiffusionScheduler
from vqdiffusion.demo.denoiser import DigitDenoiser


class DrawDigits:
    """For `map_batches` of rows in any order and number: adds the column `tokens` to `id` and
    `label`.
    """

    def __init__(self, seed, steps):
        vqdiffusion.set_num_threads(1)  # the workers share the cores
        self.seed = seed
        self.denoiser = DigitDenoiser()
        self.scheduler = VQDiffusionScheduler(
            self.denoiser.num_classes + 1, timestep_spacing="trailing"
        )
        self.scheduler.set_timesteps(steps)

    def __call__(self, batch):
        labels = batch["label"]
        keys = RowKeys(self.seed, batch["id"])
        x_t = self.scheduler.sample_prior((len(labels), self.denoiser.num_pixels), keys)
        for t in self.scheduler.timesteps:
            log_p = self.denoiser(x_t, t, labels)
            x_t = self.scheduler.step(log_p, t, x_t, keys).prev_sample
        return {**batch, "tokens": x_t.astype(np.uint8)}


def requests(first, stop):
    """The rows of the job with ids first … stop - 1."""
    ids = np.arange(first, stop)
    return {"id": ids, "label": ids % 10}


class WriteShards:
    """For `map_batches` of shards, one row each with `first` and `stop`: draws and writes them.

    `make_drawer()` returns the callable that draws a batch; it is called once for each worker.
    """

    def __init__(self, folder, make_drawer):
        self.folder = Path(folder)
        self.draw = make_drawer()

    def __call__(self, shards):
        for first, stop in zip(shards["first"].tolist(), shards["stop"].tolist(), strict=True):
            columns = self.draw(requests(first, stop))
            table = pa.table(
                {
                    name: pa.FixedSizeListArray.from_arrays(array.ravel(), array.shape[1])
                    if array.ndim == 2
                    else array
                    for name, array in columns.items()
                }
            )
            write_whole(
                self.folder / shard_name(first, stop), lambda path: pq.write_table(table, path)
            )
        return {"rows": shards["stop"] - shards["first"]}


def write_whole(path, write):
    """Write a file under another name and rename it: `path` is never a part of it. Two who write
    the same shard leave one file.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.unfinished")
    try:
        write(unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def shard_name(first, stop):
    return f"{first:012}-{stop - 1:012}.parquet"


def shard_ranges(rows, rows_per_shard):
    return [(first, min(first + rows_per_shard, rows)) for first in range(0, rows, rows_per_shard)]


def remember_job(folder, job):
    """Refuse a folder that holds the shards of another job."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "_job.json"  # readers of a folder of Parquet skip names with _ or .
    if not path.exists():
        write_whole(path, lambda unfinished: unfinished.write_text(json.dumps(job) + "\n"))
    found = json.loads(path.read_text())
    if found != job:
        raise SystemExit(f"{folder} holds another job: {found}, not {job}")


def start_ray(workers):
    """Join the cluster of RAY_ADDRESS, or start Ray here until the program ends."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # tell no one
    if "RAY_ADDRESS" in os.environ:
        ray.init()
        return
    # Logical CPUs: a worker holds one, and Ray Data's own tasks need one beside them. With as many
    # as workers the job would wait for ever.
    ray.init(
        num_cpus=workers + 1,
        object_store_memory=128 << 20,  # the rows go to the files, hardly anything through Ray
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
    )


def run(folder, make_drawer, rows, rows_per_shard, workers, shuffle=None):
    """Draw the missing shards. Ray has been started. Returns the number of rows drawn."""
    left = [
        {"first": first, "stop": stop}
        for first, stop in shard_ranges(rows, rows_per_shard)
        if not (folder / shard_name(first, stop)).exists()
    ]
    if not left:
        return 0
    if shuffle is not None:
        np.random.default_rng(shuffle).shuffle(left)
    # One shard is one block: what is drawn again when a worker dies.
    shards = ray.data.from_items(left, override_num_blocks=len(left))
    done = shards.map_batches(
        WriteShards,
        fn_constructor_args=(str(folder), make_drawer),
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(left))),
    )
    return sum(int(batch["rows"].sum()) for batch in done.iter_batches())


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rows-per-shard", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=25, help="calls of the network, 1 to 100")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="draw the shards in any order")
    given = parser.parse_args(arguments)
    for name, most in (("rows", None), ("rows_per_shard", None), ("steps", 100), ("workers", None)):
        value = getattr(given, name)
        if value < 1 or most is not None and value > most:
            limits = "at least 1" if most is None else f"from 1 to {most}"
            parser.error(f"--{name.replace('_', '-')} must be {limits}, not {value}")
    names = "rows", "rows_per_shard", "seed", "steps"
    remember_job(given.folder, {name: getattr(given, name) for name in names})
    start_ray(given.workers)
    start = time.perf_counter()
    rows = run(
        given.folder.resolve(),
        functools.partial(DrawDigits, given.seed, given.steps),
        given.rows,
        given.rows_per_shard,
        given.workers,
        given.shuffle,
    )
    seconds = time.perf_counter() - start
    print(
        f"{given.rows - rows} digits were there, {rows} were drawn in {seconds:.1f} s "
        f"by {given.workers} workers."
    )


if __name__ == "__main__":
    main()
