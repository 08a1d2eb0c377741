"""Batches: files of lines, each line a request.

engine       the steps of a batch, as activities call them
input        the input file, and the lines of a slice
lines        an input file's lines, cut and checked
seen         the ids of a file's lines
planning     a whole input file: every problem found, or its slices
slices       one slice carried through
calls        a line's request: a call of a model, or a run of a flow
screening    lines, screened before that
checkpoint   what of a slice has ended, kept line by line
part_writer  one of a slice's blobs, which one run at a time writes
results      what a line came to, as a line of the output or error file
ending       the two files, and the batch as it ended
retrying     the failed lines of a batch, as the input of another
"""
