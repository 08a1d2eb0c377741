"""The queues themselves: what is where, who holds it and until when. Knows no socket."""
