/* Gather: one work-group per bin sums the pixels of that bin.
 *
 * For GPUs, and for look-ups in which a pixel touches many bins. The table is the look-up bin
 * after bin. The order of summation is fixed, so that a frame always gives the same sums.
 *
 * PIXEL    type of a pixel            SUM      type of a sum
 * SQUARES  squared shares too, 0 or 1 WHOLE    all shares are one, 0 or 1
 * N_BINS   number of bins             SIZE     work-items in a group, a power of two
 * WEIGHT   type of a share, float or double
 * BAD(v)   whether a value is bad
 */
kernel void gather(global const PIXEL *frame,
                   global const int *pointer,
                   global const int *pixels,
                   global const WEIGHT *weights,
                   global SUM *sums,
                   global int *bad,
                   global int *n_bad)
{
    const int bin = get_group_id(0);
    const int item = get_local_id(0);
    local SUM partial[SIZE];
    local SUM partial_square[SIZE];
    SUM total = 0, square = 0;

    for (int i = pointer[bin] + item; i < pointer[bin + 1]; i += SIZE) {
        const PIXEL value = frame[pixels[i]];
        if (BAD(value)) {
            bad[atomic_inc(n_bad)] = pixels[i];
            continue;
        }
#if WHOLE
        total += value;
#else
        const SUM weight = weights[i];
        total += weight * value;
        square += weight * weight * value;
#endif
    }
    partial[item] = total;
    partial_square[item] = square;
    for (int half_size = SIZE / 2; half_size > 0; half_size /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < half_size) {
            partial[item] += partial[item + half_size];
            partial_square[item] += partial_square[item + half_size];
        }
    }
    if (item == 0) {
        sums[bin] = partial[0];
#if SQUARES
        sums[N_BINS + bin] = partial_square[0];
#endif
    }
}
