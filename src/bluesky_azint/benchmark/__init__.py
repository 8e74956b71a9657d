"""The benchmark: how fast, how exact and how large, beside others, on this machine.

``cases``
    What is measured, and how fast it is to be.
``scene``
    Frames of a tilted detector, made up.
``ways``, ``peers``
    Ways to integrate them: ours, and those of others where they are installed.
``reference``
    What comes out in double precision, by NumPy alone.
``timing``, ``fresh``, ``measure``
    Calls that take turns in one process, what only a process of its own can tell, and both.
``roofline``
    How far all that is from the limit that memory sets.
``machine``, ``report``, ``tables``, ``picture``
    What comes of it, for people and for programs.
"""
