/* See scenelet.h. */
#include "scenelet.h"

#include <string.h>

void scenelet_init(scenelet *state, uint32_t smoothing)
{
    scenelet_network_clear(state->input);
    scenelet_front_end_begin(&state->front_end);
    scenelet_average_begin(&state->average, smoothing);
}

uint32_t scenelet_push(scenelet *state, const int16_t *samples, uint32_t count)
{
    return scenelet_front_end_push(&state->front_end, &state->shared.front_end, samples, count, state->input);
}

int32_t scenelet_is_complete(const scenelet *state)
{
    return state->front_end.samples == SCENELET_LEAD + SCENELET_SAMPLES;
}

int32_t scenelet_classify(scenelet *state, scenelet_answer *answer)
{
    int32_t step, averaged;
    if (!scenelet_is_complete(state)) {
        return SCENELET_INCOMPLETE;
    }
    scenelet_network_begin(&state->shared.network);
    for (step = 0; step < SCENELET_STEPS; step++) {
        scenelet_network_step(&state->shared.network, state->input);
    }
    memcpy(answer->logits, scenelet_network_row(&state->shared.network, SCENELET_LAYERS - 1), SCENELET_CLASSES);
    answer->scene = scenelet_probabilities(answer->logits, answer->probabilities);
    averaged = scenelet_average_add(&state->average, answer->probabilities);
    if (state->average.shift) { /* else the logits decide, which are finer than probabilities */
        answer->scene = averaged;
    }
    scenelet_front_end_begin(&state->front_end);
    return scenelet_known(answer->scene, answer->probabilities);
}
