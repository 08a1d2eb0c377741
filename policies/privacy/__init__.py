"""Where words may go and how long they are kept.

settings      a tenant's rules, as tenants.yaml has them
kinds         what personal data there is
checks        check digits, and other rules that tell a number from its like
finders       what searches a text for one kind
detectors     the patterns, each with its check
finding       a text searched by several detectors: what was found, without overlaps
patterns      the tenant's own patterns, in time that grows with the text alone
presidio      Microsoft Presidio as a further detector, where it is installed
texts         the texts of a payload, wherever they stand in it
placeholders  what stands in the place of a value, and the way back
redaction     a call's payload with all of that applied
pieces        where the texts of an answer stand in its events
events        an answer in events, with a placeholder split over several
retention     how long what has ended is kept
due           one tenant's things that are due
expiry        all tenants', deleted
"""
