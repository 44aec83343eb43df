/* What a compiled loop can do: one pass of stochastic gradient descent with biases and L2, the work of
 * fastmf/kernels/pointwise.py in the same order on the same arrays. Squared loss; SGD, or AdaGrad with its two sums a
 * row. Rows are 16, 32, 64 or 128 floats, aligned to 64 bytes; a record is [bias, memory, memory, unused].
 *
 * A block is cut in `flight` equal parts; the events at the same place of all parts are read, then written, part by
 * part, which hides the latency of the sums. What is left over is done one by one.
 */
#include <math.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)

typedef float Lanes __attribute__((vector_size(64)));
typedef float Half __attribute__((vector_size(32)));
typedef float Quarter __attribute__((vector_size(16)));

enum { MOST_FLIGHT = 4, MOST_CHUNKS = 8 };

typedef struct {
    const int *users, *items;
    const float *values, *weights;
    float *user_rows, *user_records, *item_rows, *item_records;
    float mean, rate, initial, penalty;
} Work;

typedef struct {
    Lanes *row, old[MOST_CHUNKS];
    float *record, bias, memory[2];
} Side;

INLINE Half low(Lanes x) { return __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7); }
INLINE Half high(Lanes x) { return __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15); }
INLINE Lanes join(Half x, Half y) {
    return __builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

INLINE float total(Half x) {
    Quarter y = __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
    return (y[0] + y[2]) + (y[1] + y[3]);
}

INLINE void read_side(Side *side, float *rows, float *records, int number, int chunks) {
    side->row = (Lanes *)(rows + (long)number * chunks * 16);
    side->record = records + (long)number * 4;
    side->bias = side->record[0];
    side->memory[0] = side->record[1];
    side->memory[1] = side->record[2];
    EACH(c, chunks) side->old[c] = side->row[c];
}

/* One row moves against its gradient, the slope times the other row plus the pull of L2, and so does its bias. */
INLINE void write_side(const Side *side, const Side *other, float slope, const Work *work, int chunks, int adagrad) {
    float first = work->rate, rest = work->rate, pull = 2 * work->penalty;
    if (adagrad) {
        first /= sqrtf(side->memory[0] + work->initial);
        rest /= sqrtf(side->memory[1] + work->initial);
    }
    Half none = {0}, head = none;
    Lanes squares = {0};
    EACH(c, chunks) {
        Lanes gradient = slope * other->old[c] + pull * side->old[c], pace = {0};
        pace += rest;
        if (adagrad && c == 0) {
            pace = join(none + first, none + rest);
            head = low(gradient * gradient);
            squares = join(none, high(gradient * gradient));
        } else if (adagrad) {
            squares += gradient * gradient;
        }
        side->row[c] = side->old[c] - pace * gradient;
    }
    side->record[0] = side->bias - first * (slope + pull * side->bias);
    if (adagrad) {
        side->record[1] = side->memory[0] + total(head) * (1.0f / 8);
        side->record[2] = side->memory[1] + total(low(squares) + high(squares)) * (1.0f / (16 * chunks - 8));
    }
}

/* The events at `first`, `first + stride`, ...: all are read, then all are written. */
INLINE double step(const Work *work, long first, long stride, int flight, int chunks, int adagrad) {
    Side user[MOST_FLIGHT], item[MOST_FLIGHT];
    float slope[MOST_FLIGHT];
    double lost = 0;
    EACH(f, flight) {
        long event = first + f * stride;
        read_side(&user[f], work->user_rows, work->user_records, work->users[event], chunks);
        read_side(&item[f], work->item_rows, work->item_records, work->items[event], chunks);
        Lanes products = user[f].old[0] * item[f].old[0];
        EACH(c, chunks) if (c) products += user[f].old[c] * item[f].old[c];
        float score = work->mean + user[f].bias + item[f].bias + total(low(products) + high(products));
        float error = score - work->values[event], weight = work->weights[event];
        lost += weight * error * error;
        slope[f] = weight * (error + error);
    }
    EACH(f, flight) {
        write_side(&user[f], &item[f], slope[f], work, chunks, adagrad);
        write_side(&item[f], &user[f], slope[f], work, chunks, adagrad);
    }
    return lost;
}

INLINE double block(const Work *work, long begin, long end, int flight, int chunks, int adagrad) {
    long part = (end - begin) / flight;
    double lost = 0;
    for (long event = begin; event < begin + part; event++) lost += step(work, event, part, flight, chunks, adagrad);
    for (long event = begin + part * flight; event < end; event++) lost += step(work, event, 0, 1, chunks, adagrad);
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
OF_FLIGHT(1) OF_FLIGHT(2) OF_FLIGHT(4)

#define NAMES(flight, adagrad)                                                                               \
    { block_##flight##_1_##adagrad, block_##flight##_2_##adagrad, block_##flight##_4_##adagrad, block_##flight##_8_##adagrad }
static Block *const BLOCKS[2][3][4] = {{NAMES(1, 0), NAMES(2, 0), NAMES(4, 0)}, {NAMES(1, 1), NAMES(2, 1), NAMES(4, 1)}};

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
