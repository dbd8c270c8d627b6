/* The log-mel of a clip in integers: equal in every bit to data/front_ends/integer_log_mel.py, which explains it.
 *
 * Values have 32 bits, products 64. Shifts of negative values to the right round towards minus infinity, as they do with
 * all compilers that this is meant for; the array below has no size where they do not. */
#include "scenelet_front_end.h"

typedef char scenelet_shifts_are_arithmetic[(-3 >> 1) == -2 ? 1 : -1];

#define HALF (SCENELET_FFT / 2)
#define LAST ((int32_t)SCENELET_SAMPLES - 2) /* of the emphasised samples */

/* The upper 32 of the 48 bits of a product with 16 bits. */
static int32_t times(int32_t value, int32_t factor)
{
    return (int32_t)(((int64_t)value * factor) >> 16);
}

/* An emphasised sample of the clip, which is mirrored at both of its ends. */
static int32_t emphasised(const scenelet_front_end *state, int32_t place)
{
    int32_t inside = place < 0 ? -place : place > LAST ? 2 * LAST - place : place;
    int32_t before = state->ring[(uint32_t)inside % SCENELET_RING];
    int32_t sample = state->ring[(uint32_t)(inside + 1) % SCENELET_RING];
    return sample * 32768 - SCENELET_EMPHASIS * before;
}

/* Half of the product of a value of the spectrum with exp(-2 pi i step / SCENELET_FFT). */
static void turned(const int32_t *value, uint32_t step, int32_t *re, int32_t *im)
{
    if (step == 0) { /* 1, which has no 16 bits */
        *re = value[0] >> 1;
        *im = value[1] >> 1;
    } else {
        int32_t w_re = scenelet_twiddles[2 * step], w_im = scenelet_twiddles[2 * step + 1];
        *re = times(value[0], w_re) - times(value[1], w_im);
        *im = times(value[1], w_re) + times(value[0], w_im);
    }
}

/* Four neighbouring transforms of `length` values as one of four times as many. */
static void combine_four(int32_t *z, uint32_t length)
{
    uint32_t k, step = SCENELET_FFT / (4 * length);
    for (k = 0; k < length; k++) {
        int32_t *a = z + 2 * k, *b = a + 2 * length, *c = b + 2 * length, *d = c + 2 * length;
        int32_t a_re = a[0] >> 1, a_im = a[1] >> 1, b_re, b_im, c_re, c_im, d_re, d_im;
        turned(b, k * step, &b_re, &b_im);
        turned(c, 2 * k * step, &c_re, &c_im);
        turned(d, 3 * k * step, &d_re, &d_im);
        a[0] = ((a_re + c_re) + (b_re + d_re)) >> 1;
        a[1] = ((a_im + c_im) + (b_im + d_im)) >> 1;
        b[0] = ((a_re - c_re) + (b_im - d_im)) >> 1;
        b[1] = ((a_im - c_im) - (b_re - d_re)) >> 1;
        c[0] = ((a_re + c_re) - (b_re + d_re)) >> 1;
        c[1] = ((a_im + c_im) - (b_im + d_im)) >> 1;
        d[0] = ((a_re - c_re) - (b_im - d_im)) >> 1;
        d[1] = ((a_im - c_im) + (b_re - d_re)) >> 1;
    }
}

/* The transform of HALF complex values in the order of scenelet_order, in place. */
static void transform(int32_t *z)
{
    uint32_t length = 1, at;
    if (SCENELET_PAIRS_FIRST) {
        for (at = 0; at < HALF; at += 2) {
            int32_t *a = z + 2 * at, re = a[0], im = a[1];
            a[0] = (re + a[2]) >> 1;
            a[1] = (im + a[3]) >> 1;
            a[2] = (re - a[2]) >> 1;
            a[3] = (im - a[3]) >> 1;
        }
        length = 2;
    }
    for (; length < HALF; length *= 4) {
        for (at = 0; at < HALF; at += 4 * length) {
            combine_four(z + 2 * at, length);
        }
    }
}

/* log2 of a value above 0, with 16 bits behind the point. */
static int32_t logarithm(uint64_t value)
{
    uint32_t exponent = 0, fraction, place, between, step;
    uint64_t rest = value;
    for (step = 32; step; step /= 2) {
        if (rest >> step) {
            rest >>= step;
            exponent += step;
        }
    }
    fraction = (uint32_t)((value << (62 - exponent)) >> (62 - 23)) & 0x7fffffu;
    place = fraction >> 16;
    between = fraction & 0xffffu;
    return (int32_t)((exponent << 16) + scenelet_logarithms[place]
                     + (((scenelet_logarithms[place + 1] - scenelet_logarithms[place]) * between) >> 16));
}

static void compute_frame(scenelet_front_end *state, uint32_t frame, int32_t *values)
{
    int32_t *z = state->spectrum, first = (int32_t)(frame * SCENELET_HOP) - HALF;
    uint32_t k, shift = 0, bits = 0;
    for (k = 0; k < SCENELET_MELS; k++) {
        state->bands[k] = 0;
    }
    for (k = 0; k < HALF; k++) {
        uint32_t even = 2 * scenelet_order[k], part;
        for (part = 0; part < 2; part++) {
            int32_t place = (int32_t)(even + part) - SCENELET_BEFORE, value = 0;
            if (place >= 0 && place < SCENELET_WINDOW) {
                int32_t mirrored = place < SCENELET_WINDOW / 2 ? place : SCENELET_WINDOW - 1 - place;
                value = times(emphasised(state, first + (int32_t)(even + part)), scenelet_window[mirrored]);
            }
            bits |= (uint32_t)(value ^ (value >> 31));
            z[2 * k + part] = value;
        }
    }
    while (shift < SCENELET_MOST_SHIFT && !(bits >> (28 - shift))) {
        shift++;
    }
    for (k = 0; k < SCENELET_FFT; k++) {
        z[k] *= (int32_t)1 << shift;
    }
    transform(z);
    for (k = 0; k < HALF; k++) {
        const int32_t *front = z + 2 * k, *back = z + 2 * ((HALF - k) % HALF);
        int32_t odd[2], odd_re, odd_im, re, im;
        uint64_t power;
        odd[0] = (front[0] - back[0]) >> 1;
        odd[1] = (front[1] + back[1]) >> 1;
        turned(odd, k, &odd_re, &odd_im);
        re = ((front[0] + back[0]) >> 2) + odd_im;
        im = ((front[1] - back[1]) >> 2) - odd_re;
        power = ((uint64_t)((int64_t)re * re) + (uint64_t)((int64_t)im * im)) >> 16;
        state->bands[scenelet_bands[k]] += power * scenelet_weights[2 * k];
        if (scenelet_weights[2 * k + 1]) {
            state->bands[scenelet_bands[k] + 1] += power * scenelet_weights[2 * k + 1];
        }
    }
    for (k = 0; k < SCENELET_MELS; k++) {
        uint64_t sum = state->bands[k] + ((uint64_t)SCENELET_FLOOR << (2 * shift));
        values[k * SCENELET_FRAMES + frame] = logarithm(sum) - (int32_t)((SCENELET_OFFSET + 2 * shift) << 16);
    }
}

/* How many samples of the clip a frame needs. */
static uint32_t needed(uint32_t frame)
{
    int32_t middle = (int32_t)(frame * SCENELET_HOP), first = middle - HALF + SCENELET_BEFORE;
    int32_t last = first + SCENELET_WINDOW - 1;
    last = last < -first ? -first : last;
    return (uint32_t)((last < LAST ? last : LAST) + 2);
}

void scenelet_front_end_begin(scenelet_front_end *state)
{
    state->samples = state->frames = 0;
}

uint32_t scenelet_front_end_push(scenelet_front_end *state, const int16_t *samples, uint32_t count, int32_t *values)
{
    uint32_t taken = 0;
    while (taken < count && state->samples < SCENELET_SAMPLES) {
        state->ring[state->samples++ % SCENELET_RING] = samples[taken++];
        while (state->frames < SCENELET_FRAMES && state->samples >= needed(state->frames)) {
            compute_frame(state, state->frames++, values);
        }
    }
    return taken;
}
