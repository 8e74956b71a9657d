/* Sort: put the pixels of a frame into slots that are sorted by bin (see rows.py).
 *
 * Each work-item takes a stretch of the pixels, or of the slots. Neighbours go into bins that are
 * neighbours, so that few lines of memory are written at a time.
 *
 * PIXEL  type of a pixel
 */

/* Write every pixel of a frame into its slot. */
kernel void sort(global const PIXEL *frame, global const int *positions, global PIXEL *slots,
                 const int n_pixels)
{
    const int stretch = (n_pixels + get_global_size(0) - 1) / get_global_size(0);
    const int begin = get_global_id(0) * stretch;
    const int end = begin + stretch < n_pixels ? begin + stretch : n_pixels;
    for (int pixel = begin; pixel < end; pixel++)
        if (positions[pixel] >= 0)
            slots[positions[pixel]] = frame[pixel];
}

/* Read the pixel of every slot that is not in a group. */
kernel void collect(global const PIXEL *frame, global const int *pixels, global PIXEL *slots,
                    const int begin, const int n_slots)
{
    const int stretch = (n_slots - begin + get_global_size(0) - 1) / get_global_size(0);
    const int first = begin + get_global_id(0) * stretch;
    const int end = first + stretch < n_slots ? first + stretch : n_slots;
    for (int slot = first; slot < end; slot++)
        if (pixels[slot] >= 0)
            slots[slot] = frame[pixels[slot]];
}
