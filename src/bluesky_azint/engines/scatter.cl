/* Scatter: stream a frame once, in the order it has in memory.
 *
 * For CPUs. Each work-item takes a stretch of pixels and adds them into histograms of its own,
 * which stay in its cache. A pixel is keyed by the first bin it touches and adds its shares to
 * LANES numbers that stand side by side there: the shares in the first bin, in the next, ... and
 * the same with the squared shares. SUBS histograms take turns, so that an addition need not wait
 * for the one before it.
 *
 * PIXEL    type of a pixel            INDEX    type of a bin number
 * SUM      type of a sum              COLUMNS  bins a pixel may touch
 * SQUARES  squared shares too, 0 or 1 N_BINS   number of bins, also the key of unused pixels
 * SUBS     histograms per work-item   BAD(v)   whether a value is bad
 */
#define LANES (COLUMNS * (1 + SQUARES))

/* Add one pixel to a histogram; returns 1 if it is used but bad. */
static int add(PIXEL value, int key, global const float *shares, global SUM *histogram)
{
    const int is_bad = BAD(value);
    const PIXEL good = is_bad ? 0 : value;
    global SUM *sums = histogram + key * LANES;
#if COLUMNS == 1
    sums[0] += good;
#else
    #pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        const SUM share = shares[c];
        const SUM part = share * good;
        sums[c] += part;
#if SQUARES
        sums[COLUMNS + c] += share * part;
#endif
    }
#endif
    return is_bad && key != N_BINS;
}

kernel void scatter(global const PIXEL *frame,
                    global const INDEX *first,
                    global const float *weights,
                    global SUM *histograms,
                    global int *bad,
                    global int *n_bad,
                    const int n_pixels)
{
    const int item = get_global_id(0);
    const int stretch = (n_pixels + get_global_size(0) - 1) / get_global_size(0);
    const int begin = item * stretch;
    const int end = min(begin + stretch, n_pixels);
    const int size = (N_BINS + 1) * LANES;
    global SUM *own = histograms + (size_t)item * SUBS * size;
    int found = 0;

    for (int i = 0; i < SUBS * size; i++)
        own[i] = 0;

    int pixel = begin;
    for (; pixel + SUBS <= end; pixel += SUBS) {
        #pragma unroll
        for (int sub = 0; sub < SUBS; sub++) {
            const int this = pixel + sub;
            if (add(frame[this], first[this], weights + (size_t)this * COLUMNS, own + sub * size))
                bad[begin + found++] = this;
        }
    }
    for (; pixel < end; pixel++)
        if (add(frame[pixel], first[pixel], weights + (size_t)pixel * COLUMNS, own))
            bad[begin + found++] = pixel;
    n_bad[item] = found;
}

/* Sum of all histograms, one work-item per bin. sums: signal, then squares where wanted. */
kernel void collect(global const SUM *histograms, global SUM *sums, const int n_histograms)
{
    const int bin = get_global_id(0);
    const int size = (N_BINS + 1) * LANES;
    for (int kind = 0; kind <= SQUARES; kind++) {
        SUM total = 0;
        for (int h = 0; h < n_histograms; h++)
            for (int c = 0; c < COLUMNS && c <= bin; c++)
                total += histograms[(size_t)h * size + (bin - c) * LANES + kind * COLUMNS + c];
        sums[kind * N_BINS + bin] = total;
    }
}
