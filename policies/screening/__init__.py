"""What is looked at before a model or a flow is paid for: each screen allows, flags or blocks.

settings        the `screening` of tenants.yaml
material        what is screened: a request's texts, by who said them
sender          who sent it, and from where
findings        what a screen found, and how it is made known
size            more text, messages or attachments than anybody should send
rate            far more requests than is usual for the one who asks
repetition      the same prompt, or nearly, again and again
key_sharing     one key used from many places at a time
injection/      attempts to talk a model out of its instructions
content_safety/ Azure AI Content Safety, where it is configured
screening       all of them, in front of every flow, real-time call and line of a batch

What is counted is counted in this process, in bounded memory, under digests with a salt of the
process: no prompt, address or key is kept.
"""
