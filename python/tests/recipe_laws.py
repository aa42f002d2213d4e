"""The reverse steps of other papers as these write them, in float64.

Each function gives the law of one pixel at s, (K,), or (K + 1,) with the mask at the end, from what
the network says of it, p (K,), and from what it shows at t, x. Nothing here comes from the package,
and no function shares a formula with another. Times are those of the package: t = 0 … T - 1, -1 is
clean data.
"""

import math

import numpy as np

# ---- MDLM, arXiv 2406.07524 ----------------------------------------------------------------------


def mdlm_alpha(noise, u):
    """α at time u by the total noise -log α of their code."""
    if noise == "loglinear":
        return math.exp(math.log1p(-(1 - 1e-3) * u))
    return 1e-3 + (1 - 1e-3) * math.cos(math.pi / 2 * u)


def mdlm(p, x, alpha_t, alpha_s):
    """Section 3.2: carry-over, else a class or the mask."""
    k = len(p)
    if x != k:
        return np.eye(k + 1)[x]
    reveal = (alpha_s - alpha_t) / (1 - alpha_t)
    return np.append(reveal * p, (1 - alpha_s) / (1 - alpha_t))


# ---- D3PM, arXiv 2107.03006 ----------------------------------------------------------------------


def d3pm_absorbing_matrix(k, beta):
    """Q_t with a mask at the end; rows are what a pixel was."""
    matrix = (1 - beta) * np.eye(k + 1)
    matrix[:, k] += beta
    return matrix


def d3pm_uniform_matrix(k, beta):
    return (1 - beta) * np.eye(k) + beta / k


def d3pm_cosine_betas(steps):
    f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2)
    return np.minimum(1 - f[1:] / f[:-1], 0.999)


def d3pm(p, x, matrices, t, s):
    """Eq. 4 with eq. 3: Σ_j q(x_s, x_t | x_0 = j) p_j, normalised, by products of matrices."""
    size = len(matrices[0])
    at_s = np.append(p, np.zeros(size - len(p)))  # no clean pixel is masked
    for matrix in matrices[: s + 1]:
        at_s = at_s @ matrix
    from_s = np.eye(size)[x]  # of each class at s, the probability to become x
    for matrix in reversed(matrices[s + 1 : t + 1]):
        from_s = matrix @ from_s
    return at_s * from_s / (at_s @ from_s)


# ---- Multinomial diffusion, arXiv 2102.05379 -----------------------------------------------------


def multinomial_alphas(steps):
    """The α of single steps of their code, from squared cosines."""
    squared = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.sqrt(np.clip(squared[1:] / squared[:-1], 0.001, 1))


def multinomial(p, x, alphas, t, s):
    """θ_post of section 4 with the prediction for x_0; a stride's α is a product."""
    k = len(p)
    stride, before = np.prod(alphas[s + 1 : t + 1]), np.prod(alphas[: s + 1])
    theta = (stride * np.eye(k)[x] + (1 - stride) / k) * (before * p + (1 - before) / k)
    return theta / theta.sum()


# ---- UDLM, arXiv 2412.10193 ----------------------------------------------------------------------


def udlm(p, x, alpha_t, alpha_s):
    """The posterior of uniform noise multiplied out, with the prediction for x_0."""
    k, z = len(p), np.eye(len(p))[x]
    stride = alpha_t / alpha_s
    top = (
        k * alpha_t * z * p
        + (stride - alpha_t) * z
        + (alpha_s - alpha_t) * p
        + (stride - 1) * (alpha_s - 1) / k
    )
    return top / (k * alpha_t * p[x] + 1 - alpha_t)


# ---- TabDDPM, arXiv 2209.15421 -------------------------------------------------------------------


def tabddpm_log_alphas(steps):
    """Logarithms of α of single steps, from the squared cosine of Gaussian diffusion."""
    bar = [math.cos((i / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(steps + 1)]
    return [math.log(max(late / early, 0.001)) for early, late in zip(bar, bar[1:])]


def tabddpm(p, x, log_alphas, t):
    """log q(x_{t-1} | x_0) and log q(x_t | x_{t-1}) added up in logarithms, then normalised."""
    k = len(p)
    log_x, log_p = np.where(np.arange(k) == x, 0.0, math.log(1e-30)), np.log(p)

    def noised(log_q, log_alpha):
        return np.logaddexp(log_q + log_alpha, math.log(-math.expm1(log_alpha)) - math.log(k))

    before = log_p if t == 0 else noised(log_p, sum(log_alphas[:t]))
    log_q = before + noised(log_x, log_alphas[t])
    return np.exp(log_q - np.logaddexp.reduce(log_q))


# ---- LayoutDM, arXiv 2303.08137 ------------------------------------------------------------------


def layoutdm_matrices(k, steps=100):
    """Q_t of an attribute of k values and paddings, mask at the end; columns are what it was."""
    kept, masked = (
        np.append(first, np.linspace(*ends, steps))
        for first, ends in ((1, (0.99999, 0.000009)), (0, (0.000009, 0.99999)))
    )
    matrices = []
    for t in range(1, steps + 1):
        alpha, gamma = kept[t] / kept[t - 1], 1 - (1 - masked[t]) / (1 - masked[t - 1])
        matrix = np.full((k + 1, k + 1), (1 - alpha - gamma) / k)
        matrix[np.arange(k), np.arange(k)] += alpha
        matrix[k], matrix[:, k] = gamma, 0
        matrix[k, k] = 1
        matrices.append(matrix)
    return matrices


def layoutdm(p, x, matrices, t, s):
    """Σ_j q(x_s | x_t, x_0 = j) p_j, each q by Bayes' rule."""
    size = len(p) + 1
    to_s, from_s = np.eye(size), np.eye(size)
    for matrix in matrices[: s + 1]:
        to_s = matrix @ to_s
    for matrix in matrices[s + 1 : t + 1]:
        from_s = matrix @ from_s
    to_t = from_s @ to_s
    return sum(p[j] * from_s[x] * to_s[:, j] / to_t[x, j] for j in range(len(p)))


# ---- GIDD, arXiv 2503.04482 ----------------------------------------------------------------------


def gidd_mixture(k, u, p_uniform):
    """α and β π of section 4 at time u, π over the classes and the mask, with γ = 1."""
    scale = 2 * p_uniform / (1 - p_uniform)
    replaced = scale * math.sqrt(u * (1 - u))
    classes = np.append(np.full(k, 1 / k), 0.0)
    mask = np.eye(k + 1)[k]
    return (1 - u) / (1 + replaced), (u * mask + replaced * classes) / (1 + replaced)


def gidd(p, x, at_t, at_s):
    """Section 3: q_{t|s}(x_t | x_s) q_s(x_s | p) / q_t(x_t | p), each q of the form α x + β π."""
    (alpha_t, noise_t), (alpha_s, noise_s) = at_t, at_s
    p = np.append(p, 0.0)
    stride = alpha_t / alpha_s
    shown = np.eye(len(p))[x]
    from_s = stride * shown + (noise_t - stride * noise_s)[x]
    return from_s * (alpha_s * p + noise_s) / (alpha_t * p + noise_t)[x]


# ---- LLaDA, arXiv 2502.09992 ---------------------------------------------------------------------


def llada(p, x, u_t, u_s):
    """Algorithm 4: predict every masked token, then mask it again with probability s/t."""
    k = len(p)
    if x != k:
        return np.eye(k + 1)[x]
    return np.append(p * (1 - u_s / u_t), u_s / u_t)
