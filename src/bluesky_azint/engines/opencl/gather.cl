/* Gather: one work-group per bin sums the pixels of that bin.
 *
 * For pixels that touch bins in ways of their own, and where no other way fits. The order of
 * summation is fixed, so that a frame always gives the same sums.
 *
 * PIXEL   type of a pixel                SUM     type of a sum
 * WHOLE   all shares are one, 0 or 1
 * WANT    0 the signal; 1 squares, too; 2 the spread, too
 * DARK    whether a dark is subtracted for the spread, 0 or 1
 * SIZE    work-items in a group, a power of two
 * BAD(v)  whether a value is bad
 */
kernel void gather(global const PIXEL *frame,
                   global const int *pointer,
                   global const int *pixels,
                   global const double *shares,
                   global const float *weights,
                   global const double *dark,
                   global SUM *sums,
                   global int *bad,
                   global int *n_bad)
{
    const int bin = get_group_id(0);
    const int item = get_local_id(0);
    local SUM partial[WANT + 1][SIZE];
    SUM total[WANT + 1] = {0};

    for (int i = pointer[bin] + item; i < pointer[bin + 1]; i += SIZE) {
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
        partial[kind][item] = total[kind];
    for (int half_size = SIZE / 2; half_size > 0; half_size /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < half_size)
            for (int kind = 0; kind <= WANT; kind++)
                partial[kind][item] += partial[kind][item + half_size];
    }
    if (item == 0)
        for (int kind = 0; kind <= WANT; kind++)
            sums[kind * get_num_groups(0) + bin] = partial[kind][0];
}
