/* Compares all tables, and of signals of its own every layer's integers, by their CRC-32, and the answers, with what Python
 * has. Ends with "N of N equal" and the status 0 if all are. */
#include <stdio.h>
#include <string.h>

#include "scenelet.h"
#include "vectors.h"

static scenelet state;

static uint32_t crc(uint32_t found, const int8_t *bytes, int32_t count)
{
    int32_t bit;
    found = ~found;
    for (; count > 0; count--) {
        found ^= (uint8_t)*bytes++;
        for (bit = 0; bit < 8; bit++) {
            found = found >> 1 ^ (found & 1u ? 0xedb88320u : 0u);
        }
    }
    return ~found;
}

/* Whether a table of numbers of one, two or four bytes is as expected; if not, it is named. */
static int is_same(const char *name, const void *table, int32_t width, int32_t count, uint32_t expected)
{
    uint32_t found = 0;
    int32_t i, j;
    for (i = 0; i < count; i++) {
        uint32_t value = width == 1   ? ((const uint8_t *)table)[i]
                         : width == 2 ? ((const uint16_t *)table)[i]
                                      : ((const uint32_t *)table)[i];
        for (j = 0; j < width; j++) {
            int8_t byte = (int8_t)(value >> (8 * j));
            found = crc(found, &byte, 1);
        }
    }
    if (found != expected) {
        printf("table %s differs\n", name);
    }
    return found == expected;
}

/* Noise through a low-pass filter, and a rectangular wave. */
static int16_t sample_of(const scenelet_vector *vector, uint32_t *seed, int32_t *low, uint32_t number)
{
    int32_t noise, value;
    *seed = *seed * 1664525u + 1013904223u;
    noise = (int32_t)(*seed >> 16) - 32768;
    *low += (noise - *low) >> vector->smoothing;
    value = (*low * vector->gain) >> 8;
    value += number / vector->period % 2 ? vector->amplitude : -vector->amplitude;
    return (int16_t)(value < -32768 ? -32768 : value > 32767 ? 32767 : value);
}

static void push_signal(const scenelet_vector *vector)
{
    static int16_t samples[700];
    uint32_t seed = vector->seed, number = 0, count, taken;
    int32_t low = 0;
    while (number < SCENELET_SAMPLES) {
        for (count = 0; count < vector->chunk && number < SCENELET_SAMPLES; count++) {
            samples[count] = sample_of(vector, &seed, &low, number++);
        }
        for (taken = 0; taken < count;) {
            taken += scenelet_push(&state, samples + taken, count - taken);
        }
    }
}

/* Whether all that is computed of a signal is as expected; what is not is named. */
static int is_equal(int32_t number, const scenelet_vector *vector)
{
    static uint32_t layers[SCENELET_LAYERS];
    uint32_t input = 0;
    int32_t i, scene, equal = 1;
    scenelet_answer answer;
    scenelet_init(&state, 0);
    push_signal(vector);
    for (i = 0; i < SCENELET_MELS; i++) {
        input = crc(input, state.input + SCENELET_MAP_FIRST + i * SCENELET_MAP_ROW, SCENELET_FRAMES);
    }
    if (input != vector->input) {
        printf("signal %d: the log-mel differs\n", (int)number);
        equal = 0;
    }
    memset(layers, 0, sizeof layers);
    scenelet_network_begin(&state.shared.network);
    for (i = 0; i < SCENELET_STEPS; i++) {
        int32_t layer = scenelet_network_step(&state.shared.network, state.input);
        const int8_t *row = scenelet_network_row(&state.shared.network, layer);
        layers[layer] = crc(layers[layer], row, scenelet_maps[layer + 1].values);
    }
    for (i = 0; i < SCENELET_LAYERS; i++) {
        if (layers[i] != vector->layers[i]) {
            printf("signal %d: layer %d, %s, differs\n", (int)number, (int)i, scenelet_layer_names[i]);
            equal = 0;
        }
    }
    scene = scenelet_classify(&state, &answer);
    if (scene != vector->scene || memcmp(answer.logits, vector->logits, sizeof answer.logits)
        || memcmp(answer.probabilities, vector->probabilities, sizeof answer.probabilities)) {
        printf("signal %d: the answer differs\n", (int)number);
        equal = 0;
    }
    return equal;
}

int main(void)
{
    int32_t i, equal = 0;
    for (i = 0; i < SCENELET_VECTORS; i++) {
        equal += is_equal(i, &scenelet_vectors[i]);
    }
#define SCENELET_CHECK(table, width, count, expected) equal += is_same(#table, table, width, count, expected);
    SCENELET_CHECK_TABLES(SCENELET_CHECK)
    printf("%d of %d equal\n", (int)equal, SCENELET_VECTORS + SCENELET_TABLES);
    return equal != SCENELET_VECTORS + SCENELET_TABLES;
}
