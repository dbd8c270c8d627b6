/* The layers of a network of 8-bit integers, as TensorFlow Lite's reference kernels round them: products are summed with
 * 32 bits, and a sum is rescaled with two roundings (gemmlowp: a rounding doubling high multiply, then a rounding shift).
 * Equal in every bit to students/quantize/integer.py. */
#include "scenelet_kernels.h"

typedef char scenelet_shifts_are_arithmetic[(-3 >> 1) == -2 ? 1 : -1];

static int32_t rescaled(int32_t value, int32_t mantissa, int32_t exponent)
{
    int32_t left = exponent > 0 ? exponent : 0, right = exponent < 0 ? -exponent : 0;
    int64_t high = ((int64_t)value * mantissa * ((int64_t)1 << left) + ((int64_t)1 << 30)) >> 31;
    if (right > 0) {
        /* Halves go away from zero: below it, up to a half less than nothing. */
        high = (high + (high >> 63) + ((int64_t)1 << (right - 1))) >> right;
    }
    return (int32_t)high;
}

static int8_t between(int32_t value, int32_t low, int32_t high)
{
    return (int8_t)(value < low ? low : value > high ? high : value);
}

static int32_t weight(const scenelet_convolution *layer, int32_t place)
{
    int32_t both;
    if (layer->bits == 8) {
        return layer->weights[place];
    }
    both = layer->weights[place / 2];
    return place % 2 ? both >> 4 : ((both & 15) ^ 8) - 8;
}

static int8_t written(const scenelet_convolution *layer, int32_t channel, int32_t sum)
{
    const scenelet_window *at = &layer->at;
    return between(rescaled(sum, layer->mantissas[channel], layer->exponents[channel]) + at->out_zero, at->low, at->high);
}

void scenelet_convolve(const scenelet_convolution *layer, const int8_t *from, int8_t *to)
{
    const scenelet_window *at = &layer->at;
    int32_t row, column, channel, i, j, k;
    for (row = 0; row < at->out_height; row++) {
        for (column = 0; column < at->out_width; column++) {
            int32_t y = row * at->stride_height - at->top, x = column * at->stride_width - at->left;
            for (channel = 0; channel < at->out_channels; channel++) {
                int32_t sum = layer->biases[channel];
                for (i = 0; i < at->kernel_height; i++) {
                    for (j = 0; j < at->kernel_width; j++) {
                        if (y + i >= 0 && y + i < at->height && x + j >= 0 && x + j < at->width) {
                            int32_t place = ((channel * at->kernel_height + i) * at->kernel_width + j) * at->channels;
                            const int8_t *cell = from + ((y + i) * at->width + x + j) * at->channels;
                            for (k = 0; k < at->channels; k++) {
                                sum += weight(layer, place + k) * (cell[k] - at->zero);
                            }
                        }
                    }
                }
                *to++ = written(layer, channel, sum);
            }
        }
    }
}

void scenelet_convolve_by_channel(const scenelet_convolution *layer, const int8_t *from, int8_t *to)
{
    const scenelet_window *at = &layer->at;
    int32_t row, column, channel, i, j;
    for (row = 0; row < at->out_height; row++) {
        for (column = 0; column < at->out_width; column++) {
            int32_t y = row * at->stride_height - at->top, x = column * at->stride_width - at->left;
            for (channel = 0; channel < at->channels; channel++) {
                int32_t sum = layer->biases[channel];
                for (i = 0; i < at->kernel_height; i++) {
                    for (j = 0; j < at->kernel_width; j++) {
                        if (y + i >= 0 && y + i < at->height && x + j >= 0 && x + j < at->width) {
                            int32_t place = (i * at->kernel_width + j) * at->channels + channel;
                            int32_t cell = from[((y + i) * at->width + x + j) * at->channels + channel];
                            sum += weight(layer, place) * (cell - at->zero);
                        }
                    }
                }
                *to++ = written(layer, channel, sum);
            }
        }
    }
}

void scenelet_add(const scenelet_addition *layer, const int8_t *first, const int8_t *second, int8_t *to)
{
    int32_t i;
    for (i = 0; i < layer->count; i++) {
        int32_t a = (first[i] - layer->zeros[0]) * (1 << 20), b = (second[i] - layer->zeros[1]) * (1 << 20);
        int32_t sum = rescaled(a, layer->mantissas[0], layer->exponents[0])
                      + rescaled(b, layer->mantissas[1], layer->exponents[1]);
        to[i] = between(rescaled(sum, layer->out_mantissa, layer->out_exponent) + layer->out_zero, layer->low, layer->high);
    }
}

/* The cells of a window, or those of its padding, which are all `outside`: their sum, or the largest. */
static int32_t gathered(const scenelet_window *at, const int8_t *from, int32_t y, int32_t x, int32_t outside, int largest)
{
    int32_t found = largest ? INT32_MIN : 0, i, j;
    for (i = y; i < y + at->kernel_height; i++) {
        for (j = x; j < x + at->kernel_width; j++) {
            int inside = i >= 0 && i < at->height && j >= 0 && j < at->width;
            int32_t cell = inside ? from[(i * at->width + j) * at->channels] : outside;
            found = !largest ? found + cell : cell > found ? cell : found;
        }
    }
    return found;
}

/* Rounded, halves away from zero: the integers themselves are averaged, whatever stands for 0. */
void scenelet_average(const scenelet_window *at, const int8_t *from, int8_t *to)
{
    int32_t row, column, channel, count = at->kernel_height * at->kernel_width;
    for (row = 0; row < at->out_height; row++) {
        for (column = 0; column < at->out_width; column++) {
            int32_t y = row * at->stride_height - at->top, x = column * at->stride_width - at->left;
            for (channel = 0; channel < at->channels; channel++) {
                int32_t sum = gathered(at, from + channel, y, x, at->zero, 0);
                *to++ = between((sum + (sum > 0 ? count / 2 : -(count / 2))) / count, at->low, at->high);
            }
        }
    }
}

void scenelet_maximum(const scenelet_window *at, const int8_t *from, int8_t *to)
{
    int32_t row, column, channel;
    for (row = 0; row < at->out_height; row++) {
        for (column = 0; column < at->out_width; column++) {
            for (channel = 0; channel < at->channels; channel++) {
                int32_t y = row * at->stride_height, x = column * at->stride_width;
                *to++ = between(gathered(at, from + channel, y, x, 0, 1), at->low, at->high);
            }
        }
    }
}
