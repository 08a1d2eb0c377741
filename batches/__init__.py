"""Batches: files of lines, each line a request.

lines        an input file's lines, cut and checked
planning     a whole input file: every problem found, or its slices
checkpoint   what of a slice has ended, kept line by line
slices       one slice carried through
results      what a line came to, as a line of the output or error file
"""
