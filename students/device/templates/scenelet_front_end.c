/* The log-mel of a clip in integers: equal in every bit to data/front_ends/integer_log_mel.py, integer_fft.py and
 * integer_steps.py, which explain it.
 *
 * Values have 32 bits, products 64. Shifts of negative values to the right round towards minus infinity, as they do with
 * all compilers that this is meant for; the array below has no size where they do not. Constants of 16 bits stand in
 * pairs in one word, the first one low. */
#include "scenelet_front_end.h"

#include "scenelet_front_end_cortex_m.h"
#include "scenelet_spectrum.h"

typedef char scenelet_shifts_are_arithmetic[(-3 >> 1) == -2 ? 1 : -1];

#define HALF (SCENELET_FFT / 2)
#define WHOLE (SCENELET_LEAD + SCENELET_SAMPLES) /* samples, with the silence before them */
#define LAST ((int32_t)WHOLE - 2) /* of the emphasised samples */

/* Emphasise, window and store pairs of samples, read forwards (step 1) or backwards (step -1) from `at` on; the first
 * is pair `pair` of the window. Returns a number with as many bits as the largest magnitude. */
static uint32_t store_pairs(const int16_t *at, int32_t step, uint32_t pair, uint32_t pairs, int32_t *z)
{
    const int32_t *window = scenelet_window + pair;
    uint32_t place = SCENELET_BEFORE + pair, bits = 0;
#ifdef SCENELET_DSP
    if (step > 0 && pairs > 1) {
        bits = scenelet_store_forwards(at, window, place, pairs / 2, z);
        at += pairs / 2 * 4;
        window += pairs / 2 * 2;
        place += pairs / 2 * 2;
        pairs %= 2;
    }
#endif
    for (; pairs; pairs--) {
        const int16_t *next = at + step;
        int32_t first = at[1] * 32768 - SCENELET_EMPHASIS * at[0];
        int32_t second = next[1] * 32768 - SCENELET_EMPHASIS * next[0];
        int32_t *to = z + 2 * scenelet_reversed(place++);
        at = next + step;
        first = scenelet_times_first(first, *window);
        second = scenelet_times_second(second, *window++);
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
        int32_t *to = z + 2 * scenelet_reversed(pair);
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

/* log2 of a value above 0, with 16 bits behind the point. */
static int32_t logarithm(uint64_t value)
{
    uint32_t high = (uint32_t)(value >> 32), low = (uint32_t)value, zeros, between;
    const uint32_t *place;
    if (high) {
        zeros = scenelet_leading_zeros(high);
        high = (uint32_t)((value << zeros) >> 32);
    } else {
        zeros = scenelet_leading_zeros(low);
        high = low << zeros;
        zeros += 32;
    }
    place = scenelet_logarithms + ((high >> 24) & 127); /* the first bit is 1 */
    between = (high >> 8) & 0xffffu;
    return (int32_t)(((63 - zeros) << 16) + place[0] + (((place[1] - place[0]) * between) >> 16));
}

#ifndef SCENELET_DSP
/* The sum of the powers of some bins, and that of their shares, all of them before `end`. */
static void scenelet_add_bins(const int32_t *bin, const uint16_t *share, const int32_t *end, uint64_t *all,
                              uint64_t *risen)
{
    uint64_t sum = 0, part = 0;
    for (; bin < end; bin += 2, share++) {
        uint32_t low = (uint32_t)bin[0], high = (uint32_t)bin[1];
        sum += (uint64_t)high << 32 | low;
        part += (uint64_t)low * *share + ((uint64_t)(high * *share) << 32);
    }
    *all = sum;
    *risen = part;
}
#endif

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
            uint32_t bins = (uint32_t)(end - bin) / 2;
            scenelet_add_bins(bin, share, end, &all, &risen);
            bin = end;
            share += bins;
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
    uint32_t bits = store_frame(state, frame, z), zeros = scenelet_leading_zeros(bits | 1);
    uint32_t shift = zeros - 3; /* to 29 bits, of which there are never more */
    shift = shift < SCENELET_MOST_SHIFT ? shift : SCENELET_MOST_SHIFT;
    scenelet_spectrum(z, shift);
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
    state->samples = SCENELET_LEAD;
    state->frames = 0;
    state->ring[0] = 0;
}

uint32_t scenelet_front_end_push(scenelet_front_end *state, scenelet_front_end_scratch *scratch,
                                 const int16_t *samples, uint32_t count, int8_t *map)
{
    uint32_t taken = 0;
    while (taken < count && state->samples < WHOLE) {
        uint32_t wanted = state->frames < SCENELET_FRAMES ? needed(state->frames) : WHOLE;
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
