/* SPDX-License-Identifier: Apache-2.0. Written by scenelet. */
/* What a Cortex-M4 begins with: the first words of its memory, and the variables before main. */
#include <stdint.h>

extern uint32_t scenelet_data_source[], scenelet_data[], scenelet_data_end[];
extern uint32_t scenelet_bss[], scenelet_bss_end[], scenelet_stack_top[];

__attribute__((weak)) int main(void);
__attribute__((noinline, used)) void scenelet_start_up(void); /* is called from outside, too */
void scenelet_reset(void);

/* Give all variables their first values. The loops are not to become calls of memcpy and memset. */
void scenelet_start_up(void)
{
    volatile uint32_t *to;
    const uint32_t *from = scenelet_data_source;
    for (to = scenelet_data; to < scenelet_data_end; to++) {
        *to = *from++;
    }
    for (to = scenelet_bss; to < scenelet_bss_end; to++) {
        *to = 0;
    }
}

void scenelet_reset(void)
{
    scenelet_start_up();
    if (main) {
        main();
    }
    for (;;) {
    }
}

static void stop(void)
{
    for (;;) {
    }
}

typedef struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors;

/* Where the stack begins, what runs first, and what runs after faults and interrupts. */
__attribute__((section(".vectors"), used)) static const vectors first_words = {
    scenelet_stack_top,
    {scenelet_reset, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop},
};
