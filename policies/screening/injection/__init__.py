"""Whether a text tries to talk a model out of its instructions: prompt injection and jailbreaks.

folding    one spelling for what only looks different
disguises  what else the text can be read as: base64, rot13, spaced letters …
concepts   what words stand for; `english` and `languages` are the words
reading    a text as the concepts in it
rules      which concepts, close together, speak for an attack, and how strongly
screen     the verdict on one text

No regular expression here backtracks over more than a word, and every rule looks a bounded number
of words ahead: the time is linear in the text, whoever wrote it.
"""
