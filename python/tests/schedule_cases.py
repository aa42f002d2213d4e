"""The schedules that tests of `vqdiffusion.schedules` go through."""

from vqdiffusion import schedules

# Every schedule that divides the lost mass by `mask_share`, and the share of its paper.
SHARED = [
    (schedules.log_linear, {}, 1),
    (schedules.log_linear, {"eps": 0}, 1),
    (schedules.log_linear, {"eps": 0.25}, 1),
    (schedules.cosine, {}, 1),
    (schedules.cosine, {"variant": "mdlm"}, 1),
    (schedules.cosine, {"variant": "maskgit"}, 1),
    (schedules.cosine, {"variant": "d3pm"}, 0),
    (schedules.polynomial, {}, 1),
    (schedules.polynomial, {"exponent": 0.25}, 1),
    (schedules.polynomial, {"exponent": 40}, 1),
    (schedules.geometric, {}, 0),
    (schedules.geometric, {"sigma_min": 1e-5, "sigma_max": 1e3}, 0),
    (schedules.geometric, {"sigma_min": 1e-3, "sigma_max": 1}, 0),
]
HYBRID = [(schedules.hybrid, {"p_uniform": p / 10}, None) for p in range(10)]
EVERY = [(schedules.linear, {}, None), *SHARED, *HYBRID]


def named(case):
    function, arguments, _ = case
    return "-".join([function.__name__, *(f"{key}={value}" for key, value in arguments.items())])
