"""The Ray Data job: every row once and with the same tokens, however it is divided and whatever
dies.
"""

import functools
import subprocess
import sys
import threading

import million_chains
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import ray.data
from ray_session import EXAMPLES, kill, processes, surroundings, wait_until

import ray_batch
from vqdiffusion import RowKeys, VQDiffusionScheduler
from vqdiffusion.demo.denoiser import DigitDenoiser

pytestmark = pytest.mark.filterwarnings("default")  # Ray warns of itself

ROWS, SEED, STEPS = 280, 7, 10
DRAWER = functools.partial(ray_batch.DrawDigits, SEED, STEPS)
ARGUMENTS = f"--rows {ROWS} --rows-per-shard 7 --seed {SEED} --steps {STEPS} --workers 2".split()


@pytest.fixture(scope="module")
def session():
    ray.cloudpickle.register_pickle_by_value(ray_batch)
    ray.cloudpickle.register_pickle_by_value(million_chains)
    with surroundings() as folder:
        ray_batch.start_ray(workers=2)
        yield folder
        ray.shutdown()


@pytest.fixture(scope="module")
def tokens():
    """One batch and no Ray."""
    scheduler = VQDiffusionScheduler(18, timestep_spacing="trailing")
    scheduler.set_timesteps(STEPS)
    model, keys = DigitDenoiser(), RowKeys(SEED, range(ROWS))
    x_t = np.full((ROWS, 64), scheduler.mask_class)
    for t in scheduler.timesteps:
        x_t = scheduler.step(model(x_t, t, np.arange(ROWS) % 10), t, x_t, keys).prev_sample
    return x_t


def check(table, tokens):
    """Every row once, with its own tokens."""
    table = table.sort_by("id")
    np.testing.assert_array_equal(table["id"].to_numpy(), np.arange(ROWS))
    np.testing.assert_array_equal(np.stack(table["tokens"].to_numpy()), tokens)


def check_folder(folder, tokens, shards):
    assert len(list(folder.glob("*.parquet"))) == shards
    check(pq.read_table(folder), tokens)


def shards_in(folder):
    """Each with what tells whether it was written again."""
    return {path: path.stat().st_ino for path in folder.glob("*.parquet")}


@pytest.mark.parametrize(
    "blocks, workers, shuffle", [(40, 1, None), (7, 2, 3)], ids=["40 blocks", "7 shuffled"]
)
def test_division_into_shards(session, tmp_path, tokens, blocks, workers, shuffle):
    assert ray_batch.run(tmp_path, DRAWER, ROWS, ROWS // blocks, workers, shuffle) == ROWS
    check_folder(tmp_path, tokens, blocks)
    last = tmp_path / ray_batch.shard_name(ROWS - ROWS // blocks, ROWS)
    assert pq.read_table(last)["id"].to_pylist() == list(range(ROWS - ROWS // blocks, ROWS))


def test_shuffled_rows_of_a_file(session, tmp_path, tokens, rng):
    """Rows that stand beside others in every block."""
    ids = rng.permutation(ROWS)
    pq.write_table(pa.table({"id": ids, "label": ids % 10}), tmp_path / "requests.parquet")
    file = ray.data.read_parquet(str(tmp_path / "requests.parquet")).materialize()
    assert file.num_blocks() == 1  # so one worker would draw it all
    for blocks, workers in (7, 1), (40, 2):
        requests = file.repartition(target_num_rows_per_block=ROWS // blocks).materialize()
        assert requests.num_blocks() == blocks
        drawn = requests.map_batches(
            ray_batch.DrawDigits,
            fn_constructor_args=(SEED, STEPS),
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
        )
        tables = drawn.iter_batches(batch_format="pyarrow", batch_size=None)
        check(pa.concat_tables(tables), tokens)


def test_a_worker_is_killed(session, tmp_path, tokens):
    written = []

    def kill_one():
        wait_until(lambda: len(shards_in(tmp_path)) >= 5)
        kill(processes(session, "WriteShards")[0])
        written.append(len(shards_in(tmp_path)))

    killer = threading.Thread(target=kill_one)
    killer.start()
    assert ray_batch.run(tmp_path, DRAWER, ROWS, 7, workers=2) == ROWS
    killer.join()
    assert 5 <= written[0] < 40
    check_folder(tmp_path, tokens, 40)


def test_the_driver_is_killed_and_the_job_resumed(session, tmp_path, tokens, capsys):
    folder = tmp_path / "digits"
    arguments = [str(folder), *ARGUMENTS]
    with surroundings() as ray_folder:
        command = [sys.executable, str(EXAMPLES / "ray_batch.py"), *arguments]
        driver = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: len(shards_in(folder)) >= 5)
        finally:
            driver.kill()
            driver.wait()
        wait_until(lambda: not processes(ray_folder, "WriteShards"))  # the workers end with it
    before = shards_in(folder)
    assert 5 <= len(before) < 40
    ray_batch.main(arguments)
    assert capsys.readouterr().out.startswith(f"{7 * len(before)} digits were there, ")
    check_folder(folder, tokens, 40)
    assert before.items() <= shards_in(folder).items()
    ray_batch.main(arguments)
    assert capsys.readouterr().out.startswith(f"{ROWS} digits were there, 0 were drawn ")


def test_shards_of_another_job_are_refused(tmp_path):
    ray_batch.remember_job(tmp_path, {"seed": 7, "rows": 10})
    ray_batch.remember_job(tmp_path, {"seed": 7, "rows": 10})
    with pytest.raises(SystemExit, match="holds another job: .*7.*, not .*8"):
        ray_batch.remember_job(tmp_path, {"seed": 8, "rows": 10})


def test_a_file_that_could_not_be_written_is_not_there(tmp_path):
    def fail(path):
        path.write_text("half")
        raise OSError

    with pytest.raises(OSError):
        ray_batch.write_whole(tmp_path / "shard", fail)
    assert not list(tmp_path.iterdir())


def test_marginals_of_many_chains(session, tmp_path):
    """False-alarm rate 1e-6 for each statistic."""
    million_chains.run(tmp_path, rows=20_000, rows_per_shard=5_000, steps=25, workers=2)
    for name, statistic, freedom, p in million_chains.statistics(tmp_path):
        assert p > 1e-6, (name, statistic, freedom)
