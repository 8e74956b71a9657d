/* Gather: some work-items per bin sum the pixels of that bin.
 *
 * For pixels that touch bins in ways of their own, and where no other way fits. The order of
 * summation is fixed, so that a frame always gives the same sums.
 *
 * PIXEL   type of a pixel                SUM     type of a sum
 * WHOLE   all shares are one, 0 or 1
 * WANT    0 the signal; 1 squares, too; 2 the spread, too
 * DARK    whether a dark is subtracted for the spread, 0 or 1
 * BAD(v)  whether a value is bad
 *
 * Groups are (work-items per bin, a power of two; bins); partial has WANT + 1 numbers for each item.
 */
kernel void gather(global const PIXEL *frame,
                   global const int *pointer,
                   global const int *pixels,
                   global const double *shares,
                   global const float *weights,
                   global const double *dark,
                   global SUM *sums,
                   global int *bad,
                   volatile global int *n_bad,
                   const int n_bins,
                   local SUM *partial)
{
    const int bin = get_global_id(1), item = get_local_id(0), size = get_local_size(0);
    const int begin = pointer[min(bin, n_bins)], end = pointer[min(bin + 1, n_bins)];
    const int stride = size * get_local_size(1);
    local SUM *own = partial + get_local_id(1) * size;
    SUM total[WANT + 1] = {0};

    for (int i = begin + item; i < end; i += size) {
        const int pixel = pixels[i];
        const PIXEL value = frame[pixel];
        if (BAD(value)) {
            bad[atomic_inc(n_bad)] = pixel;
            continue;
        }
        const SUM share = WHOLE ? 1 : shares[i];
        total[0] += share * (SUM)value;
#if WANT == 1
        total[1] += share * share * (SUM)value;
#elif WANT == 2
        const SUM net = (SUM)value - (DARK ? (SUM)dark[pixel] : 0);
        total[1] += share * share * net * net;
        total[2] += share * share * net * (SUM)weights[pixel];
#endif
    }
    for (int kind = 0; kind <= WANT; kind++)
        own[kind * stride + item] = total[kind];
    for (int half_size = size / 2; half_size > 0; half_size /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < half_size)
            for (int kind = 0; kind <= WANT; kind++)
                own[kind * stride + item] += own[kind * stride + item + half_size];
    }
    if (item == 0 && bin < n_bins)
        for (int kind = 0; kind <= WANT; kind++)
            sums[(size_t)kind * n_bins + bin] = own[kind * stride];
}
