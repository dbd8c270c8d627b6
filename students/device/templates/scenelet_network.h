/* A network of 8-bit integers that is computed row by row: see scenelet_network.c. */
#ifndef SCENELET_NETWORK_H
#define SCENELET_NETWORK_H

#include <stdint.h>

#include "scenelet_network_tables.h"

/* What the network needs while it runs, besides its input. */
typedef struct {
    int8_t maps[SCENELET_MAPS];              /* rows that are still to be read */
    union {
        uint32_t aligned;
        int16_t values[SCENELET_STRIP];
    } strip;                                 /* the windows of two pixels */
    uint32_t step;
    int16_t rows[SCENELET_LAYERS];           /* computed of each layer */
} scenelet_network;

/* Fill an input of SCENELET_INPUT bytes with the zero point. Value `frame` of band `band` lies at
 * band * SCENELET_INPUT_ROW + SCENELET_INPUT_BEFORE + frame; what lies beside the frames is padding and stays as it is. */
void scenelet_network_clear(int8_t *input);

/* Begin a clip. */
void scenelet_network_begin(scenelet_network *network);

/* Compute one row of one layer, in SCENELET_STEPS steps all that the logits need. Returns the layer. */
int32_t scenelet_network_step(scenelet_network *network, const int8_t *input);

/* The latest row of a layer, scenelet_maps[layer + 1].values integers; of the last layer: the logits. */
const int8_t *scenelet_network_row(const scenelet_network *network, int32_t layer);

#endif
