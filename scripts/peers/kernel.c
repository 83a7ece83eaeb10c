/* Table 1's neuron with implicit Euler: what a compiler makes of the plain loop.

   The dendrites are eliminated onto the soma (a star), the soma's increment d takes 3 Newton
   iterations; voltages are relative to v_leak. Everything selects, nothing branches: gcc vectorises
   the loop over neurons. The compiler defines REAL, INT (of the same size), MANTISSA (its bits),
   DEGREE and EXP: libm's (vectorised: libmvec) or the polynomial. dt must stay below 0.03 ms:
   beyond, implicit Euler has no root on the upstroke. */
#include <math.h>
#include <stdint.h>
typedef REAL real;
typedef struct {  /* reduced coefficients, in the order of _coefficients() */
  real diagonal, from_soma, from_a, from_b, current, keep_a, keep_b, take_a, take_b, g_exp, per_dT,
       v_exp, per_tau, a, b, v_th, v_reset, held;
} Neuron;

static const real inverse_factorial[] = {1, 1, 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720,
    1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600};

/* exp(x) = 2^k exp(r), |r| < ln(2)/2, by its series; without under- and overflow */
static inline __attribute__((always_inline)) real polynomial(real x) {
  real k = __builtin_rint(x * (real)M_LOG2E), r = x - k * (real)M_LN2, sum = 0;
#pragma GCC unroll 16
  for (int i = DEGREE; i >= 0; i--) sum = sum * r + inverse_factorial[i];
  INT bits;
  __builtin_memcpy(&bits, &sum, sizeof bits);
  bits += (INT)k << MANTISSA;
  __builtin_memcpy(&sum, &bits, sizeof bits);
  return sum;
}

static inline __attribute__((always_inline)) void step(const Neuron *p, real now, real *v, real *va,
    real *vb, real *w, real *hold, real *count, real *last) {
  real right = p->current - *w + p->from_soma * *v + p->from_a * *va + p->from_b * *vb, d = 0;
  for (int k = 0; k < 3; k++) {
    real e = p->g_exp * EXP((*v + d - p->v_exp) * p->per_dT);
    d -= (p->diagonal * d - right - e) / (p->diagonal - e * p->per_dT);
  }
  real x = *hold > 0 ? *v : *v + d;
  *va += p->take_a * x - p->keep_a * *va;
  *vb += p->take_b * x - p->keep_b * *vb;
  *w += p->per_tau * (p->a * x - *w);
  *hold = *hold > 0 ? *hold - 1 : 0;
  int fire = x >= p->v_th;
  *v = fire ? p->v_reset : x;
  *w += fire ? p->b : 0;
  *hold = fire ? p->held : *hold;
  *count += fire ? 1 : 0;
  *last = fire ? now : *last;
}

static int single(const Neuron p, long steps, real *s, real *times, int room) {
  real v = s[0], va = s[1], vb = s[2], w = s[3], hold = s[4], count = s[5], last = s[6], seen = 0;
  for (long t = 0; t < steps; t++) {
    step(&p, t, &v, &va, &vb, &w, &hold, &count, &last);
    if (count != seen) { if (count <= room) times[(int)seen] = t; seen = count; }
  }
  s[0] = v; s[1] = va; s[2] = vb; s[3] = w; s[4] = hold; s[5] = count; s[6] = last;
  return count < room ? count : room;
}

/* n neurons, `block` of them at a time through all steps; state is [7][n]. Returns the number of
   times of neuron 0 that it wrote. */
int run(const Neuron *par, long n, long block, long steps, real *state, real *times, int room) {
  const Neuron p = *par;
  int seen = 0;
  if (n == 1) return single(p, steps, state, times, room);
  for (long first = 0; first < n; first += block) {
    long size = n - first < block ? n - first : block;
    real *restrict v = state + first, *restrict va = v + n, *restrict vb = va + n;
    real *restrict w = vb + n, *restrict hold = w + n, *restrict count = hold + n;
    real *restrict last = count + n;
    for (long t = 0; t < steps; t++) {
      real now = t;
#pragma omp simd
      for (long i = 0; i < size; i++)
        step(&p, now, v + i, va + i, vb + i, w + i, hold + i, count + i, last + i);
      if (first == 0 && seen < room && last[0] == now) times[seen++] = now;
    }
  }
  return seen;
}
