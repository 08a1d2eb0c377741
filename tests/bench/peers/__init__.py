"""Other systems doing the same work, each as a program of its own."""
