/* The layers of a network of 8-bit integers. Maps are (height, width, channels). See scenelet_kernels.c. */
#ifndef SCENELET_KERNELS_H
#define SCENELET_KERNELS_H

#include <stdint.h>

/* What reads one map and writes another. */
typedef struct {
    int32_t height, width, channels;         /* of the map that is read */
    int32_t out_height, out_width, out_channels;
    int32_t kernel_height, kernel_width;
    int32_t stride_height, stride_width;
    int32_t top, left;                       /* rows and columns of padding before the map */
    int32_t zero, out_zero;                  /* the integers that stand for 0 */
    int32_t low, high;                       /* the range of what is written */
} scenelet_window;

typedef struct {
    scenelet_window at;
    const int8_t *weights;                   /* (out_channels, kernel_height, kernel_width, channels), or, of a layer
                                              * that treats each channel by itself, (kernel_height, kernel_width,
                                              * channels); two in a byte, the first one low, if there are 4 bits */
    const int32_t *biases;
    const int32_t *mantissas;                /* of each output channel's factor: mantissa / 2^31 * 2^exponent */
    const int8_t *exponents;
    int32_t bits;                            /* of weights */
} scenelet_convolution;

typedef struct {
    int32_t count;
    int32_t zeros[2], mantissas[2], exponents[2];
    int32_t out_zero, out_mantissa, out_exponent;
    int32_t low, high;
} scenelet_addition;

void scenelet_convolve(const scenelet_convolution *layer, const int8_t *from, int8_t *to);
void scenelet_convolve_by_channel(const scenelet_convolution *layer, const int8_t *from, int8_t *to);
void scenelet_add(const scenelet_addition *layer, const int8_t *first, const int8_t *second, int8_t *to);
void scenelet_average(const scenelet_window *at, const int8_t *from, int8_t *to);
void scenelet_maximum(const scenelet_window *at, const int8_t *from, int8_t *to);

#endif
