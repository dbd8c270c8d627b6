/* The recurrence of a gated recurrent unit: 8-bit gates and states, a state of 16 bits between two steps. Equal in every
 * bit to students/quantize/gru.py, where the formulas and scales are.
 *
 * Numbers: of gates zero point, multiplier and exponent; of states multiplier, exponent and zero point; then, for the
 * reset, the update and the candidate of each unit, bias, multiplier of 15 bits, shift, and the weights of all units, a
 * byte each, filled up to whole words. */
#include "scenelet_network_tables.h"

#include <string.h>

#define HEAD 6 /* numbers before those of units */

static int32_t cut(int64_t value)
{
    return (int32_t)(value < -32768 ? -32768 : value > 32767 ? 32767 : value);
}

/* A value times a multiplier / 2^31 * 2^exponent, rounded twice. */
static int64_t scaled(int32_t value, int32_t multiplier, int32_t exponent)
{
    int64_t product = (int64_t)value * multiplier;
    if (exponent >= 0) {
        return (product * ((int64_t)1 << exponent) + ((int64_t)1 << 30)) >> 31;
    }
    product = (product + ((int64_t)1 << 30)) >> 31;
    return (product + (product >> 63) + ((int64_t)1 << (-exponent - 1))) >> -exponent;
}

/* A number of the scale 2^-15 times another one, in the scale of the latter. */
static int32_t product_of(int32_t first, int32_t second)
{
    int32_t high = (first * second + 1) >> 1;
    return (high + (high >> 31) + (1 << 13)) >> 14;
}

/* In twice the scale. */
static int32_t half(int32_t value)
{
    return (value * (1 << 13) + (value >> 31) + (1 << 13)) >> 14;
}

/* Of the table at magnitude / 2^bits, times 2^bits. */
static int32_t interpolated(int32_t magnitude, int32_t bits, int32_t largest)
{
    int32_t place = magnitude >> bits, part = magnitude & ((1 << bits) - 1);
    if (place >= 255) {
        return largest * (1 << bits);
    }
    return scenelet_sigmoids[place] * (1 << bits) + part * (scenelet_sigmoids[place + 1] - scenelet_sigmoids[place]);
}

static int32_t logistic(int32_t sum)
{
    int32_t value = interpolated(sum < 0 ? -3 * sum : 3 * sum, 9, 2 * 0x7FFF);
    return (sum < 0 ? (1 << 25) - value + (1 << 9) - 1 : value + (1 << 9)) >> 10;
}

static int32_t hyperbolic_tangent(int32_t sum)
{
    int32_t value = interpolated(sum < 0 ? -3 * sum : 3 * sum, 8, 0xFFFF) - (1 << 23);
    return (sum < 0 ? -value + (1 << 7) - 1 : value + (1 << 7)) >> 8;
}

/* The state times the weights of one gate of one unit, `words` numbers in all. */
static int32_t summed(const int16_t *state, const uint32_t *numbers, int32_t words)
{
    int32_t sum = (int32_t)numbers[0], shift = (int32_t)numbers[2];
    const uint32_t *weights = numbers + 3, *end = numbers + words;
    for (; weights < end; weights++) {
        uint32_t four = *weights;
        sum += *state++ * (int8_t)four;
        sum += *state++ * (int8_t)(four >> 8);
        sum += *state++ * (int8_t)(four >> 16);
        sum += *state++ * (int8_t)(four >> 24);
    }
    return cut(((int64_t)sum * (int32_t)numbers[1] + ((int64_t)1 << (shift - 1))) >> shift);
}

void scenelet_gru(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    int32_t units = layer->channels, words = 3 + (units + 3) / 4, step, i;
    const int32_t *n = (const int32_t *)layer->numbers;
    int16_t *state = strip, *sums = strip + (units + 3) / 4 * 4;
    memset(state, 0, (uint32_t)(sums - state) * sizeof *state);
    for (step = 0; step < layer->columns; step++) {
        const int8_t *gates = rows[0] + layer->start + step * layer->step;
        for (i = 0; i < 3 * units; i++) {
            sums[i] = (int16_t)summed(state, layer->numbers + HEAD + i * words, words);
        }
        for (i = 0; i < units; i++) {
            int32_t r, z, candidate, gate[3], j;
            int64_t value;
            for (j = 0; j < 3; j++) {
                gate[j] = cut(scaled(gates[j * units + i] - n[0], n[1], n[2]));
            }
            r = logistic(cut(gate[0] + sums[i]));
            z = logistic(cut(gate[1] + sums[units + i]));
            candidate = hyperbolic_tangent(cut(gate[2] + cut(product_of(r, sums[2 * units + i]))));
            state[i] = (int16_t)cut(candidate + 2 * cut(product_of(z, cut(half(state[i] - candidate)))));
            value = scaled(state[i], n[3], n[4]) + n[5];
            *to++ = (int8_t)(value < layer->low ? layer->low : value > 127 ? 127 : value);
        }
    }
}
