/* The log-mel of a clip in integers: equal in every bit to data/front_ends/integer_log_mel.py, integer_fft.py and
 * integer_steps.py, which explain it.
 *
 * Values have 32 bits, products 64. Shifts of negative values to the right round towards minus infinity, as they do with
 * all compilers that this is meant for; the array below has no size where they do not. Constants of 16 bits stand in
 * pairs in one word, the first one low. */
#include "scenelet_front_end.h"

typedef char scenelet_shifts_are_arithmetic[(-3 >> 1) == -2 ? 1 : -1];

#define HALF (SCENELET_FFT / 2)
#define LAST ((int32_t)SCENELET_SAMPLES - 2) /* of the emphasised samples */

/* The upper 32 of the 48 bits of a product with the first and with the second constant of a pair; the upper 32 of the 64
 * bits of a product, alone, added, and subtracted; and the lowest SCENELET_BITS bits of a number from back to front. */
#if defined(__ARM_FEATURE_DSP)
static inline int32_t times_first(int32_t value, int32_t pair)
{
    int32_t found;
    __asm__("smulwb %0, %1, %2" : "=r"(found) : "r"(value), "r"(pair));
    return found;
}

static inline int32_t times_second(int32_t value, int32_t pair)
{
    int32_t found;
    __asm__("smulwt %0, %1, %2" : "=r"(found) : "r"(value), "r"(pair));
    return found;
}

static inline int32_t times(int32_t value, int32_t factor)
{
    int32_t found;
    __asm__("smmul %0, %1, %2" : "=r"(found) : "r"(value), "r"(factor));
    return found;
}

static inline int32_t plus_times(int32_t sum, int32_t value, int32_t factor)
{
    int32_t found;
    __asm__("smmla %0, %1, %2, %3" : "=r"(found) : "r"(value), "r"(factor), "r"(sum));
    return found;
}

static inline int32_t minus_times(int32_t sum, int32_t value, int32_t factor)
{
    int32_t found;
    __asm__("smmls %0, %1, %2, %3" : "=r"(found) : "r"(value), "r"(factor), "r"(sum));
    return found;
}

static inline uint32_t reversed(uint32_t number)
{
    uint32_t found;
    __asm__("rbit %0, %1" : "=r"(found) : "r"(number));
    return found >> (32 - SCENELET_BITS);
}

static inline uint32_t leading_zeros(uint32_t value)
{
    uint32_t found;
    __asm__("clz %0, %1" : "=r"(found) : "r"(value));
    return found;
}
#else
static inline int32_t times_first(int32_t value, int32_t pair)
{
    return (int32_t)(((int64_t)value * (int16_t)(pair & 0xffff)) >> 16);
}

static inline int32_t times_second(int32_t value, int32_t pair)
{
    return (int32_t)(((int64_t)value * (pair >> 16)) >> 16);
}

static inline int32_t times(int32_t value, int32_t factor)
{
    return (int32_t)(((int64_t)value * factor) >> 32);
}

static inline int32_t plus_times(int32_t sum, int32_t value, int32_t factor)
{
    return sum + times(value, factor);
}

static inline int32_t minus_times(int32_t sum, int32_t value, int32_t factor)
{
    return sum + (int32_t)(-((int64_t)value * factor) >> 32);
}

static inline uint32_t reversed(uint32_t number)
{
    number = (number & 0x55555555u) << 1 | (number >> 1 & 0x55555555u);
    number = (number & 0x33333333u) << 2 | (number >> 2 & 0x33333333u);
    number = (number & 0x0f0f0f0fu) << 4 | (number >> 4 & 0x0f0f0f0fu);
    number = (number & 0x00ff00ffu) << 8 | (number >> 8 & 0x00ff00ffu);
    return (number << 16 | number >> 16) >> (32 - SCENELET_BITS);
}

static inline uint32_t leading_zeros(uint32_t value)
{
    uint32_t found = 0, step;
    for (step = 16; step; step /= 2) {
        if (!(value >> (32 - step))) {
            value <<= step;
            found += step;
        }
    }
    return found;
}
#endif

/* Emphasise, window and store pairs of samples, read forwards (step 1) or backwards (step -1) from `at` on; the first
 * is pair `pair` of the window. Returns a number with as many bits as the largest magnitude. */
static uint32_t store_pairs(const int16_t *at, int32_t step, uint32_t pair, uint32_t pairs, int32_t *z)
{
    const int32_t *window = scenelet_window + pair;
    uint32_t place = SCENELET_BEFORE + pair, bits = 0;
    for (; pairs; pairs--) {
        const int16_t *next = at + step;
        int32_t first = at[1] * 32768 - SCENELET_EMPHASIS * at[0];
        int32_t second = next[1] * 32768 - SCENELET_EMPHASIS * next[0];
        int32_t *to = z + 2 * reversed(place++);
        at = next + step;
        first = times_first(first, *window);
        second = times_second(second, *window++);
        to[0] = first;
        to[1] = second;
        bits |= (uint32_t)(first ^ (first >> 31));
        bits |= (uint32_t)(second ^ (second >> 31));
    }
    return bits;
}

/* Store pairs of zeros. */
static void clear_pairs(uint32_t pair, uint32_t end, int32_t *z)
{
    for (; pair < end; pair++) {
        int32_t *to = z + 2 * reversed(pair);
        to[0] = to[1] = 0;
    }
}

/* Store the windowed values of a frame, the clip mirrored at both of its ends. */
static uint32_t store_frame(const scenelet_front_end *state, uint32_t frame, int32_t *z)
{
    int32_t begin = (int32_t)(frame * SCENELET_HOP) - HALF + 2 * SCENELET_BEFORE;
    uint32_t pair, bits = 0, pairs;
    clear_pairs(0, SCENELET_BEFORE, z);
    clear_pairs(SCENELET_BEFORE + SCENELET_PAIRS, HALF, z);
    for (pair = 0; pair < SCENELET_PAIRS; pair += pairs) {
        int32_t place = begin + 2 * (int32_t)pair, step = -1;
        uint32_t first, whole; /* place in the ring; pairs until its end */
        int16_t around[3];
        const int16_t *at;
        pairs = SCENELET_PAIRS - pair;
        if (place < 0) {
            pairs = pairs < (uint32_t)(1 - place) / 2 ? pairs : (uint32_t)(1 - place) / 2;
            place = -place;
        } else if (place < LAST) {
            pairs = pairs < (uint32_t)(LAST + 1 - place) / 2 ? pairs : (uint32_t)(LAST + 1 - place) / 2;
            step = 1;
        } else {
            place = 2 * LAST - place;
        }
        first = (uint32_t)place % SCENELET_RING;
        whole = step > 0 ? (SCENELET_RING - 1 - first) / 2 : first + 1 < SCENELET_RING ? (first + 1) / 2 : 0;
        at = state->ring + first;
        if (whole == 0) { /* the pair lies on both ends of the ring */
            uint32_t n, lowest = (uint32_t)(step > 0 ? place : place - 1);
            for (n = 0; n < 3; n++) {
                around[n] = state->ring[(lowest + n) % SCENELET_RING];
            }
            at = step > 0 ? around : around + 1;
            whole = 1;
        }
        pairs = pairs < whole ? pairs : whole;
        bits |= store_pairs(at, step, pair, pairs, z);
    }
    return bits;
}

/* A value to the upper half of its product with a factor, both complex. */
#define TURN(re, im, factor_re, factor_im)                                                                             \
    do {                                                                                                               \
        int32_t found = minus_times(times(re, factor_re), im, factor_im);                                              \
        im = plus_times(times(im, factor_re), re, factor_im);                                                          \
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

/* Four values, and those behind them, with the factors of values 1, 3 and 2 in turn, until one is 0. */
static void combine_turned(int32_t *a, uint32_t quarter, const int32_t *factors)
{
#if defined(__ARM_FEATURE_DSP)
    const uint32_t to_re = 4 * quarter, to_im = to_re + 4; /* bytes from b to d and from a to c */
    int32_t s, t, u, v, w, x, y, h, i;
    __asm__ volatile(
        "add %[p], %[p], %[re], lsl #1\n" /* to b */
        "ldr %[w], [%[f]], #24\n"
        "ldr %[x], [%[f], #-20]\n"
        "1:\n"
        "ldr %[s], [%[p]]\n"
        "ldr %[t], [%[p], #4]\n"
        "ldr %[u], [%[p], %[re]]\n"
        "ldr %[v], [%[p], %[im]]\n"
        "ldr %[h], [%[f], #-16]\n"
        "ldr %[i], [%[f], #-12]\n"
        "smmul %[y], %[s], %[w]\n" /* b turned: y, t */
        "smmls %[y], %[t], %[x], %[y]\n"
        "smmul %[t], %[t], %[w]\n"
        "smmla %[t], %[s], %[x], %[t]\n"
        "smmul %[s], %[u], %[h]\n" /* d turned: s, v */
        "smmls %[s], %[v], %[i], %[s]\n"
        "smmul %[v], %[v], %[h]\n"
        "smmla %[v], %[u], %[i], %[v]\n"
        "add %[u], %[y], %[s]\n" /* odd: u, s; turn: y, t */
        "sub %[y], %[y], %[s]\n"
        "add %[s], %[t], %[v]\n"
        "sub %[t], %[t], %[v]\n"
        "sub %[p], %[p], %[re], lsl #1\n" /* to a */
        "ldr %[v], [%[p], %[re]]\n"
        "ldr %[w], [%[p], %[im]]\n"
        "ldr %[x], [%[f], #-8]\n"
        "ldr %[h], [%[f], #-4]\n"
        "smmul %[i], %[v], %[x]\n" /* c turned: i, w */
        "smmls %[i], %[w], %[h], %[i]\n"
        "smmul %[w], %[w], %[x]\n"
        "smmla %[w], %[v], %[h], %[w]\n"
        "ldr %[x], [%[p]]\n"
        "ldr %[h], [%[p], #4]\n"
        "add %[v], %[i], %[x], asr #2\n" /* sum: v, x; difference: i, w */
        "rsb %[i], %[i], %[x], asr #2\n"
        "add %[x], %[w], %[h], asr #2\n"
        "rsb %[w], %[w], %[h], asr #2\n"
        "add %[h], %[v], %[u]\n"
        "str %[h], [%[p]]\n"
        "sub %[v], %[v], %[u]\n"
        "add %[h], %[x], %[s]\n"
        "str %[h], [%[p], #4]\n"
        "sub %[x], %[x], %[s]\n"
        "add %[h], %[i], %[t]\n"
        "str %[h], [%[p], %[re]]\n"
        "sub %[i], %[i], %[t]\n"
        "sub %[h], %[w], %[y]\n"
        "str %[h], [%[p], %[im]]\n"
        "add %[w], %[w], %[y]\n"
        "add %[p], %[p], %[re], lsl #1\n" /* to b */
        "str %[i], [%[p], %[re]]\n"
        "str %[w], [%[p], %[im]]\n"
        "str %[x], [%[p], #4]\n"
        "str %[v], [%[p]], #8\n"
        "ldr %[w], [%[f]], #24\n"
        "ldr %[x], [%[f], #-20]\n"
        "cmp %[w], #0\n"
        "bne 1b\n"
        : [p] "+r"(a), [f] "+r"(factors), [s] "=&r"(s), [t] "=&r"(t), [u] "=&r"(u), [v] "=&r"(v), [w] "=&r"(w),
          [x] "=&r"(x), [y] "=&r"(y), [h] "=&r"(h), [i] "=&r"(i)
        : [re] "r"(to_re), [im] "r"(to_im)
        : "cc", "memory");
#else
    for (; *factors; a += 2, factors += 6) {
        int32_t *c = a + quarter, *b = c + quarter, *d = b + quarter;
        int32_t a_re = a[0], a_im = a[1], c_re = c[0], c_im = c[1], b_re = b[0], b_im = b[1], d_re = d[0], d_im = d[1];
        TURN(b_re, b_im, factors[0], factors[1]);
        TURN(d_re, d_im, factors[2], factors[3]);
        TURN(c_re, c_im, factors[4], factors[5]);
        COMBINE(a, c, b, d);
    }
#endif
}

#if SCENELET_BITS % 2
/* The sum of two neighbours, real or imaginary parts, shifted left; their difference replaces the second. */
static inline int32_t sum_of_two(int32_t *z, uint32_t shift)
{
    int32_t first = z[0], second = z[2];
    z[2] = (int32_t)((uint32_t)(first - second) << shift);
    return (int32_t)((uint32_t)(first + second) << shift);
}

/* Eight neighbours each: two, and then four of their sums and four of their differences. */
static void combine_eights(int32_t *z, const int32_t *factors, uint32_t shift)
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
    for (a = z + 2; a < end; a += 16) {
        int32_t *c = a + 4, *b = a + 8, *d = a + 12;
        int32_t a_re = a[0], a_im = a[1], c_re = c[0], c_im = c[1], b_re = b[0], b_im = b[1], d_re = d[0], d_im = d[1];
        TURN(b_re, b_im, factors[0], factors[1]);
        TURN(d_re, d_im, factors[2], factors[3]);
        TURN(c_re, c_im, factors[4], factors[5]);
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
    combine_eights(z, factors, shift);
    length = 8;
    factors += 6 * 2;
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
            combine_turned(z + at + 2, 2 * length, factors);
        }
    }
}

/* Store a bin's power, of 61 bits, without the lowest 16. */
static inline void store_power(int32_t *to, int32_t re, int32_t im)
{
    uint64_t power = (uint64_t)((int64_t)re * re + (int64_t)im * im) >> 16;
    to[0] = (int32_t)(uint32_t)power;
    to[1] = (int32_t)(uint32_t)(power >> 32);
}

/* From the transform of the pairs to the powers of the bins, in place, but of bin 0, which no band has. */
static void split(int32_t *z)
{
    int32_t *front = z + 2, *back = z + SCENELET_FFT - 2;
    const int32_t *factor = scenelet_turns;
    for (; front <= back; front += 2, back -= 2, factor += 2) {
        int32_t re = front[0] >> 1, im = front[1] >> 1, back_re = back[0] >> 1, back_im = back[1] >> 1;
        int32_t even_re = re + back_re, even_im = im - back_im, odd_re = re - back_re, odd_im = im + back_im;
        TURN(odd_re, odd_im, factor[0], factor[1]);
        store_power(back, (even_re >> 1) - odd_im, (even_im >> 1) + odd_re); /* of the other sign */
        store_power(front, (even_re >> 1) + odd_im, (even_im >> 1) - odd_re);
    }
}

/* log2 of a value above 0, with 16 bits behind the point. */
static int32_t logarithm(uint64_t value)
{
    uint32_t high = (uint32_t)(value >> 32), low = (uint32_t)value, zeros, between;
    const uint32_t *place;
    if (high) {
        zeros = leading_zeros(high);
        high = (uint32_t)((value << zeros) >> 32);
    } else {
        zeros = leading_zeros(low);
        high = low << zeros;
        zeros += 32;
    }
    place = scenelet_logarithms + ((high >> 24) & 127); /* the first bit is 1 */
    between = (high >> 8) & 0xffffu;
    return (int32_t)(((63 - zeros) << 16) + place[0] + (((place[1] - place[0]) * between) >> 16));
}

/* Write the integers of a frame: from the powers of the bins to the sums of the bands, whose weights are triangles:
 * between the middles of two bands a bin's power is divided between them. */
static void write_bands(const int32_t *z, uint32_t shift, int8_t *map)
{
    const uint16_t *share = scenelet_shares, *edge = scenelet_edges + 1;
    const int32_t *bin = z + 2 * scenelet_edges[0];
    const uint64_t floor = (uint64_t)SCENELET_FLOOR << (2 * shift);
    const int32_t offset = (int32_t)((SCENELET_OFFSET + 2 * shift) << 16);
    uint64_t before = 0;
    uint32_t band;
    for (band = 0; band <= SCENELET_MELS; band++) {
        const int32_t *end = z + 2 * *edge++;
        uint64_t all = 0, risen = 0;
        if (bin < end) {
#if defined(__ARM_FEATURE_DSP)
            uint32_t low, high, factor;
            __asm__ volatile(
                "1:\n"
                "ldr %[low], [%[bin]], #8\n"
                "ldr %[high], [%[bin], #-4]\n"
                "ldrh %[factor], [%[share]], #2\n"
                "adds %Q[all], %Q[all], %[low]\n"
                "adc %R[all], %R[all], %[high]\n"
                "umlal %Q[risen], %R[risen], %[low], %[factor]\n"
                "mla %R[risen], %[high], %[factor], %R[risen]\n"
                "cmp %[bin], %[end]\n"
                "bne 1b\n"
                : [bin] "+r"(bin), [share] "+r"(share), [all] "+r"(all), [risen] "+r"(risen), [low] "=&r"(low),
                  [high] "=&r"(high), [factor] "=&r"(factor)
                : [end] "r"(end)
                : "cc", "memory");
#else
            for (; bin < end; bin += 2, share++) {
                uint32_t low = (uint32_t)bin[0], high = (uint32_t)bin[1];
                all += (uint64_t)high << 32 | low;
                risen += (uint64_t)low * *share + ((uint64_t)(high * *share) << 32);
            }
#endif
        }
        if (band) {
            int32_t found = logarithm(before + ((all << 15) - risen) + floor) - offset;
            int64_t scaled = (int64_t)found * SCENELET_STEP_MULTIPLIER + SCENELET_STEP_BIAS;
            int32_t step = (int32_t)(scaled >> SCENELET_STEP_SHIFT);
            step = step < -128 ? -128 : step > 127 ? 127 : step;
            *map = (int8_t)step;
            map += SCENELET_MAP_ROW;
        }
        before = risen;
    }
}

static void compute_frame(const scenelet_front_end *state, int32_t *z, uint32_t frame, int8_t *map)
{
    uint32_t bits = store_frame(state, frame, z), zeros = leading_zeros(bits | 1);
    uint32_t shift = zeros - 3; /* to 29 bits, of which there are never more */
    shift = shift < SCENELET_MOST_SHIFT ? shift : SCENELET_MOST_SHIFT;
    transform(z, shift);
    split(z);
    write_bands(z, shift, map + SCENELET_MAP_FIRST + frame);
}

/* How many samples of the clip a frame needs. */
static uint32_t needed(uint32_t frame)
{
    int32_t first = (int32_t)(frame * SCENELET_HOP) - HALF + 2 * SCENELET_BEFORE;
    int32_t last = first + 2 * SCENELET_PAIRS - 1;
    last = last < -first ? -first : last;
    return (uint32_t)((last < LAST ? last : LAST) + 2);
}

void scenelet_front_end_begin(scenelet_front_end *state)
{
    state->samples = state->frames = 0;
}

uint32_t scenelet_front_end_push(scenelet_front_end *state, scenelet_front_end_scratch *scratch,
                                 const int16_t *samples, uint32_t count, int8_t *map)
{
    uint32_t taken = 0;
    while (taken < count && state->samples < SCENELET_SAMPLES) {
        uint32_t wanted = state->frames < SCENELET_FRAMES ? needed(state->frames) : SCENELET_SAMPLES;
        uint32_t place = state->samples % SCENELET_RING, some = wanted - state->samples;
        some = some < count - taken ? some : count - taken;
        some = some < SCENELET_RING - place ? some : SCENELET_RING - place;
        state->samples += some;
        for (; some; some--) {
            state->ring[place++] = samples[taken++];
        }
        while (state->frames < SCENELET_FRAMES && state->samples >= needed(state->frames)) {
            compute_frame(state, scratch->spectrum, state->frames++, map);
        }
    }
    return taken;
}
