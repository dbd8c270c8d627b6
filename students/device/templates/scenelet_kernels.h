/* The layers of a network of 8-bit integers, row by row. A row of a map is (columns, channels), with columns of padding
 * at its ends. See scenelet_kernels.c. */
#ifndef SCENELET_KERNELS_H
#define SCENELET_KERNELS_H

#include <stdint.h>

/* How the rows of a map lie in memory: some of them in a ring, or all of them. */
typedef struct {
    int32_t offset;                          /* where the ring begins */
    int32_t rows;                            /* in it */
    int32_t row;                             /* bytes from one row to the next */
    int32_t before, values, after;           /* bytes of padding, of the row itself, and of padding */
    int32_t height;                          /* rows of the whole map */
    int8_t zero;                             /* the zero point */
    const int8_t *blank;                     /* a row of it, or 0 where no row of padding is read */
} scenelet_map;

typedef struct scenelet_layer scenelet_layer;

/* Computes a row `to` of a layer from the rows of its inputs; `strip` is memory for SCENELET_STRIP integers. */
typedef void scenelet_kernel(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip);

/* Two pixels of two channels at a time, `pairs` times: see scenelet_kernels.c. */
typedef const uint32_t *scenelet_pairs_function(
    const int16_t *strip, const uint32_t *numbers, int8_t *first, int8_t *second, int32_t pairs);

/* Four pixels of all channels, four channels at a time, each channel by itself: see scenelet_cortex_m.h. */
typedef void scenelet_four_function(const int8_t *const *rows, const uint32_t *numbers, int8_t *to, int32_t groups);

struct scenelet_layer {
    scenelet_kernel *compute;
    scenelet_pairs_function *pairs;              /* in assembly, or 0 */
    scenelet_four_function *four;                /* in assembly, or 0 */
    const uint32_t *numbers;                 /* weights, biases and factors in the order in which they are read */
    int8_t inputs[2];                        /* maps; of a layer with one input, twice the same */
    int8_t bits;                             /* of weights: 8 or 4 */
    int8_t shifts;                           /* whether sums are only shifted, or multiplied and rounded twice */
    int8_t low;                              /* the lowest integer that is written */
    int8_t maps;                             /* that are read at the same place: 2, or 1 */
    int32_t kernel_height, kernel_width;
    int32_t stride, top;                     /* rows from one window to the next, and of padding above the map */
    int32_t start, step;                     /* bytes from a row's beginning to the first window, and from one to the
                                              * next; of a sum or product: to the first values of both rows */
    int32_t segment;                         /* bytes of a window's row */
    int32_t columns, channels;               /* of what is written */
    int32_t next;                            /* bytes from one cell of a window's row to the next, of a convolution
                                              * channel by channel */
    int32_t ins, outs;                       /* channels that each group of a convolution reads and writes, if it is not
                                              * one of all channels */
    int32_t single;                          /* of a sum or product: which row has a single column, that belongs to
                                              * all: 1 or 2; or 0 */
    int32_t part_rows, part_words;           /* rows of each part that has numbers of its own, and how many those are;
                                              * or 0 */
};

scenelet_kernel scenelet_convolve, scenelet_depthwise, scenelet_few, scenelet_add, scenelet_average_pool, scenelet_max_pool;
scenelet_kernel scenelet_multiply, scenelet_take, scenelet_join, scenelet_turn, scenelet_look_up;
scenelet_kernel scenelet_gru; /* in networks that have one: scenelet_gru.c */

#endif
