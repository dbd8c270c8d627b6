/* The powers of the bins of a real signal, in integers: equal in every bit to data/front_ends/integer_fft.py, which
 * explains it. Complex values are real and imaginary part in turn. */
#include "scenelet_spectrum.h"

#include "scenelet_front_end_cortex_m.h"
#include "scenelet_front_end_tables.h"

#define HALF (SCENELET_FFT / 2)

/* A value to the upper half of its product with a factor, both complex. */
#define TURN(re, im, factor_re, factor_im)                                                                             \
    do {                                                                                                               \
        int32_t found = scenelet_minus_times(scenelet_times(re, factor_re), im, factor_im);                                              \
        im = scenelet_plus_times(scenelet_times(im, factor_re), re, factor_im);                                                          \
        re = found;                                                                                                    \
    } while (0)

/* The values of a, and quarters of those of c, b and d, turned, to quarters of their four sums, at a, c, b and d. */
#define COMBINE(a, c, b, d)                                                                                            \
    do {                                                                                                               \
        int32_t odd_re = b##_re + d##_re, odd_im = b##_im + d##_im;                                                    \
        int32_t turn_re = b##_re - d##_re, turn_im = b##_im - d##_im;                                                  \
        int32_t sum_re = (a##_re >> 2) + c##_re, sum_im = (a##_im >> 2) + c##_im;                                      \
        int32_t difference_re = (a##_re >> 2) - c##_re, difference_im = (a##_im >> 2) - c##_im;                        \
        (a)[0] = sum_re + odd_re;                                                                                      \
        (a)[1] = sum_im + odd_im;                                                                                      \
        (c)[0] = difference_re + turn_im;                                                                              \
        (c)[1] = difference_im - turn_re;                                                                              \
        (b)[0] = sum_re - odd_re;                                                                                      \
        (b)[1] = sum_im - odd_im;                                                                                      \
        (d)[0] = difference_re - turn_im;                                                                              \
        (d)[1] = difference_im + turn_re;                                                                              \
    } while (0)

/* Four values as far apart as `quarter` says, all of whose factors are 1. The values 0, 2, 1 and 3 stand in this order. */
static inline void combine_unturned(int32_t *a, uint32_t quarter)
{
    int32_t *c = a + quarter, *b = c + quarter, *d = b + quarter;
    int32_t a_re = a[0], a_im = a[1], c_re = c[0] >> 2, c_im = c[1] >> 2;
    int32_t b_re = b[0] >> 2, b_im = b[1] >> 2, d_re = d[0] >> 2, d_im = d[1] >> 2;
    COMBINE(a, c, b, d);
}

#ifndef SCENELET_DSP
/* Four values, and those behind them, with the factors of values 1, 3 and 2 in turn, until one is 0. */
static void scenelet_combine_turned(int32_t *a, uint32_t quarter, const int32_t *factors)
{
    for (; *factors; a += 2, factors += 6) {
        int32_t *c = a + quarter, *b = c + quarter, *d = b + quarter;
        int32_t a_re = a[0], a_im = a[1], c_re = c[0], c_im = c[1], b_re = b[0], b_im = b[1], d_re = d[0], d_im = d[1];
        TURN(b_re, b_im, factors[0], factors[1]);
        TURN(d_re, d_im, factors[2], factors[3]);
        TURN(c_re, c_im, factors[4], factors[5]);
        COMBINE(a, c, b, d);
    }
}
#endif

#if SCENELET_BITS % 2
/* The sum of two neighbours, real or imaginary parts, shifted left; their difference replaces the second. */
SCENELET_INLINE int32_t sum_of_two(int32_t *z, uint32_t shift)
{
    int32_t first = z[0], second = z[2];
    z[2] = (int32_t)((uint32_t)(first - second) << shift);
    return (int32_t)((uint32_t)(first + second) << shift);
}

/* Eight neighbours each: two, and then four of their sums and four of their differences. */
static void combine_eights(int32_t *z, uint32_t shift)
{
    int32_t *a, *end = z + SCENELET_FFT;
    for (a = z; a < end; a += 16) {
        int32_t *c = a + 4, *b = a + 8, *d = a + 12;
        int32_t a_re = sum_of_two(a, shift), a_im = sum_of_two(a + 1, shift);
        int32_t c_re = sum_of_two(c, shift) >> 2, c_im = sum_of_two(c + 1, shift) >> 2;
        int32_t b_re = sum_of_two(b, shift) >> 2, b_im = sum_of_two(b + 1, shift) >> 2;
        int32_t d_re = sum_of_two(d, shift) >> 2, d_im = sum_of_two(d + 1, shift) >> 2;
        COMBINE(a, c, b, d);
    }
    for (a = z + 2; a < end; a += 16) { /* the parts of all factors are 0, 1 or the root of a half, of either sign */
        int32_t *c = a + 4, *b = a + 8, *d = a + 12, eighth = SCENELET_EIGHTH;
        int32_t a_re = a[0], a_im = a[1], c_re = c[1] >> 2, c_im = -c[0] >> 2;
        int32_t b_re = scenelet_plus_times(scenelet_times(b[0], eighth), b[1], eighth);
        int32_t b_im = scenelet_minus_times(scenelet_times(b[1], eighth), b[0], eighth);
        int32_t d_re = scenelet_minus_times(scenelet_times(d[1], eighth), d[0], eighth);
        int32_t d_im = scenelet_minus_times(scenelet_times(d[1], -eighth), d[0], eighth);
        COMBINE(a, c, b, d);
    }
}
#endif

/* The transform of HALF values, in place; `shift` brings them to 29 bits before. */
static void transform(int32_t *z, uint32_t shift)
{
    const int32_t *factors = scenelet_factors;
    uint32_t length, at;
#if SCENELET_BITS % 2
    combine_eights(z, shift);
    length = 8;
#else
    for (at = 0; at < SCENELET_FFT; at += 8) {
        int32_t *a = z + at, n;
        for (n = 0; n < 8; n++) {
            a[n] = (int32_t)((uint32_t)a[n] << (shift + 1));
        }
        combine_unturned(a, 2);
    }
    length = 4;
#endif
    for (; length < HALF; factors += 6 * length, length *= 4) {
        for (at = 0; at < SCENELET_FFT; at += 8 * length) {
            combine_unturned(z + at, 2 * length);
            scenelet_combine_turned(z + at + 2, 2 * length, factors);
        }
    }
}

#ifndef SCENELET_DSP
/* Store a bin's power, of 61 bits, without the lowest 16. */
static inline void store_power(int32_t *to, int32_t re, int32_t im)
{
    uint64_t power = (uint64_t)((int64_t)re * re + (int64_t)im * im) >> 16;
    to[0] = (int32_t)(uint32_t)power;
    to[1] = (int32_t)(uint32_t)(power >> 32);
}

/* From the transform of the pairs to the powers of the bins, in place, from the outer ones to the middle. */
static void scenelet_split(int32_t *front, int32_t *back, const int32_t *factor)
{
    for (; front <= back; front += 2, back -= 2, factor += 2) {
        int32_t re = front[0] >> 1, im = front[1] >> 1, back_re = back[0] >> 1, back_im = back[1] >> 1;
        int32_t even_re = re + back_re, even_im = im - back_im, odd_re = re - back_re, odd_im = im + back_im;
        TURN(odd_re, odd_im, factor[0], factor[1]);
        store_power(back, (even_re >> 1) - odd_im, (even_im >> 1) + odd_re); /* of the other sign */
        store_power(front, (even_re >> 1) + odd_im, (even_im >> 1) - odd_re);
    }
}
#endif

void scenelet_spectrum(int32_t *z, uint32_t shift)
{
    transform(z, shift);
    scenelet_split(z + 2, z + SCENELET_FFT - 2, scenelet_turns);
}
