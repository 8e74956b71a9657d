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
 * FRAMES   frames side by side, 1 or 4   SUBS     histograms per work-item
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
#define KINDS (WANT == 0 ? 1 : WANT == 1 ? 2 : 3)
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
/* Of one frame, lanes fill whole vectors. */
#define STRIDE (FRAMES > 1 ? LANES : LANES == 3 ? 4 : LANES == 6 ? 8 : LANES)

#if FRAMES == 1
typedef SUM V;
#define AT(array, i) ((V)(array)[i])
#else
typedef SUM V __attribute__((ext_vector_type(4), aligned(8)));  // arrays of the host are not aligned
#define AT(array, i) ((V){(array)[i], (array)[(i) + (size_t)n_pixels], \
                          (array)[(i) + 2 * (size_t)n_pixels], (array)[(i) + 3 * (size_t)n_pixels]})
#endif

#if WANT == 2
#define WEIGHT(i) ((SUM)weights[i])
#define NET(v, i) (DARK ? (v) - (SUM)dark[i] : (v))
#else
#define WEIGHT(i) ((SUM)0)
#define NET(v, i) (v)
#endif

/* What a pixel adds at its key: h the lanes there, of a box also those of its last bin. */
static inline void add(global V *restrict h, int span, const V v, const V s, const SUM w,
                       global const float *restrict shares)
{
#if COLUMNS == 0
    const SUM b = shares[1];
    const SUM m = span > 1 ? (1 - (SUM)shares[0] - b) / (span - 1) : 0;
    const SUM a = span > 1 ? (SUM)shares[0] : 1 - b;
    global V *restrict l = h + span * STRIDE;
    h[0] += v * (a - m);
    h[1] += v * m;
    l[0] += v * b;
    l[1] -= v * m;
#if WANT == 1
    const SUM m2 = m * m, a2 = a * a - m2, b2 = b * b;
    h[2] += v * a2;
    h[3] += v * m2;
    l[2] += v * b2;
    l[3] -= v * m2;
#elif WANT == 2
    const SUM m2 = m * m, a2 = a * a - m2, b2 = b * b;
    const V s2 = s * s, sw = s * w;
    h[2] += s2 * a2;
    h[3] += s2 * m2;
    h[4] += sw * a2;
    h[5] += sw * m2;
    l[2] += s2 * b2;
    l[3] -= s2 * m2;
    l[4] += sw * b2;
    l[5] -= sw * m2;
#endif
#elif COLUMNS == 1
    h[0] += v;
#if WANT == 2
    h[1] += s * s;
    h[2] += s * w;
#endif
#elif COLUMNS == 2
    const SUM u = shares[0];
    const V p = v * u;
    h[0] += v;
    h[1] += p;
#if WANT == 1
    h[2] += p * u;
#elif WANT == 2
    const V s2 = s * s, s2u = s2 * u, sw = s * w, swu = sw * u;
    h[2] += s2;
    h[3] += s2u;
    h[4] += s2u * u;
    h[5] += sw;
    h[6] += swu;
    h[7] += swu * u;
#endif
#else
    SUM c[COLUMNS];
    c[0] = 1;
    #pragma unroll
    for (int k = 1; k < COLUMNS; k++) {
        c[k] = shares[k - 1];
        c[0] -= c[k];
    }
    #pragma unroll
    for (int k = 0; k < COLUMNS; k++)
        h[k] += v * c[k];
#if WANT == 1
    #pragma unroll
    for (int k = 0; k < COLUMNS; k++)
        h[COLUMNS + k] += v * (c[k] * c[k]);
#elif WANT == 2
    const V s2 = s * s, sw = s * w;
    #pragma unroll
    for (int k = 0; k < COLUMNS; k++) {
        h[COLUMNS + k] += s2 * (c[k] * c[k]);
        h[2 * COLUMNS + k] += sw * (c[k] * c[k]);
    }
#endif
#endif
}

#if COLUMNS == 0
#define SPAN(i) spans[i]
#else
#define SPAN(i) 0
#endif

#define ADD(histogram, i, v, s) \
    add((histogram) + (size_t)first[i] * STRIDE, SPAN(i), v, s, WEIGHT(i), \
        shares + (size_t)(i) * N_SHARES)

kernel void stream(global const PIXEL *restrict frames,
                   global const KEY *restrict first,
                   global const float *restrict shares,
                   global const ushort *restrict spans,
                   global const float *restrict weights,
                   global const double *restrict dark,
                   global const int2 *restrict runs,
                   global const int *restrict items,
                   global const int *restrict slots,
                   global V *restrict histograms,
                   global int *restrict bad,
                   global int *restrict n_bad,
                   const int n_pixels)
{
    const int item = get_global_id(0);
    const int unused = slots[item + 1] - slots[item] - 1;
    const size_t size = (size_t)(unused + 1) * STRIDE;
    const size_t all = (size_t)slots[get_global_size(0)] * STRIDE;  // of one of the SUBS
    global V *restrict own = histograms + (size_t)slots[item] * STRIDE;
    global int *restrict found = bad + (size_t)runs[items[item]].x * FRAMES;
    int n_found = 0;

    for (int sub = 0; sub < SUBS; sub++)
        for (size_t i = 0; i < size; i++)
            own[sub * all + i] = 0;

    for (int r = items[item]; r < items[item + 1]; r++) {
        const int end = runs[r].y;
        int i = runs[r].x;
        while (i < end) {
            const int stop = min(i + BLOCK, end);
            int any = stop < i + BLOCK;
            for (int f = 0; f < FRAMES && !any; f++) {
                global const PIXEL *values = frames + (size_t)f * n_pixels + i;
                int bad_here = 0;
                #pragma unroll
                for (int j = 0; j < BLOCK; j++)
                    bad_here |= BAD(values[j]);
                any |= bad_here;
            }
            if (!any) {
                #pragma unroll
                for (int j = 0; j < BLOCK; j++) {
                    const V v = AT(frames, i + j);
                    ADD(own + (j % SUBS) * all, i + j, v, NET(v, i + j));
                }
                i = stop;
                continue;
            }
            for (; i < stop; i++) {
                V v = AT(frames, i), s = NET(v, i);
#if FRAMES == 1
                if (BAD(frames[i])) {
                    v = s = 0;
                    if (first[i] != unused)
                        found[n_found++] = i;
                }
#else
                for (int f = 0; f < FRAMES; f++)
                    if (BAD(frames[i + (size_t)f * n_pixels])) {
                        v[f] = s[f] = 0;
                        if (first[i] != unused)
                            found[n_found++] = i + f * n_pixels;
                    }
#endif
                ADD(own, i, v, s);
            }
        }
    }
    n_bad[item] = n_found;
    for (int sub = 1; sub < SUBS; sub++)
        for (size_t i = 0; i < size; i++)
            own[i] += own[sub * all + i];
}

/* The sum of a lane at a key over all work-items. */
static inline V total(global const V *restrict histograms, global const int *restrict slots,
                      const int n_items, global const int *restrict pointer,
                      global const int *restrict places, const int key, const int lane)
{
    V sum = 0;
#if LOCAL
    for (int i = pointer[key]; i < pointer[key + 1]; i++)
        sum += histograms[(size_t)places[i] * STRIDE + lane];
#else
    for (int item = 0; item < n_items; item++)
        sum += histograms[((size_t)slots[item] + key) * STRIDE + lane];
#endif
    return sum;
}

/* What belongs to each bin, one work-item per bin. sums: kind after kind; of boxes lane after lane. */
kernel void collect(global const V *restrict histograms,
                    global const int *restrict slots,
                    const int n_items,
                    global const int *restrict pointer,
                    global const int *restrict places,
                    global const int *restrict offsets,
                    global V *restrict sums)
{
    const int bin = get_global_id(0);
    const size_t n_bins = get_global_size(0);
#define TOTAL(key, lane) total(histograms, slots, n_items, pointer, places, key, lane)
#if COLUMNS < 2
    for (int lane = 0; lane < LANES; lane++)
        sums[(size_t)lane * n_bins + bin] = TOTAL(bin, lane);
#elif COLUMNS == 2
    const int other = bin - offsets[1];
    V sum = TOTAL(bin, 0) - TOTAL(bin, 1);
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
        V sum = 0;
        for (int k = 0; k < COLUMNS; k++)
            if (bin >= offsets[k])
                sum += TOTAL(bin - offsets[k], kind * COLUMNS + k);
        sums[(size_t)kind * n_bins + bin] = sum;
    }
#endif
}
