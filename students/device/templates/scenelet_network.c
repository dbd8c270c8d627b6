/* A network of 8-bit integers, row by row: a row is computed when another one needs it, and is kept until the last one
 * has read it. Which layer is next stands in scenelet_steps, which students/device/plan.py makes. */
#include "scenelet_network.h"

#include <string.h>

static const int8_t *row_of(const scenelet_network *network, const int8_t *input, int32_t number, int32_t row)
{
    const scenelet_map *map = &scenelet_maps[number];
    if (row < 0 || row >= map->height) {
        return map->blank;
    }
    return (number ? network->maps + map->offset : input) + row % map->rows * map->row;
}

/* Of what is added to a row, or multiplies it: a map's only row belongs to all. */
static const int8_t *summand_of(const scenelet_network *network, const int8_t *input, int32_t number, int32_t row)
{
    return row_of(network, input, number, scenelet_maps[number].height == 1 ? 0 : row);
}

void scenelet_network_clear(int8_t *input)
{
    memset(input, scenelet_maps[0].zero, SCENELET_INPUT);
}

void scenelet_network_begin(scenelet_network *network)
{
    memset(network->rows, 0, sizeof network->rows);
    network->step = 0;
}

int32_t scenelet_network_step(scenelet_network *network, const int8_t *input)
{
    int32_t number = scenelet_steps[network->step++], row = network->rows[number]++, i;
    const scenelet_layer *layer = &scenelet_layers[number];
    const scenelet_map *map = &scenelet_maps[number + 1];
    const int8_t *rows[SCENELET_WINDOW_ROWS];
    int8_t *to = network->maps + map->offset + row % map->rows * map->row;
    for (i = 0; i < layer->kernel_height; i++) {
        rows[i] = row_of(network, input, layer->inputs[0], row * layer->stride - layer->top + i);
    }
    if (layer->maps == 2) {
        rows[0] = summand_of(network, input, layer->inputs[0], row);
        rows[1] = summand_of(network, input, layer->inputs[1], row);
    }
    memset(to, map->zero, (uint32_t)map->before);
    memset(to + map->before + map->values, map->zero, (uint32_t)map->after);
    if (layer->part_rows) {
        scenelet_layer part = *layer;
        part.numbers += row / layer->part_rows * layer->part_words;
        part.compute(&part, rows, to + map->before, network->strip.values);
    } else {
        layer->compute(layer, rows, to + map->before, network->strip.values);
    }
    return number;
}

const int8_t *scenelet_network_row(const scenelet_network *network, int32_t layer)
{
    const scenelet_map *map = &scenelet_maps[layer + 1];
    return network->maps + map->offset + (network->rows[layer] - 1) % map->rows * map->row + map->before;
}
