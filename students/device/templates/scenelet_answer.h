/* From the logits of a clip to an answer and its probability. See scenelet_answer.c. */
#ifndef SCENELET_ANSWER_H
#define SCENELET_ANSWER_H

#include <stdint.h>

#include "scenelet_answer_tables.h"

#define SCENELET_UNKNOWN (-1)  /* the answer where no scene is probable enough */
#define SCENELET_ONE 32768     /* the probability 1 */
#define SCENELET_MOST_SMOOTH 16

/* The moving average of the probabilities of clips that follow each other. */
typedef struct {
    uint32_t sums[SCENELET_CLASSES];
    uint32_t shift;
    uint32_t begun;
} scenelet_average;

/* The calibrated probabilities of the scenes in 1/32768, of a clip's logits. Returns the scene with the highest logit,
 * the first of several. */
int32_t scenelet_probabilities(const int8_t *logits, uint16_t *probabilities);

/* The scene, or SCENELET_UNKNOWN if its probability is below scenelet_threshold. */
int32_t scenelet_known(int32_t scene, const uint16_t *probabilities);

/* Begin an average in which the latest clip counts 1/2^shift; shift is 0 to SCENELET_MOST_SMOOTH, and 0 averages
 * nothing. */
void scenelet_average_begin(scenelet_average *average, uint32_t shift);

/* Add a clip to the average, which replaces its probabilities. Returns the most probable scene, the first of several. */
int32_t scenelet_average_add(scenelet_average *average, uint16_t *probabilities);

#endif
