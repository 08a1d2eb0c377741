"""Bicep without its compiler: enough of the language to read infra/ and to render what it deploys.

The compiler comes neither from PyPI nor from npm. This reads the files with a grammar, knows every
name in them, and evaluates them for given parameters, so that tests can compare what would be
deployed with what the app expects. It knows no resource types: `az bicep build` does.
"""
