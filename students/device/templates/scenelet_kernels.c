/* The layers of a network of 8-bit integers, row by row, as TensorFlow Lite's reference kernels round them: products are
 * summed with 32 bits, and a sum is rescaled with two roundings (gemmlowp: a rounding doubling high multiply, then a
 * rounding shift). Equal in every bit to students/quantize/integer.py.
 *
 * The zero point of a layer's input is folded into its biases: sum(w (x - z)) = sum(w x) - z sum(w). What is added to
 * a result after its last shift is added before it, shifted to the left.
 *
 * Numbers of a convolution of all channels, for each pair of output channels (a last one without a pair has weights of
 * 0 beside it):
 *   two biases; for each four values of the window four weights of the one and four of the other channel, a byte each;
 *   or for each eight values eight weights of 4 bits, the first four in the lower halves of the bytes, and then biases
 *   are 16 times as large; two times multiplier, addend, shift; or, of a layer with shifts only, two shifts, and the
 *   addends are in the biases.
 * Each row of the window is filled up to whole groups of four values with weights of 0.
 *
 * Numbers of a convolution in groups of channels, mostly channel by channel, for each four channels that are written,
 * for 0 and 2 and then for 1 and 3: two biases; for each cell of the window, and each channel of it that the group reads,
 * the two weights, 16 bits each; factors as above. */
#include "scenelet_kernels.h"

#include <string.h>

#include "scenelet_cortex_m.h"

typedef char scenelet_shifts_are_arithmetic[(-3 >> 1) == -2 ? 1 : -1];

/* Multiplier, addend and shift of a channel applied to a sum. With shifts from 24 on the addend is the zero point alone. */
static int32_t rescaled(int32_t sum, const uint32_t *factor)
{
    int32_t multiplier = (int32_t)factor[0], addend = (int32_t)factor[1], shift = (int32_t)factor[2];
    int64_t product = (int64_t)sum * multiplier;
    if (shift <= 0) {
        return (int32_t)((product * ((int64_t)1 << -shift) + ((int64_t)1 << 30)) >> 31) + addend;
    }
    product = (product + ((int64_t)1 << 30)) >> 31;
    if (shift >= 24) {
        return (int32_t)((product + (product >> 63) + ((int64_t)1 << (shift - 1))) >> shift) + addend;
    }
    return (int32_t)((product + (product >> 63) + addend) >> shift); /* halves go away from zero */
}

static int8_t within(int32_t value, int32_t low)
{
    return (int8_t)(value < low ? low : value > 127 ? 127 : value);
}

static int32_t byte_of(uint32_t word, uint32_t number)
{
    return (int8_t)(word >> (8 * number));
}

/* Weight `number` (0 to 7) of eight of 4 bits. */
static int32_t half_byte_of(uint32_t word, uint32_t number)
{
    uint32_t bits = word >> (8 * (number % 4) + (number < 4 ? 0 : 4)) & 15u;
    return (int32_t)(bits ^ 8u) - 8;
}

/* Values 0, 2, 1, 3 of each group of four of two pixels in turn, as 16 bits: what SXTB16 makes of four bytes. */
static int16_t *spread(int16_t *strip, const int8_t *first, const int8_t *second, int32_t groups)
{
#ifdef SCENELET_DSP
    return groups ? scenelet_spread(strip, first, second, groups) : strip;
#else
    static const int8_t order[4] = {0, 2, 1, 3};
    int32_t i;
    for (; groups > 0; groups--) {
        for (i = 0; i < 4; i++) {
            strip[i] = first[order[i]];
            strip[4 + i] = second[order[i]];
        }
        strip += 8;
        first += 4;
        second += 4;
    }
    return strip;
#endif
}

/* The sum of products of a pixel of the strip and one of two channels. */
static int32_t summed(const int16_t *strip, const int16_t *end, const uint32_t *weights, int32_t bits, int32_t sum)
{
    static const uint32_t order[4] = {0, 2, 1, 3};
    uint32_t i, high = 0;
    for (; strip < end; strip += 8) {
        for (i = 0; i < 4; i++) {
            sum += strip[i] * (bits == 8 ? byte_of(*weights, order[i]) : 16 * half_byte_of(*weights, high + order[i]));
        }
        high = bits == 8 ? 0 : 4 - high;
        weights += high ? 0 : 2;
    }
    return bits == 8 ? sum : sum >> 4;
}

/* What `pairs` does in assembly. */
static const uint32_t *compute_pairs(const scenelet_layer *layer, const int16_t *strip, const uint32_t *numbers,
                                     const int16_t *end, int8_t *first, int8_t *second, int32_t pairs)
{
    int32_t words = (int32_t)(end - strip) / (layer->bits == 8 ? 4 : 8), channel, low = layer->low;
    for (; pairs > 0; pairs--) {
        const uint32_t *factors = numbers + 2 + words;
        for (channel = 0; channel < 2; channel++) {
            int32_t bias = (int32_t)numbers[channel];
            int32_t a = summed(strip, end, numbers + 2 + channel, layer->bits, bias);
            int32_t b = summed(strip + 4, end, numbers + 2 + channel, layer->bits, bias);
            *first++ = within(layer->shifts ? a >> *factors : rescaled(a, factors), low);
            *second++ = within(layer->shifts ? b >> *factors : rescaled(b, factors), low);
            factors += layer->shifts ? 1 : 3;
        }
        numbers = factors;
    }
    return numbers;
}

/* Assembly cuts off at -128. */
static void raise_to(int8_t *to, int32_t count, int32_t low)
{
    for (; low > -128 && count > 0; count--, to++) {
        *to = within(*to, low);
    }
}

void scenelet_convolve(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    int32_t groups = (layer->segment + 3) / 4, whole = layer->channels / 2, column, i;
    for (column = 0; column < layer->columns; column += 2) {
        /* The last of an odd number of columns is computed twice. */
        int32_t next = column + 1 < layer->columns ? column + 1 : column;
        int8_t *first = to + column * layer->channels, *second = to + next * layer->channels, last[2], both[2];
        int32_t at = layer->start + column * layer->step, beside = layer->start + next * layer->step;
        const uint32_t *numbers = layer->numbers;
        int16_t *end = strip;
        for (i = 0; i < layer->kernel_height; i++) {
            end = spread(end, rows[i] + at, rows[i] + beside, groups);
        }
        if (layer->bits == 4 && (end - strip) % 16) {
            memset(end, 0, 8 * sizeof *end);
            end += 8;
        }
        if (layer->pairs) {
            numbers = whole ? layer->pairs(strip, numbers, first, second, whole) : numbers;
        } else {
            numbers = compute_pairs(layer, strip, numbers, end, first, second, whole);
        }
        if (layer->channels % 2) {
            if (layer->pairs) {
                layer->pairs(strip, numbers, last, both, 1);
            } else {
                compute_pairs(layer, strip, numbers, end, last, both, 1);
            }
            first[layer->channels - 1] = last[0];
            second[layer->channels - 1] = both[0];
        }
    }
    raise_to(to, layer->columns * layer->channels, layer->pairs ? layer->low : -128);
}

/* Four pixels at a time, the last of which may be computed twice. */
static void compute_fours(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to)
{
    const int8_t *at[3];
    int32_t column, i;
    for (column = 0; column < layer->columns; column += 4) {
        int32_t from = column + 4 <= layer->columns ? column : layer->columns - 4;
        for (i = 0; i < 3; i++) {
            at[i] = rows[i] + layer->start + from * layer->step;
        }
        layer->four(at, layer->numbers, to + from * layer->channels, layer->channels / 4);
    }
    raise_to(to, layer->columns * layer->channels, layer->low);
}

/* The same of sums below 2^30 and shifts from 1 to 23: then 32 bits hold what is shifted last. */
static int32_t rescaled_small(int32_t sum, const uint32_t *factor)
{
    int32_t product = (int32_t)(((int64_t)sum * (int32_t)factor[0] + ((int64_t)1 << 30)) >> 31);
    return (product + (product >> 31) + (int32_t)factor[1]) >> factor[2];
}

/* Windows of one cell: one channel after the other, whose numbers are read once. */
static void compute_cells(const scenelet_layer *layer, const int8_t *row, int8_t *to, int32_t half)
{
    int32_t channel, low = layer->low, limit = 1 << 29;
    for (channel = 0; channel < layer->channels; channel++) {
        int32_t second = channel % 4 / 2;
        const uint32_t *numbers = layer->numbers + (channel / 4 * 2 + channel % 2) * half;
        const uint32_t *factors = numbers + 3 + second * (layer->shifts ? 1 : 3);
        int32_t bias = (int32_t)numbers[second], weight = (int16_t)(second ? numbers[2] >> 16 : numbers[2]);
        const int8_t *cell = row + layer->start + channel / layer->outs;
        int8_t *at = to + channel, *end = at + layer->columns * layer->channels;
        if (!layer->shifts && factors[2] - 1 < 23 && bias > -limit && bias < limit) {
            for (; at < end; at += layer->channels, cell += layer->step) {
                *at = within(rescaled_small(bias + weight * *cell, factors), low);
            }
            continue;
        }
        for (; at < end; at += layer->channels, cell += layer->step) {
            int32_t sum = bias + weight * *cell;
            *at = within(layer->shifts ? sum >> *factors : rescaled(sum, factors), low);
        }
    }
}

/* The same for windows of three cells, in frequency or in time. */
static void compute_threes(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int32_t half)
{
    int32_t channel, low = layer->low, limit = 1 << 29;
    for (channel = 0; channel < layer->channels; channel++) {
        int32_t second = channel % 4 / 2;
        const uint32_t *numbers = layer->numbers + (channel / 4 * 2 + channel % 2) * half;
        const uint32_t *factors = numbers + 5 + second * (layer->shifts ? 1 : 3);
        int32_t bias = (int32_t)numbers[second], sum, u, v, w;
        int32_t is_small = !layer->shifts && factors[2] - 1 < 23 && bias > -limit && bias < limit;
        int32_t from = layer->start + channel / layer->outs;
        const int8_t *a = rows[0] + from, *b = a + layer->next, *c = b + layer->next;
        int8_t *at = to + channel, *end = at + layer->columns * layer->channels;
        if (layer->kernel_height == 3) {
            b = rows[1] + from;
            c = rows[2] + from;
        }
        u = (int16_t)(second ? numbers[2] >> 16 : numbers[2]);
        v = (int16_t)(second ? numbers[3] >> 16 : numbers[3]);
        w = (int16_t)(second ? numbers[4] >> 16 : numbers[4]);
        for (; at < end; at += layer->channels, a += layer->step, b += layer->step, c += layer->step) {
            sum = bias + u * *a + v * *b + w * *c;
            if (is_small) {
                *at = within(rescaled_small(sum, factors), low);
            } else {
                *at = within(layer->shifts ? sum >> *factors : rescaled(sum, factors), low);
            }
        }
    }
}

/* The same for windows of 3 x 3 cells. */
static void compute_nines(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int32_t half)
{
    int32_t channel, low = layer->low, next = layer->next, limit = 1 << 29, i;
    for (channel = 0; channel < layer->channels; channel++) {
        int32_t second = channel % 4 / 2, from = layer->start + channel / layer->outs, w[9];
        const uint32_t *numbers = layer->numbers + (channel / 4 * 2 + channel % 2) * half;
        const uint32_t *factors = numbers + 11 + second * (layer->shifts ? 1 : 3);
        int32_t bias = (int32_t)numbers[second];
        int32_t is_small = !layer->shifts && factors[2] - 1 < 23 && bias > -limit && bias < limit;
        const int8_t *a = rows[0] + from, *b = rows[1] + from, *c = rows[2] + from;
        int8_t *at = to + channel, *end = at + layer->columns * layer->channels;
        for (i = 0; i < 9; i++) {
            w[i] = (int16_t)(second ? numbers[2 + i] >> 16 : numbers[2 + i]);
        }
        for (; at < end; at += layer->channels, a += layer->step, b += layer->step, c += layer->step) {
            int32_t sum = bias + w[0] * a[0] + w[1] * a[next] + w[2] * a[2 * next];
            sum += w[3] * b[0] + w[4] * b[next] + w[5] * b[2 * next];
            sum += w[6] * c[0] + w[7] * c[next] + w[8] * c[2 * next];
            if (is_small) {
                *at = within(rescaled_small(sum, factors), low);
            } else {
                *at = within(layer->shifts ? sum >> *factors : rescaled(sum, factors), low);
            }
        }
    }
}

/* Any windows, of groups of any size. */
static void compute_groups(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int32_t half)
{
    int32_t cells = layer->kernel_height * layer->kernel_width * layer->ins, column, channel, i, j, k;
    for (column = 0; column < layer->columns; column++) {
        for (channel = 0; channel < layer->channels; channel++) {
            int32_t second = channel % 4 / 2, from = channel / layer->outs * layer->ins;
            const uint32_t *numbers = layer->numbers + (channel / 4 * 2 + channel % 2) * half, *weight = numbers + 2;
            const uint32_t *factors = numbers + 2 + cells + second * (layer->shifts ? 1 : 3);
            int32_t sum = (int32_t)numbers[second];
            for (i = 0; i < layer->kernel_height; i++) {
                const int8_t *cell = rows[i] + layer->start + column * layer->step + from;
                for (j = 0; j < layer->kernel_width; j++) {
                    for (k = 0; k < layer->ins; k++) {
                        sum += (int16_t)(second ? *weight >> 16 : *weight) * cell[k];
                        weight++;
                    }
                    cell += layer->next;
                }
            }
            *to++ = within(layer->shifts ? sum >> *factors : rescaled(sum, factors), layer->low);
        }
    }
}

void scenelet_depthwise(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    int32_t cells = layer->kernel_height * layer->kernel_width * layer->ins;
    int32_t half = 2 + cells + (layer->shifts ? 2 : 6), column, channel, i, j;
    (void)strip;
    if (layer->four && layer->columns >= 4) {
        compute_fours(layer, rows, to);
        return;
    }
    if (layer->ins == 1 && cells == 1) {
        compute_cells(layer, rows[0], to, half);
        return;
    }
    if (layer->ins == 1 && cells == 3) {
        compute_threes(layer, rows, to, half);
        return;
    }
    if (layer->ins == 1 && cells == 9 && layer->kernel_width == 3) {
        compute_nines(layer, rows, to, half);
        return;
    }
    if (layer->outs > 1 || layer->ins > 1) {
        compute_groups(layer, rows, to, half);
        return;
    }
    for (column = 0; column < layer->columns; column++) {
        for (channel = 0; channel < layer->channels; channel++) {
            int32_t second = channel % 4 / 2;
            const uint32_t *numbers = layer->numbers + (channel / 4 * 2 + channel % 2) * half, *weight = numbers + 2;
            const uint32_t *factors = numbers + 2 + cells + second * (layer->shifts ? 1 : 3);
            int32_t sum = (int32_t)numbers[second];
            for (i = 0; i < layer->kernel_height; i++) {
                const int8_t *cell = rows[i] + layer->start + column * layer->step + channel;
                for (j = 0; j < layer->kernel_width; j++) {
                    sum += (int16_t)(second ? *weight >> 16 : *weight) * *cell;
                    weight++;
                    cell += layer->next;
                }
            }
            *to++ = within(layer->shifts ? sum >> *factors : rescaled(sum, factors), layer->low);
        }
    }
}

/* A convolution in groups of channels, of any size, if a value is of 16 products at most. */
void scenelet_few(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    const int8_t *cells[16];
    int32_t count = 0, low = layer->low, limit = 1 << 29, half, channel, column, i, j, k, w[16];
    (void)strip;
    for (i = 0; i < layer->kernel_height; i++) {
        for (j = 0; j < layer->kernel_width; j++) {
            for (k = 0; k < layer->ins; k++) {
                cells[count++] = rows[i] + layer->start + j * layer->next + k;
            }
        }
    }
    half = 2 + count + (layer->shifts ? 2 : 6);
    for (channel = 0; channel < layer->channels; channel++) {
        int32_t second = channel % 4 / 2, place = channel / layer->outs * layer->ins;
        const uint32_t *numbers = layer->numbers + (channel / 4 * 2 + channel % 2) * half;
        const uint32_t *factors = numbers + 2 + count + second * (layer->shifts ? 1 : 3);
        int32_t bias = (int32_t)numbers[second];
        int32_t is_small = !layer->shifts && factors[2] - 1 < 23 && bias > -limit && bias < limit;
        int8_t *at = to + channel;
        for (i = 0; i < count; i++) {
            w[i] = (int16_t)(second ? numbers[2 + i] >> 16 : numbers[2 + i]);
        }
        for (column = 0; column < layer->columns; column++) {
            int32_t sum = bias;
            for (i = 0; i < count; i++) {
                sum += w[i] * cells[i][place];
            }
            if (is_small) {
                *at = within(rescaled_small(sum, factors), low);
            } else {
                *at = within(layer->shifts ? sum >> *factors : rescaled(sum, factors), low);
            }
            at += layer->channels;
            place += layer->step;
        }
    }
}

/* The second row has the larger scale, by half of which it is multiplied: that is a shift. Numbers: of the first row its
 * zero point, negative and times 2^21, a multiplier, half of the last bit that is lost, and the shift; of the second one
 * its zero point, negative and times 2^20; of the sum, which is doubled before, multiplier, addend and shift. With equal
 * scales the shift is 0, and both zero points are in the fifth number. */
static int8_t added(const int32_t *n, int32_t first, int32_t second, int32_t low)
{
    int32_t sum = n[4] + second * (1 << 20);
    if (n[3]) {
        int64_t product = ((int64_t)(n[0] + first * (1 << 21)) * n[1] + ((int64_t)1 << 31)) >> 32;
        sum += (int32_t)((product + (product >> 63) + n[2]) >> n[3]) * 2;
    } else {
        sum += first * (1 << 20);
    }
    sum = (int32_t)(((int64_t)sum * n[5] + ((int64_t)1 << 31)) >> 32);
    return within((sum + (sum >> 31) + n[6]) >> n[7], low);
}

#ifdef SCENELET_DSP
SCENELET_DEFINE_ADD(EQUAL)
SCENELET_DEFINE_ADD(UNEQUAL)
#endif

static void add(const scenelet_layer *layer, const int8_t *first, const int8_t *second, int8_t *to, int32_t count)
{
    int32_t i = 0;
#ifdef SCENELET_DSP
    i = count - count % 4;
    if (i) {
        (layer->numbers[3] ? scenelet_add_UNEQUAL : scenelet_add_EQUAL)(first, second, to, i, layer->numbers);
        raise_to(to, i, layer->low);
    }
#endif
    for (; i < count; i++) {
        to[i] = added((const int32_t *)layer->numbers, first[i], second[i], layer->low);
    }
}

void scenelet_add(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    const int8_t *first = rows[0] + layer->start, *second = rows[1] + layer->step;
    int32_t channels = layer->channels, column;
    (void)strip;
    if (!layer->single) {
        add(layer, first, second, to, layer->columns * channels);
        return;
    }
    for (column = 0; column < layer->columns; column++) {
        add(layer, first, second, to, channels);
        first += layer->single == 1 ? 0 : channels;
        second += layer->single == 2 ? 0 : channels;
        to += channels;
    }
}

/* Numbers: the zero points of both rows; multiplier, addend and shift of the products. */
void scenelet_multiply(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    const int8_t *first = rows[0] + layer->start, *second = rows[1] + layer->step;
    int32_t zero = (int32_t)layer->numbers[0], other = (int32_t)layer->numbers[1], low = layer->low, column, channel;
    uint32_t factors[3] = {layer->numbers[2], layer->numbers[3], layer->numbers[4]};
    int32_t is_small = factors[2] - 1 < 23;
    (void)strip;
    for (column = 0; column < layer->columns; column++) {
        for (channel = 0; channel < layer->channels; channel++) {
            int32_t product = (first[channel] - zero) * (second[channel] - other);
            *to++ = within(is_small ? rescaled_small(product, factors) : rescaled(product, factors), low);
        }
        first += layer->single == 1 ? 0 : layer->channels;
        second += layer->single == 2 ? 0 : layer->channels;
    }
}

/* Numbers: what is written for each of -128, -127, ..., 127, a byte each. */
void scenelet_look_up(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    const int8_t *from = rows[0] + layer->start;
    int32_t count = layer->columns * layer->channels, i;
    (void)strip;
    for (i = 0; i < count; i++) {
        uint32_t place = (uint32_t)(from[i] + 128);
        to[i] = (int8_t)byte_of(layer->numbers[place / 4], place % 4);
    }
}

/* Numbers: the channels of the input that are taken. */
void scenelet_take(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    const int8_t *from = rows[0] + layer->start;
    int32_t column, channel;
    (void)strip;
    for (column = 0; column < layer->columns; column++) {
        for (channel = 0; channel < layer->channels; channel++) {
            *to++ = from[layer->numbers[channel]];
        }
        from += layer->step;
    }
}

/* Each row of the input becomes a channel, and each of its channels a column. */
void scenelet_turn(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    int32_t column, channel;
    (void)strip;
    for (column = 0; column < layer->columns; column++) {
        for (channel = 0; channel < layer->channels; channel++) {
            *to++ = rows[channel][layer->start + column];
        }
    }
}

/* The channels of the first row, `segment` of them, and behind them those of the second one. */
void scenelet_join(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    const int8_t *first = rows[0] + layer->start, *second = rows[1] + layer->step;
    int32_t channels = layer->segment, others = layer->channels - channels, column;
    (void)strip;
    for (column = 0; column < layer->columns; column++) {
        memcpy(to, first + column * channels, (uint32_t)channels);
        memcpy(to + channels, second + column * others, (uint32_t)others);
        to += layer->channels;
    }
}

/* Rounded, halves away from zero. */
static int8_t mean_of(int32_t sum, int32_t count, int32_t low)
{
    return within((sum + (sum > 0 ? count / 2 : -(count / 2))) / count, low);
}

/* The integers themselves are averaged, whatever the zero point; four channels at a time. */
void scenelet_average_pool(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    int32_t height = layer->kernel_height, width = layer->kernel_width, step = layer->channels, low = layer->low;
    int32_t count = height * width, column, channel, i, j;
    (void)strip;
    for (column = 0; column < layer->columns; column++) {
        for (channel = 0; channel < step; channel += 4) {
            int32_t a = 0, b = 0, c = 0, d = 0, left = step - channel;
            for (i = 0; i < height; i++) {
                /* Of the last channels up to three cells beyond are read, and not used. */
                const int8_t *cell = rows[i] + layer->start + column * layer->step + channel;
                for (j = 0; j < width; j++) {
                    a += cell[0];
                    b += cell[1];
                    c += cell[2];
                    d += cell[3];
                    cell += step;
                }
            }
            *to++ = mean_of(a, count, low);
            if (left > 1) {
                *to++ = mean_of(b, count, low);
            }
            if (left > 2) {
                *to++ = mean_of(c, count, low);
            }
            if (left > 3) {
                *to++ = mean_of(d, count, low);
            }
        }
    }
}

void scenelet_max_pool(const scenelet_layer *layer, const int8_t *const *rows, int8_t *to, int16_t *strip)
{
    int32_t column, channel, i, j;
    (void)strip;
    for (column = 0; column < layer->columns; column++) {
        for (channel = 0; channel < layer->channels; channel++) {
            int8_t found = layer->low;
            for (i = 0; i < layer->kernel_height; i++) {
                const int8_t *cell = rows[i] + layer->start + column * layer->step + channel;
                for (j = 0; j < layer->kernel_width; j++) {
                    found = *cell > found ? *cell : found;
                    cell += layer->channels;
                }
            }
            *to++ = found;
        }
    }
}
