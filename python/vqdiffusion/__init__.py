"""The VQ-Diffusion scheduler (Gu et al. 2021, arXiv 2111.14822) on NumPy arrays, computed by a
native module.
"""

from . import _native
from .functional import gumbel_noised, index_to_log_onehot
from .guidance import guide, truncate
from .output import VQDiffusionSchedulerOutput
from .row_keys import RowKeys
from .scheduler import VQDiffusionScheduler
from .schedules import alpha_schedules, gamma_schedules
from .scores import TokenScores, token_scores
from .step_plan import StepPlan
from .threads import get_num_threads, set_num_threads
from .timestep_sampler import TimestepSampler
from .training import VQDiffusionLossOutput
from .unmask import Unmask

__version__: str = _native.version()

__all__ = [
    "RowKeys",
    "StepPlan",
    "TimestepSampler",
    "TokenScores",
    "Unmask",
    "VQDiffusionLossOutput",
    "VQDiffusionScheduler",
    "VQDiffusionSchedulerOutput",
    "__version__",
    "alpha_schedules",
    "gamma_schedules",
    "get_num_threads",
    "guide",
    "gumbel_noised",
    "index_to_log_onehot",
    "set_num_threads",
    "token_scores",
    "truncate",
]
