/* What a compiled loop can do: one pass of stochastic gradient descent with biases and L2, the work of
 * fastmf/kernels/train/pointwise.py in the same order on the same arrays. Squared loss; SGD, or AdaGrad with one sum a row.
 * Rows are 16, 32, 64 or 128 floats, aligned to 64 bytes; a record is [bias, memory].
 *
 * Events come in groups of `flight`: the slopes of all are taken, then their steps, the last event's first. What is
 * left over at the end of a block is done one by one.
 */
#include <math.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)

typedef float Lanes __attribute__((vector_size(64)));
typedef float Half __attribute__((vector_size(32)));
typedef float Quarter __attribute__((vector_size(16)));

enum { MOST_FLIGHT = 8 };

typedef struct {
    const int *users, *items;
    const float *values, *weights;
    float *user_rows, *user_records, *item_rows, *item_records;
    float mean, rate, initial, penalty;
} Work;

INLINE Half low(Lanes x) { return __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7); }
INLINE Half high(Lanes x) { return __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15); }
INLINE float total(Half x) {
    Quarter y = __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
    return (y[0] + y[2]) + (y[1] + y[3]);
}

INLINE Lanes *row_of(float *rows, long number, int chunks) { return (Lanes *)(rows + number * chunks * 16); }

/* The memory of a row takes the event in, and tells how far the bias and the row move. */
INLINE float pace_of(float *record, float slope, const Work *work, int adagrad) {
    float gradient = slope + 2 * work->penalty * record[0], pace = work->rate;
    if (adagrad) {
        record[1] += gradient * gradient;
        pace /= sqrtf(1 + record[1] * (1 / work->initial));
    }
    record[0] -= pace * gradient;
    return pace;
}

INLINE void step(const Work *work, long event, float slope, int chunks, int adagrad) {
    long user = work->users[event], item = work->items[event];
    Lanes *p = row_of(work->user_rows, user, chunks), *q = row_of(work->item_rows, item, chunks);
    float user_pace = pace_of(work->user_records + user * 2, slope, work, adagrad);
    float item_pace = pace_of(work->item_records + item * 2, slope, work, adagrad);
    float pull = 2 * work->penalty;
    EACH(c, chunks) {
        Lanes old = p[c], other = q[c];
        p[c] = old - user_pace * (slope * other + pull * old);
        q[c] = other - item_pace * (slope * old + pull * other);
    }
}

INLINE double group(const Work *work, long first, int flight, int chunks, int adagrad) {
    float slope[MOST_FLIGHT];
    double lost = 0;
    EACH(f, flight) {
        long event = first + f, user = work->users[event], item = work->items[event];
        Lanes *p = row_of(work->user_rows, user, chunks), *q = row_of(work->item_rows, item, chunks);
        Lanes products = p[0] * q[0];
        EACH(c, chunks) if (c) products += p[c] * q[c];
        float score = work->mean + work->user_records[user * 2] + work->item_records[item * 2];
        float error = score + total(low(products) + high(products)) - work->values[event];
        lost += work->weights[event] * error * error;
        slope[f] = work->weights[event] * (error + error);
    }
    EACH(f, flight) step(work, first + flight - 1 - f, slope[flight - 1 - f], chunks, adagrad);
    return lost;
}

INLINE double block(const Work *work, long begin, long end, int flight, int chunks, int adagrad) {
    long event = begin;
    double lost = 0;
    for (; event + flight <= end; event += flight) lost += group(work, event, flight, chunks, adagrad);
    for (; event < end; event++) lost += group(work, event, 1, chunks, adagrad);
    return lost;
}

/* Every combination is compiled on its own, as fastmf's kernels are. */
typedef double Block(const Work *, long, long);
#define VARIANT(flight, chunks, adagrad)                                                                     \
    static double block_##flight##_##chunks##_##adagrad(const Work *work, long begin, long end) {            \
        return block(work, begin, end, flight, chunks, adagrad);                                             \
    }
#define OF_FLIGHT(flight)                                                                                    \
    VARIANT(flight, 1, 0) VARIANT(flight, 2, 0) VARIANT(flight, 4, 0) VARIANT(flight, 8, 0)                  \
    VARIANT(flight, 1, 1) VARIANT(flight, 2, 1) VARIANT(flight, 4, 1) VARIANT(flight, 8, 1)
OF_FLIGHT(1) OF_FLIGHT(2) OF_FLIGHT(4) OF_FLIGHT(8)

#define NAMES(flight, adagrad)                                                                               \
    { block_##flight##_1_##adagrad, block_##flight##_2_##adagrad, block_##flight##_4_##adagrad, block_##flight##_8_##adagrad }
static Block *const BLOCKS[2][4][4] = {{NAMES(1, 0), NAMES(2, 0), NAMES(4, 0), NAMES(8, 0)},
                                    {NAMES(1, 1), NAMES(2, 1), NAMES(4, 1), NAMES(8, 1)}};

/* One pass over all blocks, `threads` at a time within a stratum; returns the loss, each event before its step. */
double epoch(const Work *work, const long *bounds, const long *order, const long *strata, long n_strata, int width,
             int flight, int adagrad, int threads) {
    int by_width = __builtin_ctz(width / 16), by_flight = __builtin_ctz(flight);
    Block *run = BLOCKS[adagrad][by_flight][by_width];
    double lost = 0;
    for (long stratum = 0; stratum < n_strata; stratum++) {
#pragma omp parallel for schedule(static) num_threads(threads) reduction(+ : lost) if (threads > 1)
        for (long place = strata[stratum]; place < strata[stratum + 1]; place++)
            lost += run(work, bounds[order[place]], bounds[order[place] + 1]);
    }
    return lost;
}
