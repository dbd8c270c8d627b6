/* From a microphone's samples to the acoustic scene, in integers alone and without a heap.
 *
 *     static scenelet state;
 *     scenelet_answer answer;
 *     scenelet_init(&state, 0);
 *     for (;;) {
 *         const int16_t *samples = ...;                          as many as have come, mono, SCENELET_SAMPLE_RATE Hz
 *         uint32_t taken = scenelet_push(&state, samples, count);
 *         if (scenelet_is_complete(&state)) {
 *             int32_t scene = scenelet_classify(&state, &answer);
 *             ... scene < 0 ? "unknown" : scenelet_scenes[scene] ...
 *         }
 *         ... the samples from `taken` on are the first of the next clip ...
 *     }
 *
 * A clip has SCENELET_SAMPLES samples; 32768 is full scale, and samples are taken as they are: no clip is made louder. */
#ifndef SCENELET_H
#define SCENELET_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "scenelet_answer.h"
#include "scenelet_front_end.h"
#include "scenelet_network.h"
#include "scenelet_tables.h"

#define SCENELET_INCOMPLETE (-2) /* the answer to a clip that is not complete */

/* All memory: SCENELET_ARENA bytes, once for each stream of samples. */
typedef struct {
    scenelet_front_end front_end;
    scenelet_average average;
    union {                                  /* one works while the other rests */
        scenelet_front_end_scratch front_end;
        scenelet_network network;
    } shared;
    int8_t input[SCENELET_INPUT];            /* of the network: the log-mel of the clip */
} scenelet;

typedef struct {
    int32_t scene;                           /* the most probable one */
    int8_t logits[SCENELET_CLASSES];
    uint16_t probabilities[SCENELET_CLASSES]; /* in 1/32768 */
} scenelet_answer;

/* Begin. Each clip's probabilities count 1/2^smoothing in the average of those that follow each other, smoothing is 0 (no
 * average) to SCENELET_MOST_SMOOTH. */
void scenelet_init(scenelet *state, uint32_t smoothing);

/* Take up to `count` samples, any number. Returns how many were taken: fewer than `count` if the clip is complete. */
uint32_t scenelet_push(scenelet *state, const int16_t *samples, uint32_t count);

/* Whether scenelet_classify has a clip to classify. */
int32_t scenelet_is_complete(const scenelet *state);

/* Compute the answer to the clip, and begin the next one. Returns its scene, or SCENELET_UNKNOWN if that is not probable
 * enough, or SCENELET_INCOMPLETE if samples are missing, and then nothing is computed. */
int32_t scenelet_classify(scenelet *state, scenelet_answer *answer);

#ifdef __cplusplus
}
#endif
#endif
