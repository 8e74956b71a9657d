/* Stream: read frames once, in the order they have in memory.
 *
 * For CPUs. Each work-item takes some stretches of used pixels and adds them into histograms of
 * its own, which stay in its cache. A pixel is keyed by the first bin it touches, and adds to LANES
 * numbers that stand side by side there; what belongs to its other bins is brought there in the
 * end. SUBS histograms take turns, so that an addition need not wait for the one before it.
 *
 * PIXEL    type of a pixel               KEY      type of a key
 * SUM      type of a sum                 COLUMNS  bins a pixel may touch; 0 for wide boxes
 * WANT     0 the signal; 1 squares, too; 2 the spread, too
 * DARK     whether a dark is subtracted for the spread, 0 or 1
 * FRAMES   frames side by side, 1 or 4   SUBS     histograms per work-item, 1, 2 or 4
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
#define N_SHARES (COLUMNS == 0 ? 2 : COLUMNS - 1)

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
    load_shares(c + 1, shares, i);
    c[0] = 1;
    #pragma unroll
    for (int k = 1; k < COLUMNS; k++)
        c[0] -= c[k];
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

/* Add lanes to the histograms of a work-item. keys: of the STEP pixels, times STRIDE. */
#if FRAMES == 1
#define AT(type, j) (*(global type *)(own + (j) % SUBS * all + keys[j]))
#else
#define AT(type, l) (*(global type *)(own + keys[0] + (l) * FRAMES))
#endif
static inline void add(global SUM *restrict own, const size_t all, const size_t *keys,
                       const V *lane)
{
#if FRAMES > 1
    #pragma unroll
    for (int l = 0; l < LANES; l++)
        AT(V, l) += lane[l];
#elif LANES == 1
    AT(SUM, 0) += lane[0].x;
    AT(SUM, 1) += lane[0].y;
    AT(SUM, 2) += lane[0].z;
    AT(SUM, 3) += lane[0].w;
#elif LANES == 2
    const V even = SHUFFLE(lane[0], lane[1], 0, 4, 2, 6);
    const V odd = SHUFFLE(lane[0], lane[1], 1, 5, 3, 7);
    AT(PAIR, 0) += even.xy;
    AT(PAIR, 1) += odd.xy;
    AT(PAIR, 2) += even.zw;
    AT(PAIR, 3) += odd.zw;
#else
    #pragma unroll
    for (int l = 0; l < LANES; l += 4) {  /* four lanes of four pixels, turned round */
        const V a = lane[l], b = lane[l + 1];
        const V c = lane[min(l + 2, LANES - 1)], d = lane[min(l + 3, LANES - 1)];
        const V ab0 = SHUFFLE(a, b, 0, 4, 2, 6), ab1 = SHUFFLE(a, b, 1, 5, 3, 7);
        const V cd0 = SHUFFLE(c, d, 0, 4, 2, 6), cd1 = SHUFFLE(c, d, 1, 5, 3, 7);
        global V *at0 = &AT(V, 0) + l / 4, *at1 = &AT(V, 1) + l / 4;
        global V *at2 = &AT(V, 2) + l / 4, *at3 = &AT(V, 3) + l / 4;
        *at0 += SHUFFLE(ab0, cd0, 0, 1, 4, 5);
        *at1 += SHUFFLE(ab1, cd1, 0, 1, 4, 5);
        *at2 += SHUFFLE(ab0, cd0, 2, 3, 6, 7);
        *at3 += SHUFFLE(ab1, cd1, 2, 3, 6, 7);
    }
#endif
}

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

/* Add a step of pixels from i on, their values v and s. */
#if COLUMNS == 0
#define ADD(sub, i, v, s) do { \
    V begin[LANES], end[LANES]; \
    box_lanes(begin, end, v, s, WEIGHT(i), i, shares, SPANS(i)); \
    add(own + (sub) * all, all, keys, begin); \
    for (int j = 0; j < STEP; j++) \
        keys[j] += spans[(i) + j] * (size_t)STRIDE; \
    add(own + (sub) * all, all, keys, end); \
} while (0)
#define SPANS(i) OF_PIXELS(SHORT4, spans, i)
#else
#define ADD(sub, i, v, s) do { \
    V lane[LANES]; \
    lanes(lane, v, s, WEIGHT(i), i, shares); \
    add(own + (sub) * all, all, keys, lane); \
} while (0)
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
    global int *restrict found = bad + (size_t)runs[items[item]].x * FRAMES;
    int n_found = 0;

    for (int sub = 0; sub < SUBS; sub++)
        for (size_t i = 0; i < size; i++)
            own[sub * all + i] = 0;

    for (int r = items[item]; r < items[item + 1]; r++) {
        const int end = runs[r].y;
        for (int i = runs[r].x; i < end; i += BLOCK) {
            if (i + BLOCK <= end && all_good(frames + i, n_pixels)) {
#if LANES == 1 && FRAMES == 1
                #pragma unroll
                for (int j = 0; j < BLOCK; j++)
                    own[j % SUBS * all + first[i + j]] += frames[i + j];
#elif FRAMES == 1
                #pragma unroll
                for (int j = 0; j < BLOCK; j += 4) {
                    const int p = i + j;
                    size_t keys[4] = {first[p] * (size_t)STRIDE, first[p + 1] * (size_t)STRIDE,
                                      first[p + 2] * (size_t)STRIDE, first[p + 3] * (size_t)STRIDE};
                    const V v = LOAD(PIXEL4, frames, p);
                    ADD(0, p, v, v - DARK_OF(p));
                }
#else
                #pragma unroll
                for (int j = 0; j < BLOCK; j += 4) {
                    const int p = i + j;
                    const V a = LOAD(PIXEL4, frames, p);
                    const V b = LOAD(PIXEL4, frames, p + (size_t)n_pixels);
                    const V c = LOAD(PIXEL4, frames, p + 2 * (size_t)n_pixels);
                    const V d = LOAD(PIXEL4, frames, p + 3 * (size_t)n_pixels);
                    const V ab0 = SHUFFLE(a, b, 0, 4, 2, 6), ab1 = SHUFFLE(a, b, 1, 5, 3, 7);
                    const V cd0 = SHUFFLE(c, d, 0, 4, 2, 6), cd1 = SHUFFLE(c, d, 1, 5, 3, 7);
                    const V v[4] = {SHUFFLE(ab0, cd0, 0, 1, 4, 5), SHUFFLE(ab1, cd1, 0, 1, 4, 5),
                                    SHUFFLE(ab0, cd0, 2, 3, 6, 7), SHUFFLE(ab1, cd1, 2, 3, 6, 7)};
                    #pragma unroll
                    for (int k = 0; k < 4; k++) {
                        size_t keys[1] = {first[p + k] * (size_t)STRIDE};
                        ADD(k % SUBS, p + k, v[k], v[k] - DARK_OF(p + k));
                    }
                }
#endif
                continue;
            }
            const int stop = min(i + BLOCK, end);
            for (int p = i; p < stop; p += STEP) {
                /* Pixels from here to `stop`, of a step that does not reach beyond the detector. */
                const int here = min(p, n_pixels - STEP);
                size_t keys[STEP];
                V v, s;
                for (int j = 0; j < STEP; j++) {
                    const int inside = here + j >= p && here + j < stop;
                    const KEY key = inside ? first[here + j] : unused;
                    keys[j] = key * (size_t)STRIDE;
                    for (int f = 0; f < FRAMES; f++) {
                        const size_t place = here + j + (size_t)f * n_pixels;
                        const PIXEL value = frames[place];
                        const int good = inside & !BAD(value);
                        v[j + f] = good ? value : 0;
                        s[j + f] = good ? 1 : 0;
                        if (inside && !good && key != unused)
                            found[n_found++] = place;
                    }
                }
                s *= v - DARK_OF(here);
                ADD(0, here, v, s);
            }
        }
    }
    n_bad[item] = n_found;
    for (int sub = 1; sub < SUBS; sub++)
        for (size_t i = 0; i < size; i++)
            own[i] += own[sub * all + i];
}

/* The sum of a lane at a key over all work-items. */
#if FRAMES == 1
typedef SUM W;
#else
typedef V W;
#endif
static inline W total(global const SUM *restrict histograms, global const int *restrict slots,
                      const int n_items, global const int *restrict pointer,
                      global const int *restrict places, const int key, const int lane)
{
    W sum = 0;
#if LOCAL
    for (int i = pointer[key]; i < pointer[key + 1]; i++)
        sum += *(global const W *)(histograms + (size_t)places[i] * STRIDE + lane * FRAMES);
#else
    for (int item = 0; item < n_items; item++)
        sum += *(global const W *)(histograms + ((size_t)slots[item] + key) * STRIDE
                                   + lane * FRAMES);
#endif
    return sum;
}

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
#define TOTAL(key, lane) total(histograms, slots, n_items, pointer, places, key, lane)
#if COLUMNS < 2
    for (int lane = 0; lane < LANES; lane++)
        sums[(size_t)lane * n_bins + bin] = TOTAL(bin, lane);
#elif COLUMNS == 2
    const int other = bin - offsets[1];
    W sum = TOTAL(bin, 0) - TOTAL(bin, 1);
    if (other >= 0)
        sum += TOTAL(other, 1);
    sums[bin] = sum;
    for (int kind = 1; kind < KINDS; kind++) {
        const int lane = WANT == 1 ? 0 : 3 * kind - 1;
        sum = TOTAL(bin, lane) - 2 * TOTAL(bin, lane + 1) + TOTAL(bin, lane + 2);
        if (other >= 0)
            sum += TOTAL(other, lane + 2);
        sums[(size_t)kind * n_bins + bin] = sum;
    }
#else
    for (int kind = 0; kind < KINDS; kind++) {
        W sum = 0;
        for (int k = 0; k < COLUMNS; k++)
            if (bin >= offsets[k])
                sum += TOTAL(bin - offsets[k], kind * COLUMNS + k);
        sums[(size_t)kind * n_bins + bin] = sum;
    }
#endif
}
