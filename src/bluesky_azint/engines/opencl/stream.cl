/* Stream: read frames once, in the order they have in memory.
 *
 * For CPUs. Each work-item takes some stretches of used pixels and adds them into histograms of
 * its own, which stay in its cache. A pixel is keyed by the first bin it touches, and adds to LANES
 * numbers that stand side by side there; what belongs to its other bins is brought there in the
 * end. SUBS histograms take turns, so that an addition need not wait for the one before it.
 *
 * PIXEL    type of a pixel               KEY      type of a key
 * SUM      type of a sum                 COLUMNS  bins a pixel may touch; 0 for wide boxes
 * CELLS    whether the four columns are those of boxes along two axes, 0 or 1
 * WANT     0 the signal; 1 squares, too; 2 the spread, too
 * DARK     whether a dark is subtracted for the spread, 0 or 1
 * FRAMES   frames side by side, 1 or 4   SUBS     histograms per work-item, 1, 2, 4 or 8
 * TRUTH    the signed integer type of the size of a pixel
 * LOCAL    whether keys are numbered within each work-item, 0 or 1
 * BAD(v)   whether a value is bad
 *
 * The lanes of a key, with v the value, s the same without dark, w the weight of the pixel, and u
 * its share in the other bin:
 * COLUMNS 1   v                  and of the spread  s^2, s w
 * COLUMNS 2   v, v u, of squares v u^2; spread      s^2, s^2 u, s^2 u^2, s w, s w u, s w u^2
 * otherwise   of each column c   v c, v c^2;        s^2 c^2, s w c^2
 * boxes       of each kind two: what an end differs from the middle, and the middle where it
 *             begins, or less it where it ends; the running sum of that is the middle
 */
#define BLOCK 16
#define KINDS (WANT + 1)
#define N_SHARES (COLUMNS == 0 || CELLS ? 2 : COLUMNS - 1)

#if COLUMNS == 0
#define LANES (2 * KINDS)
#elif COLUMNS == 1
#define LANES (WANT == 2 ? 3 : 1)
#elif COLUMNS == 2
#define LANES (WANT == 2 ? 8 : 2 + WANT)
#else
#define LANES (COLUMNS * KINDS)
#endif
/* Numbers at a key: of one frame, lanes fill whole vectors. */
#define STRIDE (FRAMES * (FRAMES > 1 || LANES < 3 ? LANES : (LANES + 3) / 4 * 4))

/* Vectors of four, which need not be aligned: arrays of the host are not. */
#define VECTOR(type, n, size) type __attribute__((ext_vector_type(n), aligned(size)))
typedef VECTOR(PIXEL, 4, sizeof(PIXEL)) PIXEL4;
typedef VECTOR(PIXEL, 8, sizeof(PIXEL)) PIXEL8;
typedef VECTOR(TRUTH, 8, sizeof(PIXEL)) TRUTH8;
typedef VECTOR(TRUTH, 4, sizeof(PIXEL)) TRUTH4;
typedef VECTOR(float, 4, 4) FLOAT4;
typedef VECTOR(ushort, 4, 2) SHORT4;
typedef VECTOR(SUM, 4, 8) V;
typedef VECTOR(SUM, 2, 8) PAIR;
#define LOAD(type, array, i) __builtin_convertvector(*(global const type *)((array) + (i)), V)
#define SHUFFLE __builtin_shufflevector

/* A step is one pixel in four frames, or four pixels of one frame: V then holds one lane of all,
 * and U what is the same in all frames. */
#if FRAMES == 1
#define STEP 4
typedef V U;
#define OF_PIXELS(type, array, i) LOAD(type, array, i)
#else
#define STEP 1
typedef SUM U;
#define OF_PIXELS(type, array, i) ((SUM)(array)[i])
#endif

/* The shares of a step of pixels, one kind after another. */
static inline void load_shares(U *share, global const float *restrict shares, const size_t i)
{
#if N_SHARES == 1
    share[0] = OF_PIXELS(FLOAT4, shares, i);
#elif N_SHARES == 2 && FRAMES == 1
    const V a = LOAD(FLOAT4, shares, 2 * i), b = LOAD(FLOAT4, shares, 2 * i + 4);
    share[0] = SHUFFLE(a, b, 0, 2, 4, 6);
    share[1] = SHUFFLE(a, b, 1, 3, 5, 7);
#else
    #pragma unroll
    for (int k = 0; k < N_SHARES; k++) {
        global const float *at = shares + i * N_SHARES + k;
#if FRAMES == 1
        share[k] = (V){at[0], at[N_SHARES], at[2 * N_SHARES], at[3 * N_SHARES]};
#else
        share[k] = at[0];
#endif
    }
#endif
}

/* What pixels add at their keys. v: values; s, w: for the spread; i: the first of them. */
static inline void lanes(V *lane, const V v, const V s, const U w, const size_t i,
                         global const float *restrict shares)
{
#if COLUMNS == 1
    lane[0] = v;
#if WANT == 2
    lane[1] = s * s;
    lane[2] = s * w;
#endif
#elif COLUMNS == 2
    U u;
    load_shares(&u, shares, i);
    lane[0] = v;
    lane[1] = v * u;
#if WANT == 1
    lane[2] = lane[1] * u;
#elif WANT == 2
    lane[2] = s * s;
    lane[3] = lane[2] * u;
    lane[4] = lane[3] * u;
    lane[5] = s * w;
    lane[6] = lane[5] * u;
    lane[7] = lane[6] * u;
#endif
#else
    U c[COLUMNS];
#if CELLS
    U next[2];
    load_shares(next, shares, i);
    const U both = next[0] * next[1];
    c[0] = 1 - next[0] - next[1] + both;
    c[1] = next[0] - both;
    c[2] = next[1] - both;
    c[3] = both;
#else
    load_shares(c + 1, shares, i);
    c[0] = 1;
    #pragma unroll
    for (int k = 1; k < COLUMNS; k++)
        c[0] -= c[k];
#endif
    #pragma unroll
    for (int k = 0; k < COLUMNS; k++) {
        lane[k] = v * c[k];
#if WANT == 1
        lane[COLUMNS + k] = lane[k] * c[k];
#elif WANT == 2
        lane[COLUMNS + k] = s * s * (c[k] * c[k]);
        lane[2 * COLUMNS + k] = s * w * (c[k] * c[k]);
#endif
    }
#endif
}

/* The same of wide boxes, at the keys of their first bins and at those of their last. */
static inline void box_lanes(V *begin, V *end, const V v, const V s, const U w, const size_t i,
                             global const float *restrict shares, const U span)
{
    U share[2];
    load_shares(share, shares, i);
    const U b = share[1];
    const U m = span > 1 ? (1 - share[0] - b) / (span - 1) : (U)0;
    const U a = span > 1 ? share[0] : 1 - b;
    begin[0] = v * (a - m);
    begin[1] = v * m;
    end[0] = v * b;
#if WANT == 1
    begin[2] = v * (a * a - m * m);
    begin[3] = v * m * m;
    end[2] = v * b * b;
#elif WANT == 2
    begin[2] = s * s * (a * a - m * m);
    begin[3] = s * s * (m * m);
    begin[4] = s * w * (a * a - m * m);
    begin[5] = s * w * (m * m);
    end[2] = s * s * (b * b);
    end[4] = s * w * (b * b);
#endif
    #pragma unroll
    for (int k = 0; k < LANES; k += 2)
        end[k + 1] = -begin[k + 1];
}

/* Four vectors turned round: the first of all, the second of all ... */
static inline void turn(V *row, const V a, const V b, const V c, const V d)
{
    const V ab0 = SHUFFLE(a, b, 0, 4, 2, 6), ab1 = SHUFFLE(a, b, 1, 5, 3, 7);
    const V cd0 = SHUFFLE(c, d, 0, 4, 2, 6), cd1 = SHUFFLE(c, d, 1, 5, 3, 7);
    row[0] = SHUFFLE(ab0, cd0, 0, 1, 4, 5);
    row[1] = SHUFFLE(ab1, cd1, 0, 1, 4, 5);
    row[2] = SHUFFLE(ab0, cd0, 2, 3, 6, 7);
    row[3] = SHUFFLE(ab1, cd1, 2, 3, 6, 7);
}

/* Add the lanes of a step to histograms. keys: of its pixels, times STRIDE. */
#define AT(type, keys, k) (*(global type *)(own + (k) % SUBS * all + keys[k]))
static inline void add(global SUM *restrict own, const size_t all, const size_t *keys,
                       const V *lane)
{
#if FRAMES > 1
    #pragma unroll
    for (int l = 0; l < LANES; l++)
        *(global V *)(own + keys[0] + l * FRAMES) += lane[l];
#elif LANES == 1
    #pragma unroll
    for (int k = 0; k < 4; k++)
        AT(SUM, keys, k) += lane[0][k];
#elif LANES == 2
    #pragma unroll
    for (int k = 0; k < 4; k++)
        AT(PAIR, keys, k) += (PAIR){lane[0][k], lane[1][k]};
#else
    #pragma unroll
    for (int l = 0; l < LANES; l += 4) {
        V row[4];
        turn(row, lane[l], lane[l + 1], lane[min(l + 2, LANES - 1)], lane[min(l + 3, LANES - 1)]);
        #pragma unroll
        for (int k = 0; k < 4; k++)
            (&AT(V, keys, k))[l / 4] += row[k];
    }
#endif
}

/* The same of two steps, by turns: neighbours often have one key, and each addition would wait for
 * the one before. Of more lanes, some would have to leave the registers. */
#define PAIRED (FRAMES == 1 && LANES > 1 && LANES <= 4)
#if PAIRED
static inline void add_two(global SUM *restrict own, const size_t all, const size_t *p,
                           const size_t *q, const V *a, const V *b)
{
#if LANES == 2
    const V even0 = SHUFFLE(a[0], a[1], 0, 4, 2, 6), odd0 = SHUFFLE(a[0], a[1], 1, 5, 3, 7);
    const V even1 = SHUFFLE(b[0], b[1], 0, 4, 2, 6), odd1 = SHUFFLE(b[0], b[1], 1, 5, 3, 7);
    AT(PAIR, p, 0) += even0.xy;
    AT(PAIR, q, 0) += even1.xy;
    AT(PAIR, p, 1) += odd0.xy;
    AT(PAIR, q, 1) += odd1.xy;
    AT(PAIR, p, 2) += even0.zw;
    AT(PAIR, q, 2) += even1.zw;
    AT(PAIR, p, 3) += odd0.zw;
    AT(PAIR, q, 3) += odd1.zw;
#else
    V r[4], t[4];
    turn(r, a[0], a[1], a[2], a[LANES - 1]);
    turn(t, b[0], b[1], b[2], b[LANES - 1]);
    #pragma unroll
    for (int k = 0; k < 4; k++) {
        AT(V, p, k) += r[k];
        AT(V, q, k) += t[k];
    }
#endif
}
#endif

#if WANT == 2
#define WEIGHT(i) OF_PIXELS(FLOAT4, weights, i)
#else
#define WEIGHT(i) ((U)0)
#endif
#if WANT == 2 && DARK && FRAMES == 1
#define DARK_OF(i) (*(global const V *)(dark + (i)))
#elif WANT == 2 && DARK
#define DARK_OF(i) dark[i]
#else
#define DARK_OF(i) ((U)0)
#endif

/* Add a step of pixels from i on, with their keys and their values v and s; or two steps. */
#if COLUMNS == 0
#define SPANS(i) OF_PIXELS(SHORT4, spans, i)
#define LANES_OF(n, i, v, s) \
    V lane##n[LANES], end##n[LANES]; \
    box_lanes(lane##n, end##n, v, s, WEIGHT(i), i, shares, SPANS(i))
#define TO_ENDS(keys, i) \
    for (int pixel = 0; pixel < STEP; pixel++) \
        keys[pixel] += keys[pixel] == unused * (size_t)STRIDE \
                           ? 0 : spans[(i) + pixel] * (size_t)STRIDE
#else
#define LANES_OF(n, i, v, s) \
    V lane##n[LANES]; \
    lanes(lane##n, v, s, WEIGHT(i), i, shares)
#endif
#define ADD(own, i, keys, v, s) do { \
    LANES_OF(0, i, v, s); \
    add(own, all, keys, lane0); \
    IF_BOXES(TO_ENDS(keys, i); add(own, all, keys, end0);) \
} while (0)
#define ADD_TWO(i, j, p, q, v, u) do { \
    LANES_OF(0, i, v, v - DARK_OF(i)); \
    LANES_OF(1, j, u, u - DARK_OF(j)); \
    add_two(own, all, p, q, lane0, lane1); \
    IF_BOXES(TO_ENDS(p, i); TO_ENDS(q, j); add_two(own, all, p, q, end0, end1);) \
} while (0)
#if COLUMNS == 0
#define IF_BOXES(what) what
#else
#define IF_BOXES(what)
#endif

/* Whether none of a block of pixels is bad in any frame. */
static inline int all_good(global const PIXEL *restrict frames, const size_t n_pixels)
{
    TRUTH8 bad = 0;
    #pragma unroll
    for (int f = 0; f < FRAMES; f++)
        #pragma unroll
        for (int j = 0; j < BLOCK; j += 8) {
            const PIXEL8 v = *(global const PIXEL8 *)(frames + f * n_pixels + j);
            bad |= (TRUTH8)(BAD(v));
        }
    const TRUTH4 four = bad.lo | bad.hi;
    return !(four.x | four.y | four.z | four.w);
}

#define KEY_OF(i) (first[i] * (size_t)STRIDE)
#define LOAD_FRAME(f, i) LOAD(PIXEL4, frames + (f) * (size_t)n_pixels, i)

kernel void stream(global const PIXEL *restrict frames,
                   global const KEY *restrict first,
                   global const float *restrict shares,
                   global const ushort *restrict spans,
                   global const float *restrict weights,
                   global const double *restrict dark,
                   global const int2 *restrict runs,
                   global const int *restrict items,
                   global const int *restrict slots,
                   global SUM *restrict histograms,
                   global int *restrict bad,
                   global int *restrict n_bad,
                   const int n_pixels)
{
    const int item = get_global_id(0);
    const int unused = slots[item + 1] - slots[item] - 1;
    const size_t size = (size_t)(unused + 1) * STRIDE;
    const size_t all = (size_t)slots[get_global_size(0)] * STRIDE;  /* of one of the SUBS */
    global SUM *restrict own = histograms + (size_t)slots[item] * STRIDE;
    int lowest = n_pixels;
    for (int r = items[item]; r < items[item + 1]; r++)
        lowest = min(lowest, runs[r].x);
    global int *restrict found = bad + (size_t)lowest * FRAMES;
    int n_found = 0;

    for (int sub = 0; sub < SUBS; sub++)
        for (size_t i = 0; i < size; i++)
            own[sub * all + i] = 0;

    for (int r = items[item]; r < items[item + 1]; r++) {
        const int end = runs[r].y;
        for (int start = runs[r].x; start < end; start += BLOCK) {
            if (start + BLOCK <= end && all_good(frames + start, n_pixels)) {
#if LANES == 1 && FRAMES == 1
                #pragma unroll
                for (int k = 0; k < BLOCK; k++)
                    own[k % SUBS * all + first[start + k]] += frames[start + k];
#elif PAIRED
                #pragma unroll
                for (int i = start; i < start + BLOCK / 2; i += 4) {
                    const int j = i + BLOCK / 2;
                    size_t p[4] = {KEY_OF(i), KEY_OF(i + 1), KEY_OF(i + 2), KEY_OF(i + 3)};
                    size_t q[4] = {KEY_OF(j), KEY_OF(j + 1), KEY_OF(j + 2), KEY_OF(j + 3)};
                    const V v = LOAD(PIXEL4, frames, i), u = LOAD(PIXEL4, frames, j);
                    ADD_TWO(i, j, p, q, v, u);
                }
#elif FRAMES == 1
                for (int i = start; i < start + BLOCK; i += 4) {
                    size_t keys[4] = {KEY_OF(i), KEY_OF(i + 1), KEY_OF(i + 2), KEY_OF(i + 3)};
                    const V v = LOAD(PIXEL4, frames, i);
                    ADD(own, i, keys, v, v - DARK_OF(i));
                }
#else
                for (int i = start; i < start + BLOCK; i += 4) {
                    V v[4];
                    turn(v, LOAD_FRAME(0, i), LOAD_FRAME(1, i), LOAD_FRAME(2, i), LOAD_FRAME(3, i));
                    #pragma unroll
                    for (int k = 0; k < 4; k++) {
                        size_t keys[1] = {KEY_OF(i + k)};
                        ADD(own + k % SUBS * all, i + k, keys, v[k], v[k] - DARK_OF(i + k));
                    }
                }
#endif
                continue;
            }
            const int stop = min(start + BLOCK, end);
            for (int i = start; i < stop; i += STEP) {
                /* Pixels from i to `stop`, of a step that does not reach beyond the detector. */
                const int here = min(i, n_pixels - STEP);
                size_t keys[STEP];
                V v, s;
                for (int k = 0; k < STEP; k++) {
                    const int inside = here + k >= i && here + k < stop;
                    const KEY key = inside ? first[here + k] : unused;
                    keys[k] = key * (size_t)STRIDE;
                    for (int f = 0; f < FRAMES; f++) {
                        const size_t place = here + k + (size_t)f * n_pixels;
                        const PIXEL value = frames[place];
                        const int good = inside & !BAD(value);
                        v[k + f] = good ? value : 0;
                        s[k + f] = good ? 1 : 0;
                        if (inside && !good && key != unused)
                            found[n_found++] = place;
                    }
                }
                s *= v - DARK_OF(here);
                ADD(own, here, keys, v, s);
            }
        }
    }
    n_bad[item] = n_found;
    for (int sub = 1; sub < SUBS; sub++)
        for (size_t i = 0; i < size; i++)
            own[i] += own[sub * all + i];
}

#if FRAMES == 1
typedef SUM W;
#else
typedef V W;
#endif
#define AT_KEY(place, lane) \
    (*(global const W *)(histograms + (size_t)(place) * STRIDE + (lane) * FRAMES))

/* Add up lanes at a key over all work-items: n of them from `lane` on, `step` apart. */
static inline void total(W *sums, const int n, const int key, const int lane, const int step,
                         global const SUM *restrict histograms, global const int *restrict slots,
                         const int n_items, global const int *restrict pointer,
                         global const int *restrict places)
{
#if LOCAL
    for (int i = pointer[key]; i < pointer[key + 1]; i++)
        for (int k = 0; k < n; k++)
            sums[k] += AT_KEY(places[i], lane + k * step);
#else
    for (int item = 0; item < n_items; item++)
        for (int k = 0; k < n; k++)
            sums[k] += AT_KEY(slots[item] + key, lane + k * step);
#endif
}
#define TOTAL(sums, n, key, lane, step) \
    total(sums, n, key, lane, step, histograms, slots, n_items, pointer, places)

/* What belongs to each bin, one work-item per bin. sums: kind after kind; of boxes lane after lane. */
kernel void collect(global const SUM *restrict histograms,
                    global const int *restrict slots,
                    const int n_items,
                    global const int *restrict pointer,
                    global const int *restrict places,
                    global const int *restrict offsets,
                    global W *restrict sums)
{
    const int bin = get_global_id(0);
    const size_t n_bins = get_global_size(0);
#if COLUMNS < 2
    W lane[LANES] = {0};
    TOTAL(lane, LANES, bin, 0, 1);
    for (int l = 0; l < LANES; l++)
        sums[l * n_bins + bin] = lane[l];
#elif COLUMNS == 2
    W lane[LANES] = {0}, before[LANES] = {0};
    TOTAL(lane, LANES, bin, 0, 1);
    if (bin >= offsets[1])
        TOTAL(before, LANES, bin - offsets[1], 0, 1);
    sums[bin] = lane[0] - lane[1] + before[1];
    for (int kind = 1; kind < KINDS; kind++) {
        const int l = WANT == 1 ? 0 : 3 * kind - 1;
        sums[kind * n_bins + bin] = lane[l] - 2 * lane[l + 1] + lane[l + 2] + before[l + 2];
    }
#else
    W kinds[KINDS] = {0};
    for (int k = 0; k < COLUMNS; k++)
        if (bin >= offsets[k])
            TOTAL(kinds, KINDS, bin - offsets[k], k, COLUMNS);
    for (int kind = 0; kind < KINDS; kind++)
        sums[kind * n_bins + bin] = kinds[kind];
#endif
}
