"""What the formulas of docs/theory.md give in arithmetic of 40 digits."""

from mpmath import exp, log, mp, mpf

mp.dps = 40


class Rates:
    """The rates of the published linear schedule at t and s, and of the transition between."""

    def __init__(self, classes, t, s, steps=100):
        def at(start, end, t):
            return mpf(start) + (mpf(end) - mpf(start)) * t / (steps - 1)

        self.alpha_t, self.alpha_s = (at(0.99999, 9e-6, one) for one in (t, s))
        self.gamma_t, self.gamma_s = (at(9e-6, 0.99999, one) for one in (t, s))
        self.beta_t = (1 - self.alpha_t - self.gamma_t) / classes
        self.beta_s = (1 - self.alpha_s - self.gamma_s) / classes
        self.alpha = self.alpha_t / self.alpha_s
        self.beta = (self.beta_t - self.alpha * self.beta_s) / (1 - self.gamma_s)
        self.gamma = (self.gamma_t - self.gamma_s) / (1 - self.gamma_s)

    def parts(self, classes, x):
        """A, B and σ of each class k: its posterior is A_k p_k + B_k Σ σ_j p_j."""
        if x == classes:
            now, step = [self.gamma_t] * classes, [self.gamma] * classes
        else:
            now, step = [self.beta_t] * classes, [self.beta] * classes
            now[x] += self.alpha_t
            step[x] += self.alpha
        sigma = [1 / one for one in now]
        a = [one * self.alpha_s * two for one, two in zip(step, sigma, strict=True)]
        return a, [one * self.beta_s for one in step], sigma


def exponentials(column):
    return [exp(mpf(float(one))) for one in column]


def softmax(column):
    p = exponentials(column)
    total = sum(p)
    return [one / total for one in p]


def mass(rates, p, x):
    """The posterior of each class, not of the mask, and its parts."""
    a, b, sigma = rates.parts(len(p), x)
    total = sum(one * two for one, two in zip(sigma, p, strict=True))
    return [a_k * p_k + b_k * total for a_k, b_k, p_k in zip(a, b, p, strict=True)], a, b, sigma


def log_posterior(log_p, x, t, s):
    """Of each class, and of the mask where the pixel is masked, else None."""
    classes, p = len(log_p), exponentials(log_p)
    rates = Rates(classes, t, s)
    out = [log(one) for one in mass(rates, p, x)[0]]
    return [*out, log(rates.gamma_s / rates.gamma_t * sum(p)) if x == classes else None]


def loss(logits, x_0, x, t, s):
    """KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)) of one pixel, and its derivatives by the logits."""
    classes, p = len(logits), softmax(logits)
    rates = Rates(classes, t, s)
    truth, a, b, sigma = mass(rates, [mpf(int(k == x_0)) for k in range(classes)], x)
    model = mass(rates, p, x)[0]
    value = sum(one * log(one / two) for one, two in zip(truth, model, strict=True))
    ratio = [one / two for one, two in zip(truth, model, strict=True)]
    shared = sum(b_k * r for b_k, r in zip(b, ratio, strict=True))
    by_p = [-(r * a_k + s_k * shared) for r, a_k, s_k in zip(ratio, a, sigma, strict=True)]
    mean = sum(p_k * one for p_k, one in zip(p, by_p, strict=True))
    return value, [p_k * (one - mean) for p_k, one in zip(p, by_p, strict=True)]


def guide(uncond, cond, scale):
    logits = [
        mpf(float(u)) + mpf(scale) * (mpf(float(c)) - mpf(float(u)))
        for u, c in zip(uncond, cond, strict=True)
    ]
    total = log(sum(exp(one) for one in logits))
    return [one - total for one in logits]
